"""One run of the study: an avatar trained by a recipe, measured on frames it saw and on frames it did not; and the file of them.

A record is a line of JSON: what was run, and numbers. `train`, `test`: means over frames of PSNR in dB, SSIM, LPIPS (where its
weights are) and sharpness. `test` takes the frames as they truly are, under the mean exposure of the training frames;
`test_as_tracked` with the tracker's noise, in their own exposure. Where nobody knows the true frames, `test` is as tracked.
Training frames are measured with the tracking that training found. `curve`: seconds of training, images, and test PSNR on the
way and at the end. Seconds are without measuring.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from rgbavatar.config import Config, config_to_yaml, override_config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.evaluation import BLACK, backgrounds, render_dataset
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.losses import composite
from rgbavatar.metrics import LpipsMetric, join_frames, measure_frames
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.training.length import fit_length
from rgbavatar.training.offline import train_offline
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import Trainer
from tests.bench.quality.splits import Frames, choose, thin_out
from tests.bench.quality.subjects import Subject, brighten

Record = dict[str, Any]
METRICS = ("psnr", "ssim", "lpips", "sharpness")
MOST_FRAMES = 100  # measured of each split
WAY_POINTS = (0.1, 0.15, 0.2, 0.25, 0.35, 0.5, 0.75)  # shares of the images at which a run is looked at
TEX_SHARE, MOST_TEXELS = 0.625, 256  # texels on a side for each pixel on a side: the demo's
TEXEL_METRES = 0.0008 * MOST_TEXELS  # first scale of a Gaussian, times texels on a side: the published recipe's


@dataclass(frozen=True)
class Task:
    """What is to be run. source: how the subject is made, or where it lies. share: of its frames, held out. compared_images: of
    the published recipe's run. config: the recipe's, before it is fitted to the subject's pictures."""

    subject: str
    source: str
    held: str
    share: float
    recipe: str
    seed: int
    compared_images: int
    config: Config

    @property
    def key(self) -> str:
        """The same for the same run alone, whatever its subject is called."""
        parts = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        settings = json.dumps(parts | {"subject": "", "config": config_to_yaml(self.config)}, sort_keys=True)
        return hashlib.blake2b(settings.encode(), digest_size=12).hexdigest()


def read_records(path: Path) -> list[Record]:
    """The records of a results file, none where there is no file; a line that a killed run left unfinished is left out."""
    if not path.is_file():
        return []
    found = []
    for line in path.read_text().splitlines():
        try:
            found.append(json.loads(line))
        except ValueError:
            continue
    return found


