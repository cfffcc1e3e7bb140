"""What `python -m rgbavatar.drive` does once its arguments are known."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from rgbavatar.cli import say
from rgbavatar.drive.driver import LiveDriver
from rgbavatar.drive.exhibit import DriveExhibit
from rgbavatar.drive.film import RECORDINGS, FilmMaker, Lens, film, own_painter
from rgbavatar.drive.transfer import OwnFace, open_own_face
from rgbavatar.errors import ConfigError
from rgbavatar.io.run_dir import RunDir, refuse_existing, run_at
from rgbavatar.live.opening import find_landmarker, open_camera, open_face
from rgbavatar.track.mediapipe_faces import MediaPipeFaces
from rgbavatar.track.video import is_camera
from rgbavatar.trained import TrainedAvatar, open_trained
from rgbavatar.training.stop_signal import StopSignal
from rgbavatar.viewer.installed import require_viser
from rgbavatar.viewer.painter import best_painter
from rgbavatar.viewer.recorded import PICTURES, most_pixels

_LOOK_SECONDS = 0.2  # between two looks at whether to end


@dataclass(frozen=True)
class Opened:
    """All that is needed, checked. own: the avatar's face."""

    run: RunDir
    avatar: TrainedAvatar
    own: OwnFace
    driver: LiveDriver


def drive(arguments: argparse.Namespace, device: torch.device) -> None:
    """Drive an avatar: in a page until a signal comes, or into a film until the camera ends or a signal comes.

    Raises RgbAvatarError, one line on what is wrong.
    """
    if arguments.record is None:
        require_viser()
    else:
        refuse_existing(arguments.record, arguments.overwrite)
    opened = _open(arguments, device)
    camera = opened.own.camera if arguments.size is None else opened.own.camera.resized(arguments.size)
    lens = Lens(camera, arguments.fps, arguments.bg, arguments.beside)
    with StopSignal() as stop, _started(opened.driver):
        if arguments.record is None:
            _serve(arguments, opened, lens, device, stop)
        else:
            _film(arguments.record, opened, lens, stop)


def _open(arguments: argparse.Namespace, device: torch.device) -> Opened:
    if not is_camera(arguments.source):
        raise ConfigError(f"--source {arguments.source}: expected camera:0 or video:FILE")
    run = run_at(arguments.run)
    avatar = open_trained(run, None, arguments.set, device)
    template, model = open_face(avatar.config, arguments.landmarks)
    avatar.check_template(template)
    own = open_own_face(avatar.config, run.path.resolve().name, template, arguments.neutral)
    landmarker = find_landmarker(arguments.landmarker)
    frames = open_camera(arguments.source)
    driver = LiveDriver(frames, model, lambda: MediaPipeFaces(landmarker), own, arguments.focal, arguments.smooth)
    return Opened(run, avatar, own, driver)


@contextmanager
def _started(driver: LiveDriver) -> Iterator[None]:
    driver.start()
    try:
        yield
    finally:
        driver.stop()


def _film(path: Path, opened: Opened, lens: Lens, stop: StopSignal) -> None:
    driver = opened.driver
    count = film(driver, own_painter(opened.avatar), lens, path, lambda: stop.requested)
    if driver.failure is not None:
        raise driver.failure
    say(f"{path}: {count} pictures, {count / lens.rate:.1f} s")
    say("  ".join(f"{name}: {value}" for name, value in driver.camera_status().items()))


def _serve(arguments: argparse.Namespace, opened: Opened, lens: Lens, device: torch.device, stop: StopSignal) -> None:
    from rgbavatar.viewer.server import Viewer

    driver = opened.driver
    maker = FilmMaker(driver, own_painter(opened.avatar), lens, opened.run.path / RECORDINGS)
    exhibit = DriveExhibit(driver, best_painter(opened.avatar), maker, opened.run.path / PICTURES, most_pixels(device))
    viewer = Viewer(lambda: exhibit, device, arguments.host, arguments.port)
    driver.came = viewer.wake
    viewer.start()
    say(f"open {viewer.url} in a browser; Ctrl-C ends it")
    try:
        while not stop.requested and driver.failure is None and not viewer.wait(_LOOK_SECONDS):
            pass
    finally:
        maker.end()
        viewer.stop()
    for failure in (driver.failure, viewer.failure):
        if failure is not None:
            raise failure
