"""Measuring a trained avatar against the frames of a subject."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rgbavatar.cli import say
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.io.run_dir import RunDir, refuse_existing
from rgbavatar.losses import composite
from rgbavatar.metrics import LpipsMetric, join_frames, load_lpips, measure_frames, write_metrics
from rgbavatar.subject import load_template, subject_splits
from rgbavatar.trained import TrainedAvatar, open_frames
from rgbavatar.types import Batch, Rendering

Color = tuple[float, float, float]
"""RGB in [0, 1]."""
BLACK: Color = (0.0, 0.0, 0.0)
EVALUATION_BATCH = 8  # images rendered at once: enough to keep all cores busy, little enough for any memory


def backgrounds(color: Color, count: int, device: torch.device) -> Tensor:
    """One colour for each of `count` images, [count, 3]."""
    return torch.tensor(color, device=device).repeat(count, 1)


def render_dataset(
    avatar: TrainedAvatar, dataset: HeadDataset, background: Color, device: torch.device, description: str
) -> Iterator[tuple[Batch, Rendering]]:
    """Render all frames in order over one colour, with a progress bar."""
    avatar.check_template(dataset.template)
    with tqdm(total=len(dataset), unit="image", desc=description) as bar:
        for positions in torch.arange(len(dataset)).split(EVALUATION_BATCH):
            batch = dataset.batch(positions, device)
            yield batch, avatar.render(batch, backgrounds(background, len(batch), device))
            bar.update(len(batch))


def evaluate(
    avatar: TrainedAvatar,
    dataset: HeadDataset,
    background: Color,
    device: torch.device,
    lpips: LpipsMetric | None,
    description: str,
) -> dict[str, np.ndarray]:
    """All metrics of each frame [F], truth and rendering composited over one colour."""
    parts = []
    for batch, rendering in render_dataset(avatar, dataset, background, device, description):
        target = composite(batch.images, backgrounds(background, len(batch), device))
        parts.append(measure_frames(rendering.color, target, lpips))
    return join_frames(parts)


def evaluate_run(
    run: RunDir, avatar: TrainedAvatar, subject: str, device: torch.device, vgg_weights: Path | None, overwrite: bool
) -> None:
    """Measure the splits of the subject that a run was trained on, and write what was found.

    They are those that the subject's layout names; else the last dataset.test_frames are the test, the others training.
    Raises OutputError where results lie there already, unless overwrite.
    """
    folders = {split: run.metrics_of(split.value) for split in subject_splits(avatar.config, subject)}
    for folder in folders.values():
        refuse_existing(folder / "metrics.json", overwrite)
    lpips, advice = load_lpips(device, vgg_weights)
    if lpips is None:
        say(advice)
    template = load_template(avatar.config)
    for split, folder in folders.items():
        with closing(open_frames(avatar, subject, split, device, template)) as dataset:
            per_frame = evaluate(avatar, dataset, BLACK, device, lpips, f"{split.value} frames")
            write_metrics(folder, per_frame, dataset.numbers.tolist(), _protocol(avatar, dataset, split))
        say((folder / "metrics.txt").read_text().rstrip())


def _protocol(avatar: TrainedAvatar, dataset: HeadDataset, split: Split) -> dict[str, str | int | float]:
    protocol: dict[str, str | int | float] = {
        "subject": dataset.subject,
        "split": split.value,
        "background": "black",
        "resolution": f"{dataset.images.width}x{dataset.images.height}",
        "images_trained": avatar.images_seen,
        "gaussians": avatar.binding.count,
    }
    if avatar.corrections is not None:
        protocol["frames_refined"] = avatar.corrections.count_of(dataset.numbers)
    return protocol
