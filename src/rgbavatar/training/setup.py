"""Building a trainer from a configuration and a template, new or from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import MeshBinding, bind_template
from rgbavatar.binding.regions import expressive_regions, shares_of_gaussians
from rgbavatar.binding.uv_neighbors import find_uv_neighbors
from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import ConfigError
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.metrics import LpipsMetric, load_lpips
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.model.coefficients import code_limits, code_scaling, code_spread
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.training.exposure import Exposure
from rgbavatar.training.neighbors import Neighbors, find_time_neighbors
from rgbavatar.training.network_noise import NetworkNoise
from rgbavatar.training.processes import ALONE, Processes
from rgbavatar.training.randomness import Generators
from rgbavatar.training.refinement import Refinement
from rgbavatar.training.trainer import Trainer


def build_trainer(
    config: Config,
    template: HeadTemplate,
    device: torch.device,
    processes: Processes = ALONE,
    frames: HeadDataset | None = None,
) -> Trainer:
    """A trainer before its first step. frames: those that it will be trained on, where they are recorded.

    Raises ConfigError where they are not known, but something is to be learnt of each or of their codes.
    """
    if config.training.error_sampling > 0:
        _known(frames, f"training.error_sampling is {config.training.error_sampling:g}", "0")
    binding = bind_template(template, config.model.tex_size)
    generators = Generators(config.seed)
    shape = AvatarShape(binding.count, config.model.num_bases, template.code_width, config.model.hidden_width)
    model = AvatarModel(shape, generators["network"], config.model.initial_opacity, config.model.initial_scale)
    if config.model.limit_code:
        model.network.limits = code_limits(_known(frames, "model.limit_code is true", "false").codes)
    if config.model.normalize_code:
        known = _known(frames, "model.normalize_code is true", "false")
        model.network.scaling = code_scaling(known.codes, template.code_layout)
    return Trainer(
        model.to(device),
        binding.to(device),
        config,
        generators,
        _perceptual_metric(config, device),
        processes,
        _refinement(config, frames, device),
        _exposure(config, frames, device),
        _network_noise(config, frames, template.code_width, device),
        _neighbors(config, template, frames, device),
        _region(config, template, binding, device),
        None if frames is None else len(frames),
    )


def resume_trainer(trainer: Trainer, path: Path) -> None:
    """Bring a new trainer to the state in a checkpoint. Raises CheckpointError."""
    device = trainer.binding.face_ids.device
    trainer.restore(load_checkpoint(path, device))


def _refinement(config: Config, frames: HeadDataset | None, device: torch.device) -> Refinement | None:
    if not config.training.refine_tracking:
        return None
    return Refinement(_known(frames, "training.refine_tracking is true", "false"), config.refinement, device)


def _exposure(config: Config, frames: HeadDataset | None, device: torch.device) -> Exposure | None:
    rate = config.optimizer.exposure
    if rate == 0:
        return None
    return Exposure(len(_known(frames, f"optimizer.exposure is {rate:g}", "0")), rate, device)


def _network_noise(
    config: Config, frames: HeadDataset | None, code_width: int, device: torch.device
) -> NetworkNoise | None:
    noise = config.training.code_noise
    if noise == 0 and config.model.mlp_dropout == 0:
        return None
    spread = torch.zeros(code_width)
    if noise > 0:
        spread = code_spread(_known(frames, f"training.code_noise is {noise:g}", "0").codes)
    return NetworkNoise(config, spread.to(device))


def _neighbors(config: Config, template: HeadTemplate, frames: HeadDataset | None, device: torch.device) -> Neighbors:
    loss = config.loss
    in_time, on_map = None, None
    if loss.smooth_weights > 0:
        asks = f"loss.smooth_weights is {loss.smooth_weights:g}"
        in_time = find_time_neighbors(_known(frames, asks, "0")).to(device)
    if loss.smooth_bases > 0:
        on_map = find_uv_neighbors(template, config.model.tex_size).to(device)
    return Neighbors(in_time, on_map)


def _region(config: Config, template: HeadTemplate, binding: MeshBinding, device: torch.device) -> Tensor | None:
    """How much each Gaussian belongs to the region that counts more: [N]."""
    if config.loss.region == 0:
        return None
    return shares_of_gaussians(expressive_regions(template), binding).to(device)


def _known(frames: HeadDataset | None, asks: str, off: str) -> HeadDataset:
    """The frames, for a setting that needs to know them. asks: its name and value; off: the value that does not."""
    if frames is None:
        raise ConfigError(
            f"{asks}, but frames of a stream come and go, so they are not known before; set it to {off}, or train on the "
            f"recorded subject with train_offline.py"
        )
    return frames


def _perceptual_metric(config: Config, device: torch.device) -> LpipsMetric | None:
    if config.loss.lpips == 0:
        return None
    metric, advice = load_lpips(device)
    if metric is None:
        raise ConfigError(f"loss.lpips is {config.loss.lpips}, but its network is missing: {advice}")
    return metric
