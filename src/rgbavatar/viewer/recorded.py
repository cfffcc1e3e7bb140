"""A trained run as an exhibit: its avatar, and its subject's tracking to pose it by."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch

from rgbavatar.config import Config
from rgbavatar.datasets.recorded import load_tracking
from rgbavatar.errors import DataError
from rgbavatar.io.run_dir import run_at
from rgbavatar.subject import load_template
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.trained import open_trained
from rgbavatar.viewer.controls import Menu, menu_of
from rgbavatar.viewer.frames import PoseSource, RecordedPoses
from rgbavatar.viewer.painter import Painter, best_painter

PICTURES = "pictures"
"""The folder, in a run's, of pictures that users of the viewer keep."""
_SMALLEST_REACH = 1.0
_MEGAPIXEL = 1 << 20


@dataclass(frozen=True)
class RunExhibit:
    """See rgbavatar.viewer.session.Exhibit."""

    poses: PoseSource
    pictures: Path
    shown: Painter
    most_pixels: int
    share: float = 1.0
    progress: None = None

    @cached_property
    def menu(self) -> Menu:
        reach = weight_reach(self.shown, self.poses)
        return menu_of(self.poses, self.shown.bases, reach)

    def painter(self) -> Painter:
        return self.shown


def open_run(folder: Path, overrides: list[str], device: torch.device) -> RunExhibit:
    """The run in a folder. Raises CheckpointError, ConfigError, DataError, TemplateError."""
    run = run_at(folder)
    avatar = open_trained(run, None, overrides, device)
    template = load_template(avatar.config)
    avatar.check_template(template)
    poses = open_poses(avatar.config, run.path.resolve().name, template)
    return RunExhibit(poses, run.path / PICTURES, best_painter(avatar), most_pixels(device))


def open_poses(config: Config, subject: str, template: HeadTemplate) -> RecordedPoses:
    """The tracked frames of a subject. Raises DataError, with what to do."""
    folder = Path(config.dataset.data_dir) / subject
    try:
        return RecordedPoses(load_tracking(folder, template, config.dataset.layout), template)
    except DataError as error:
        raise DataError(
            f"{error}; the avatar is posed by its subject's tracking (no images needed), "
            f"say where that lies with --set dataset.data_dir=DIR"
        ) from error


def most_pixels(device: torch.device) -> int:
    """Of a picture: what a screen shows, but on a CPU no more than it draws in a tenth of a second."""
    return (2 if device.type == "cpu" else 8) * _MEGAPIXEL


def weight_reach(painter: Painter, poses: PoseSource) -> float:
    """How far sliders of the weights go: twice as far as the network goes in the frames, rounded up."""
    return max(_SMALLEST_REACH, math.ceil(2.0 * float(painter.weights(poses.codes).abs().max())))