def append_record(path: Path, record: Record) -> None:
    """Add a line, after a line that a killed run left unfinished, if there is one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.tell():
            file.seek(-1, 2)
            unfinished = file.read(1) != b"\n"
            file.write(b"\n" if unfinished else b"")
        file.write(json.dumps(record).encode() + b"\n")


def fit_to_pictures(config: Config, size: int) -> Config:
    """As many Gaussians as pictures of `size` pixels on their shorter side can tell apart, each as large as its texel."""
    texels = min(round(TEX_SHARE * size), MOST_TEXELS)
    return override_config(config, [f"model.tex_size={texels}", f"model.initial_scale={TEXEL_METRES / texels:.6g}"])


def sharpness(prediction: Tensor, target: Tensor) -> Tensor:
    """How much fine detail pictures [B, 3, H, W] show, over what the truth shows: 1 is as sharp, less is blurred. [B].

    Detail is the mean magnitude of the Laplacian of the grey picture.
    """
    kernel = prediction.new_tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]])[None, None]
    ours, theirs = (
        functional.conv2d(image.mean(dim=1, keepdim=True), kernel).abs().mean(dim=(1, 2, 3))
        for image in (prediction, target)
    )
    return ours / theirs.clamp_min(1e-6)


def measure(
    avatar: TrainedAvatar, dataset: HeadDataset, device: torch.device, lpips: LpipsMetric | None
) -> dict[str, float]:
    """Means over the frames, over black."""
    parts = []
    for batch, rendering in render_dataset(avatar, dataset, BLACK, device, "measure"):
        target = composite(batch.images, backgrounds(BLACK, len(batch), device))
        color = rendering.color.clamp(0.0, 1.0)
        parts.append(measure_frames(color, target, lpips) | {"sharpness": sharpness(color, target).cpu().numpy()})
    found = {name: float(np.mean(values)) for name, values in join_frames(parts).items()}
    return {name: found[name] for name in METRICS if name in found}


@dataclass
class Curve:
    """Measures test frames at shares of the images.

    is_true: they are as they truly are, not as they were tracked. way_points: shares of the images, rising. points: [seconds,
    images, dB]; paused: seconds that measuring took.
    """

    dataset: HeadDataset
    is_true: bool
    device: torch.device
    images: int
    way_points: Sequence[float]
    points: list[list[float]] = field(default_factory=list)
    paused: float = 0.0

    def observe(self, trainer: Trainer, seconds: float) -> bool:
        """An observer (rgbavatar.training.observer) that never holds training."""
        looks = len(self.points)
        if looks < len(self.way_points) and trainer.images_seen >= self.way_points[looks] * self.images:
            begin = time.perf_counter()
            avatar = trained_from_checkpoint(trainer.checkpoint(), "on the way")
            psnr = measure(avatar, self.frames_for(avatar), self.device, None)["psnr"]
            self.points.append([seconds - self.paused, trainer.images_seen, psnr])
            self.paused += time.perf_counter() - begin
        return False

    def frames_for(self, avatar: TrainedAvatar) -> HeadDataset:
        """The test frames as an avatar is measured on them."""
        return self.dataset if self.is_true else corrected(avatar, self.dataset)


def corrected(avatar: TrainedAvatar, dataset: HeadDataset) -> HeadDataset:
    """Tracked frames as the avatar's training corrected them, or as it predicts their corrections, if it does."""
    return dataset if avatar.corrections is None else avatar.corrections.apply(dataset)


def _as_exposed(dataset: HeadDataset, subject: Subject, trained: Tensor) -> HeadDataset:
    """The true pictures under the mean exposure of the frames that are trained on: how bright a head is, nobody can know."""
    if subject.log_gains is None:
        return dataset
    images = dataset.images.read(torch.arange(len(dataset)))
    mean = subject.log_gains[trained].mean(dim=0)
    return dataclasses.replace(dataset, images=PreloadedImages(brighten(images, mean)))


def run(
    task: Task,
    subject: Subject,
    frames: Frames,
    device: torch.device,
    lpips: LpipsMetric | None,
    way_points: Sequence[float] = WAY_POINTS,
) -> Record:
    """Train and measure, also at shares of the images on the way."""
    train, seen = choose(subject.tracked, frames.train), subject.true or subject.tracked
    size = min(train.images.width, train.images.height)
    fitted = fit_length(fit_to_pictures(task.config, size), len(frames.train))
    config = override_config(fitted, [f"seed={task.seed}"])
    as_tracked = thin_out(choose(subject.tracked, frames.test), MOST_FRAMES)
    test = _as_exposed(thin_out(choose(seen, frames.test), MOST_FRAMES), subject, frames.train)
    is_true = subject.true is not None
    trainer = build_trainer(config, train.template, device, frames=train)
    curve = Curve(test, is_true, device, config.training.images, way_points)
    with tempfile.TemporaryDirectory() as folder:
        speed = train_offline(trainer, train, RunDir(Path(folder)), NullLog(), device, observer=curve.observe)
    avatar = trained_from_checkpoint(trainer.checkpoint(), task.recipe)
    found = {"test": measure(avatar, curve.frames_for(avatar), device, lpips)}
    if is_true:
        found["test_as_tracked"] = measure(avatar, corrected(avatar, as_tracked), device, lpips)
    seconds = speed.seconds - curve.paused
    return {
        "key": task.key,
        **{item.name: getattr(task, item.name) for item in dataclasses.fields(task) if item.name != "config"},
        "images": config.training.images,
        "pixels": size,
        "frames": {"train": len(frames.train), "test": len(frames.test)},
        "device": device.type,
        "seconds": seconds,
        "train": measure(avatar, corrected(avatar, thin_out(train, MOST_FRAMES)), device, lpips),
        **found,
        "curve": [*curve.points, [seconds, config.training.images, found["test"]["psnr"]]],
    }
