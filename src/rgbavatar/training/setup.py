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
from rgbavatar.templates.base import HeadTemplate
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

    Raises ConfigError where their tracking is to be refined and they are not known.
    """
    binding = bind_template(template, config.model.tex_size)
    generators = Generators(config.seed)
    shape = AvatarShape(binding.count, config.model.num_bases, template.code_width, config.model.hidden_width)
    model = AvatarModel(shape, generators["network"], config.model.initial_opacity, config.model.initial_scale)
    return Trainer(
        model.to(device),
        binding.to(device),
        config,
        generators,
        _perceptual_metric(config, device),
        processes,
        _refinement(config, frames, device),
    )


def resume_trainer(trainer: Trainer, path: Path) -> None:
    """Bring a new trainer to the state in a checkpoint. Raises CheckpointError."""
    device = trainer.binding.face_ids.device
    trainer.restore(load_checkpoint(path, device))


def _refinement(config: Config, frames: HeadDataset | None, device: torch.device) -> Refinement | None:
    if not config.training.refine_tracking:
        return None
    if frames is None:
        raise ConfigError(
            "training.refine_tracking is true, but frames of a stream come and go, so theirs cannot be refined; "
            "set it to false, or train on the recorded subject with train_offline.py"
        )
    return Refinement(frames, config.refinement, device)


def _perceptual_metric(config: Config, device: torch.device) -> LpipsMetric | None:
    if config.loss.lpips == 0:
        return None
    metric, advice = load_lpips(device)
    if metric is None:
        raise ConfigError(f"loss.lpips is {config.loss.lpips}, but its network is missing: {advice}")
    return metric
