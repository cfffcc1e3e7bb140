"""Measuring a trained avatar against the frames of a subject."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from tqdm import tqdm

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.losses import composite
from rgbavatar.metrics import LpipsMetric, join_frames, measure_frames
from rgbavatar.trained import TrainedAvatar
from rgbavatar.types import Batch, Rendering

EVALUATION_BATCH = 8  # images rendered at once: enough to keep all cores busy, little enough for any memory


def render_dataset(
    avatar: TrainedAvatar, dataset: HeadDataset, background: float, device: torch.device, description: str
) -> Iterator[tuple[Batch, Rendering]]:
    """Render all frames in order over one grey level in [0, 1], with a progress bar."""
    avatar.check_template(dataset.template)
    with tqdm(total=len(dataset), unit="image", desc=description) as bar:
        for positions in torch.arange(len(dataset)).split(EVALUATION_BATCH):
            batch = dataset.batch(positions, device)
            color = torch.full((len(batch), 3), background, device=device)
            yield batch, avatar.render(batch, color)
            bar.update(len(batch))


def evaluate(
    avatar: TrainedAvatar,
    dataset: HeadDataset,
    background: float,
    device: torch.device,
    lpips: LpipsMetric | None,
    description: str,
) -> dict[str, np.ndarray]:
    """All metrics of each frame [F], truth and rendering composited over one grey level in [0, 1]."""
    parts = []
    for batch, rendering in render_dataset(avatar, dataset, background, device, description):
        target = composite(batch.images, torch.full((len(batch), 3), background, device=device))
        parts.append(measure_frames(rendering.color, target, lpips))
    return join_frames(parts)
