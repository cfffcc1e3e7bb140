"""Opening what a configuration names: the head template, a subject posed with it, a stream of frames."""

from __future__ import annotations

from pathlib import Path

import torch
from tqdm import tqdm

from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.layouts import INSTA
from rgbavatar.datasets.recorded import load_recorded
from rgbavatar.datasets.stream import FrameSource, ReplaySource
from rgbavatar.datasets.watch import WatchSource
from rgbavatar.errors import ConfigError
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.templates.flame import load_flame


def load_template(config: Config) -> HeadTemplate:
    """The template at template.path. Raises TemplateError."""
    return load_flame(Path(config.template.path), mouth_interior=config.template.mouth_interior)


def load_subject(
    config: Config,
    subject: str,
    split: Split,
    device: torch.device,
    preload: bool,
    template: HeadTemplate | None = None,
) -> HeadDataset:
    """One split of a subject below dataset.data_dir, its images in memory with preload. Raises DataError, TemplateError."""
    folder = Path(config.dataset.data_dir) / subject
    template = template or load_template(config)
    with tqdm(unit="image", desc="load", leave=False, disable=not preload) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        return load_recorded(
            folder,
            template,
            preload=preload,
            pin_memory=device.type != "cpu",
            split=split,
            test_frames=config.dataset.test_frames,
            layout=config.dataset.layout,
            progress=progress,
        )


def open_source(config: Config, source: str, subject: str, frames_per_second: float) -> FrameSource:
    """The stream that --source names: `replay`, of the training frames of a subject, or `watch:DIR`.

    Raises ConfigError for another name, DataError, TemplateError.
    """
    kind, _, folder = source.partition(":")
    if source == "replay":
        dataset = load_subject(config, subject, Split.TRAIN, torch.device("cpu"), preload=False)
        return ReplaySource(dataset, frames_per_second)
    if kind != "watch" or not folder:
        raise ConfigError(f"--source {source}: expected replay or watch:DIR")
    online = config.online
    return WatchSource(Path(folder), load_template(config), INSTA, online.broken_seconds, online.stall_seconds)
