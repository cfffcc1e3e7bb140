"""A page that shows an avatar while it is trained, in the same process.

Training never waits for the page, but where a user pauses it. While a page is open, the training thread copies the avatar
between two steps now and then, and the viewer's thread renders the copies. Whatever goes wrong there ends the viewer, with a
warning, and nothing else.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from rgbavatar.cli import say
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.stream import FrameSource
from rgbavatar.training.job import TrainingJob
from rgbavatar.training.trainer import Trainer
from rgbavatar.viewer.controls import menu_of
from rgbavatar.viewer.frames import CameraSight, PoseSource
from rgbavatar.viewer.installed import require_viser
from rgbavatar.viewer.newest import NewestPose, WatchedSource
from rgbavatar.viewer.painter import Painter, plain_brush
from rgbavatar.viewer.recorded import PICTURES, most_pixels, open_poses
from rgbavatar.viewer.snapshot import Snapshot

_SNAPSHOT_SECONDS = 0.5  # between two copies of the avatar at least
_SNAPSHOT_SHARE = 0.04  # of training's time that copies may take
_CPU_SHARE, _GPU_SHARE = 0.3, 0.5  # of the time that rendering may take
_REACH = 3.0  # of the weights' sliders: how far the network will go is not known yet


class LiveExhibit:
    """The avatar of a trainer, as the last snapshot shows it, and how its training goes.

    See Exhibit and Progress in rgbavatar.viewer.session.
    """

    def __init__(self, trainer: Trainer, pictures: Path, poses: PoseSource) -> None:
        on_cpu = trainer.device.type == "cpu"
        self.poses = poses
        self.pictures = pictures
        self.share = _CPU_SHARE if on_cpu else _GPU_SHARE
        self.most_pixels = most_pixels(trainer.device)
        alone = trainer.processes.count == 1  # others would wait in vain for the one that is paused
        bases = trainer.model.shape.bases
        self.menu = replace(menu_of(poses, bases, _REACH), activity="Training")
        self.camera: CameraSight | None = None
        self.told: list[str] = []
        self.is_held = False
        self._can_hold = alone
        self.snapshot: Snapshot | None = None
        self._painted: Snapshot | None = None
        self._painter: Painter | None = None

    @property
    def progress(self) -> LiveExhibit:
        return self

    @property
    def text(self) -> str:
        lines = {} if self.camera is None else self.camera.camera_status()
        return "  \n".join([*self.told, *(f"{name}: {value}" for name, value in lines.items())])

    @property
    def buttons(self) -> Mapping[str, str]:
        return {"hold": "Go on with training" if self.is_held else "Pause training"} if self._can_hold else {}

    @property
    def images(self) -> Mapping[str, np.ndarray]:
        camera = None if self.camera is None else self.camera.camera_picture()
        newest = self.poses.picture() if isinstance(self.poses, NewestPose) else None
        return {label: image for label, image in (("camera", camera), ("newest frame", newest)) if image is not None}

    def press(self, name: str) -> None:
        self.toggle_hold()

    def toggle_hold(self) -> None:
        self.is_held = not self.is_held

    def painter(self) -> Painter | None:
        snapshot = self.snapshot
        if snapshot is not None and snapshot is not self._painted:
            self._painted, self._painter = snapshot, Painter(snapshot.avatar(), plain_brush)
        return self._painter


class LiveView:
    """What training calls (rgbavatar.training.observer). Nothing is raised here, and little is done where nobody looks."""

    def __init__(self) -> None:
        self.is_watched: Callable[[], bool] = lambda: False
        self.wake: Callable[[], None] = lambda: None
        self.exhibit: LiveExhibit | None = None
        self._next = 0.0

    def observe(self, trainer: Trainer, seconds: float) -> bool:
        """Take a snapshot where it is time. A pause ends when the last page is closed."""
        try:
            return self._observe(trainer)
        except Exception as error:
            self.end(error)
            return False

    def show(self, values: Mapping[str, object]) -> None:
        """Have the page show numbers."""
        if self.exhibit is not None:
            self.exhibit.told = [f"{name}: {value}" for name, value in values.items()]

    def end(self, error: Exception) -> None:
        """The viewer has failed."""
        self.exhibit, self.is_watched = None, lambda: False
        _warn(f"the viewer has ended, training goes on: {type(error).__name__}: {' '.join(str(error).split())}")

    def _observe(self, trainer: Trainer) -> bool:
        exhibit = self.exhibit
        if exhibit is None:
            return False
        if not self.is_watched():
            exhibit.is_held = False
            return False
        begin, last = time.perf_counter(), exhibit.snapshot
        if begin >= self._next and (last is None or last.images_seen != trainer.images_seen):
            exhibit.snapshot = Snapshot(trainer)
            taken = time.perf_counter() - begin
            self._next = begin + max(_SNAPSHOT_SECONDS, taken / _SNAPSHOT_SHARE)
            self.wake()
        return exhibit.is_held


@contextmanager
def view_of_recorded(arguments: argparse.Namespace, job: TrainingJob[HeadDataset]) -> Iterator[LiveView]:
    """A page beside offline training, where --view asks for one: any frame of the subject, posed anew at will."""

    def open_frames() -> PoseSource:
        return open_poses(job.trainer.config, arguments.subject, job.frames.template)

    with _served(arguments, job.trainer, job.run.path / PICTURES, open_frames) as view:
        yield view


@contextmanager
def view_of_stream(
    arguments: argparse.Namespace, job: TrainingJob[FrameSource]
) -> Iterator[tuple[LiveView, FrameSource]]:
    """A page beside online training, where --view asks for one: the newest frame, and what a camera sees.

    Also the source, which tells of its frames.
    """
    newest = NewestPose()
    camera = job.frames if isinstance(job.frames, CameraSight) else None
    with _served(arguments, job.trainer, job.run.path / PICTURES, lambda: newest, camera) as view:
        yield view, WatchedSource(job.frames, newest)


@contextmanager
def _served(
    arguments: argparse.Namespace,
    trainer: Trainer,
    pictures: Path,
    open_frames: Callable[[], PoseSource],
    camera: CameraSight | None = None,
) -> Iterator[LiveView]:
    view = LiveView()
    if not arguments.view or not trainer.processes.is_first:
        yield view
        return

    def open_exhibit() -> LiveExhibit:
        view.exhibit = LiveExhibit(trainer, pictures, open_frames())
        view.exhibit.camera = camera
        return view.exhibit

    viewer: Viewer | None = None
    with _failures_told():
        require_viser()
        from rgbavatar.viewer.server import Viewer

        viewer = Viewer(open_exhibit, trainer.device, arguments.view_host, arguments.view_port, view.end)
        viewer.start()
        view.is_watched, view.wake = lambda: viewer.is_watched, viewer.wake
        say(f"open {viewer.url} in a browser")
    try:
        yield view
    finally:
        with _failures_told():
            if viewer is not None:
                viewer.stop()


@contextmanager
def _failures_told() -> Iterator[None]:
    """Whatever is raised here becomes a warning."""
    try:
        yield
    except Exception as error:
        _warn(f"no page is shown, training goes on: {' '.join(str(error).split())}")


def _warn(line: str) -> None:
    tqdm.write(f"warning: {line}", file=sys.stderr)
