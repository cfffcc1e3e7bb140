"""Films of a driven avatar: one picture for each moment of a steady rate, whatever the rate at which poses come."""

from __future__ import annotations

import copy
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np

from rgbavatar.drive.driver import Driven, LiveDriver
from rgbavatar.errors import DataError, RgbAvatarError
from rgbavatar.geometry.camera import Camera
from rgbavatar.io.files import make_folder
from rgbavatar.io.video import VideoWriter
from rgbavatar.trained import TrainedAvatar
from rgbavatar.viewer.painter import Look, Painter, best_painter

RECORDINGS = "recordings"
"""The folder, in a run's, of films made in the page."""
_WAIT_SECONDS = 0.1  # between two looks at whether to end


@dataclass(frozen=True)
class Lens:
    """How films show the avatar. camera [1]; rate: pictures a second; background: RGB in [0, 1]; beside: the camera's
    picture stands to the left."""

    camera: Camera
    rate: float = 25.0
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    beside: bool = False

    def take(self, painter: Painter, driven: Driven) -> np.ndarray:
        """One picture of a film, uint8 [H, W, 3]."""
        picture = painter.paint(driven.pose, Look(background=self.background), self.camera)
        if not self.beside:
            return picture
        height, width = driven.picture.shape[:2]
        size = (max(1, round(width * picture.shape[0] / height)), picture.shape[0])
        return np.hstack([cv2.resize(driven.picture, size, interpolation=cv2.INTER_AREA), picture])


def own_painter(avatar: TrainedAvatar) -> Painter:
    """A painter that shares nothing with others."""
    return best_painter(replace(avatar, model=copy.deepcopy(avatar.model)))


def film(driver: LiveDriver, painter: Painter, lens: Lens, path: Path, until: Callable[[], bool]) -> int:
    """Film the driver until it ends or `until` says so. Returns how many pictures were taken; where poses came slower than
    the film's rate, a picture stays for several. Raises OutputError; DataError where no pose came."""
    last: Driven | None = None
    shown: np.ndarray | None = None
    written, start = 0, 0.0
    with VideoWriter(path, lens.rate) as video:
        while not until() and not (driver.has_ended and driver.is_newest(last)):
            driven = driver.wait_newer(last, _WAIT_SECONDS)
            if driven is None:
                continue
            last, moment = driven, driven.pose.taken or time.perf_counter()
            start = start if shown is not None else moment
            for _ in range(round((moment - start) * lens.rate) - written):
                assert shown is not None
                video.write(shown)
                written += 1
            shown = lens.take(painter, driven)
        if shown is None:
            raise driver.failure or DataError("no face came that the avatar could follow; nothing was filmed")
        video.write(shown)
    return written + 1


class FilmMaker:
    """Films in a thread of its own when asked. folder: of the films, which are numbered."""

    def __init__(self, driver: LiveDriver, painter: Painter, lens: Lens, folder: Path) -> None:
        self._driver, self._painter, self._lens, self._folder = driver, painter, lens, folder
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._path: Path | None = None
        self._said = ""

    @property
    def is_filming(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    @property
    def status(self) -> str:
        """What is filmed, or what came of the last film."""
        return f"to {self._path}" if self.is_filming else self._said

    def toggle(self) -> str:
        """Begin, or end. Returns what is to be told."""
        if self.is_filming:
            self.end()
            return self._said
        self._stop.clear()
        self._path = _next_path(self._folder)
        self._thread = threading.Thread(target=self._run, args=(self._path,), name="film")
        self._thread.start()
        return f"filming to {self._path}"

    def end(self) -> None:
        """Finish the film, if one is made."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self, path: Path) -> None:
        try:
            make_folder(path.parent)
            count = film(self._driver, self._painter, self._lens, path, self._stop.is_set)
            self._said = f"{count / self._lens.rate:.1f} s in {path}"
        except RgbAvatarError as error:
            self._said = f"not filmed: {error}"


def _next_path(folder: Path) -> Path:
    taken = [int(path.stem) for path in folder.glob("*.mp4") if path.stem.isascii() and path.stem.isdigit()]
    return folder / f"{max(taken, default=-1) + 1:05d}.mp4"
