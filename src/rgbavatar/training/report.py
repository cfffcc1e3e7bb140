"""speed.txt: how fast a run trained, and on what."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from pathlib import Path

import torch

from rgbavatar.io.metrics_log import write_speed
from rgbavatar.training.monitor import TrainingSpeed
from rgbavatar.training.trainer import Trainer


def write_speed_report(
    path: Path, speed: TrainingSpeed, trainer: Trainer, device: torch.device, more: Mapping[str, int | float]
) -> None:
    """Write the speed of the training that has just ended, and more lines at the end. Raises OutputError."""
    write_speed(
        path,
        {
            "images": speed.images,
            "seconds": speed.seconds,
            "images_per_second": speed.images_per_second,
            "images_seen_in_all": trainer.images_seen,
            "gaussians": trainer.binding.count,
            "batch_size": trainer.config.training.batch_size,
            "device": _describe_device(device),
            **more,
        },
    )


def _describe_device(device: torch.device) -> str:
    if device.type == "cpu":
        return f"cpu, {torch.get_num_threads()} threads, {platform.machine()}"
    return torch.cuda.get_device_name(device)
