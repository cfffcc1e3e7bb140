"""What MediaPipe sees of faces in a picture, and which of several faces is followed.

A *census* looks at a whole picture for all faces in it. It costs twice what following one face does, so it is made now and then;
only while a picture has several faces are all of them followed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.face_model import LEFT_CORNER, RIGHT_CORNER

Floats = NDArray[np.float64]
CENSUS_EVERY = 15  # frames from a look at the whole picture to the next
CENSUS_WHEN_LOST = 5
SAME_FACE = 1.0  # sizes that a face may move from a frame to the next


@dataclass(frozen=True)
class Face:
    """One face. points [478, 3]: x, y in pixels (the top-left pixel's centre at 0.5), z in pixels too, from the head's middle on,
    growing away from the camera; scores: of the 52 expressions by ARKit's names."""

    points: Floats
    scores: dict[str, float]

    @property
    def middle(self) -> Floats:
        """[2]."""
        return self.points[:, :2].mean(0)

    @property
    def size(self) -> float:
        """The longer side of its box, pixels."""
        return float(np.ptp(self.points[:, :2], axis=0).max())

    @property
    def eye_distance(self) -> float:
        """Between the outer corners of the eyes, pixels; in depth too, so that it does not shrink as a head turns."""
        return float(np.linalg.norm(self.points[LEFT_CORNER] - self.points[RIGHT_CORNER]))


@dataclass(frozen=True)
class Sighting:
    """The followed face of a picture, None where it is lost, and how many faces there are."""

    face: Face | None
    faces: int


class FaceFinder(Protocol):
    """Finds faces. milliseconds: of the picture, rising."""

    def census(self, picture: np.ndarray) -> Sequence[Face]:
        """All faces of a picture, whatever came before."""
        ...

    def follow_one(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        """The face that was found before, or any."""
        ...

    def follow_all(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        """All faces, those found before the faster."""
        ...


class FaceFollower:
    """Follows one face through a video: the largest at first, then always the one nearest to where it was."""

    def __init__(self, finder: FaceFinder) -> None:
        self._finder = finder
        self._last: Face | None = None
        self._lost = True
        self._crowded = False
        self._since_census = CENSUS_EVERY

    def follow(self, picture: np.ndarray, milliseconds: int) -> Sighting:
        """The face in the next picture, RGB [H, W, 3] uint8."""
        self._since_census += 1
        if self._since_census >= (CENSUS_WHEN_LOST if self._lost else CENSUS_EVERY):
            self._look_around(picture, milliseconds)
        found = self._find(picture, milliseconds)
        if self._lost and found and not self._crowded and self._since_census:
            self._look_around(picture, milliseconds)  # a face came: is it the only one?
            found = self._find(picture, milliseconds) if self._crowded else found
        chosen = self._choose(found)
        self._lost = chosen is None
        self._last = chosen or self._last
        return Sighting(chosen, len(found))

    def _look_around(self, picture: np.ndarray, milliseconds: int) -> None:
        was_crowded, self._since_census = self._crowded, 0
        self._crowded = len(self._finder.census(picture)) > 1
        if was_crowded and not self._crowded:
            self._finder.follow_one(
                picture, milliseconds
            )  # it last saw the face long ago, and finds it at its second try

    def _find(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        find = self._finder.follow_all if self._crowded else self._finder.follow_one
        return find(picture, milliseconds)

    def restart(self) -> None:
        """Forget the face: the next picture is of another shot."""
        self._last, self._lost, self._since_census = None, True, CENSUS_EVERY

    def _choose(self, found: Sequence[Face]) -> Face | None:
        if not found:
            return None
        last = self._last
        if last is None:
            return max(found, key=lambda face: face.size)
        nearest = min(found, key=lambda face: float(np.linalg.norm(face.middle - last.middle)))
        away = float(np.linalg.norm(nearest.middle - last.middle))
        return nearest if len(found) == 1 or away <= SAME_FACE * max(last.size, nearest.size) else None
