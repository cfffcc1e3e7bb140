"""Opening what a configuration names: the head template, a subject posed with it, a stream of frames."""

from __future__ import annotations

from pathlib import Path

import torch
from tqdm import tqdm

from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.blendshape_layout import BLENDSHAPE, check_template
from rgbavatar.datasets.frame_layout import FrameFileLayout
from rgbavatar.datasets.layouts import AUTO, INSTA, find_layout
from rgbavatar.datasets.recorded import list_splits, load_recorded
from rgbavatar.datasets.stream import FrameSource, ReplaySource
from rgbavatar.datasets.watch import WatchSource
from rgbavatar.errors import ConfigError
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.templates.blendshape import BlendshapeTemplate, load_blendshape
from rgbavatar.templates.blendshape_data import SUFFIX as BLENDSHAPE_SUFFIX
from rgbavatar.templates.flame import load_flame


def load_template(config: Config) -> HeadTemplate:
    """The template at template.path: of blendshapes where it is a .npz, else FLAME's. Raises TemplateError, ConfigError."""
    path, mouth_interior = Path(config.template.path), config.template.mouth_interior
    if path.suffix.lower() != BLENDSHAPE_SUFFIX:
        return load_flame(path, mouth_interior=mouth_interior)
    if mouth_interior:
        raise ConfigError(
            f"template.mouth_interior is true, but {path} is a blendshape template, whose mouth is what its mesh says; "
            f"set it to false"
        )
    return load_blendshape(path)


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


def subject_splits(config: Config, subject: str) -> list[Split]:
    """The splits that have frames, training first. Raises DataError."""
    return list_splits(Path(config.dataset.data_dir) / subject, config.dataset.test_frames, config.dataset.layout)


def open_source(config: Config, source: str, subject: str, frames_per_second: float) -> FrameSource:
    """The stream that --source names: `replay`, of the training frames of a subject, or `watch:DIR`.

    Raises ConfigError for another name, DataError, TemplateError.
    """
    kind, _, folder = source.partition(":")
    if source == "replay":
        dataset = load_subject(config, subject, Split.TRAIN, torch.device("cpu"), preload=False)
        return ReplaySource(dataset, frames_per_second)
    if kind != "watch" or not folder:
        raise ConfigError(f"--source {source}: expected replay, watch:DIR, camera:0 or video:FILE")
    template, online = load_template(config), config.online
    layout = _watched_layout(Path(folder), template, config.dataset.layout)
    return WatchSource(Path(folder), template, layout, online.broken_seconds, online.stall_seconds)


def _watched_layout(folder: Path, template: HeadTemplate, name: str) -> FrameFileLayout:
    """The layout that a tracker is writing: the named one, or that of the template's kind. Raises ConfigError, DataError."""
    has_blendshapes = isinstance(template, BlendshapeTemplate)
    layout = find_layout(folder, name) if name != AUTO else BLENDSHAPE if has_blendshapes else INSTA
    if not isinstance(layout, FrameFileLayout):
        raise ConfigError(f"dataset.layout is {name!r}, expected one with a file for each frame, such as {INSTA.name}")
    if layout is BLENDSHAPE:
        check_template(folder, template)
    return layout
