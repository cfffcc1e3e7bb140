"""Building a trainer from a configuration and a template, new or from a checkpoint."""

from __future__ import annotations

from pathlib import Path

import torch

from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.config import Config
from rgbavatar.errors import ConfigError
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.metrics import LpipsMetric, load_lpips
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.training.processes import ALONE, Processes
from rgbavatar.training.randomness import Generators
from rgbavatar.training.trainer import Trainer


def build_trainer(
    config: Config, template: HeadTemplate, device: torch.device, processes: Processes = ALONE
) -> Trainer:
    """A trainer before its first step."""
    binding = bind_template(template, config.model.tex_size)
    generators = Generators(config.seed)
    shape = AvatarShape(binding.count, config.model.num_bases, template.code_width, config.model.hidden_width)
    model = AvatarModel(shape, generators["network"], config.model.initial_opacity, config.model.initial_scale)
    return Trainer(
        model.to(device), binding.to(device), config, generators, _perceptual_metric(config, device), processes
    )


def resume_trainer(trainer: Trainer, path: Path) -> None:
    """Bring a new trainer to the state in a checkpoint. Raises CheckpointError."""
    device = trainer.binding.face_ids.device
    trainer.restore(load_checkpoint(path, device))


def _perceptual_metric(config: Config, device: torch.device) -> LpipsMetric | None:
    if config.loss.lpips == 0:
        return None
    metric, advice = load_lpips(device)
    if metric is None:
        raise ConfigError(f"loss.lpips is {config.loss.lpips}, but its network is missing: {advice}")
    return metric
