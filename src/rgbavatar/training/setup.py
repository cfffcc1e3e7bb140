"""Building a trainer from a configuration and a template, new or from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import ConfigError
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.metrics import LpipsMetric, load_lpips
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.model.coefficients import code_scaling, code_spread
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.training.exposure import Exposure
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
    binding = bind_template(template, config.model.tex_size)
    generators = Generators(config.seed)
    shape = AvatarShape(binding.count, config.model.num_bases, template.code_width, config.model.hidden_width)
    model = AvatarModel(shape, generators["network"], config.model.initial_opacity, config.model.initial_scale)
    if config.model.normalize_code:
        model.network.scaling = code_scaling(_known(frames, "model.normalize_code is true", "false").codes)
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
