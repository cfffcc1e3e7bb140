"""The page of a driven avatar: what the camera sees, how fast it goes, and two buttons."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rgbavatar.drive.driver import LiveDriver
from rgbavatar.drive.film import FilmMaker
from rgbavatar.viewer.controls import menu_of
from rgbavatar.viewer.painter import Painter
from rgbavatar.viewer.recorded import weight_reach

_SHARE = 0.7  # of the time that rendering may take: the rest is for following the face
_REST, _RECORD = "rest", "record"


class DriveExhibit:
    """See Exhibit and Progress in rgbavatar.viewer.session."""

    share = _SHARE

    def __init__(
        self, driver: LiveDriver, painter: Painter, maker: FilmMaker, pictures: Path, most_pixels: int
    ) -> None:
        self.poses = driver
        self.pictures = pictures
        self.most_pixels = most_pixels
        self.menu = replace(
            menu_of(driver, painter.bases, weight_reach(painter, driver)), activity="Camera", streams=True
        )
        self._painter, self._maker = painter, maker

    @property
    def progress(self) -> DriveExhibit:
        return self

    @property
    def text(self) -> str:
        told = dict(self.poses.camera_status()) | ({"film": self._maker.status} if self._maker.status else {})
        return "  \n".join(f"{name}: {value}" for name, value in told.items())

    @property
    def buttons(self) -> Mapping[str, str]:
        return {
            _REST: "This is my face at rest",
            _RECORD: "Stop recording" if self._maker.is_filming else "Record",
        }

    @property
    def images(self) -> Mapping[str, np.ndarray]:
        picture = self.poses.camera_picture()
        return {} if picture is None else {"camera": picture}

    def press(self, name: str) -> str | None:
        if name == _RECORD:
            return self._maker.toggle()
        self.poses.take_rest()
        return "what your face does now counts as rest"

    def painter(self) -> Painter:
        return self._painter
