"""What a page shows of a camera: its picture in small, with what was found in it, and how fast all goes."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping

import cv2
import numpy as np

from rgbavatar.live.faces import LiveFace, LostFace
from rgbavatar.live.pictures import NewestPictures
from rgbavatar.prepare.resize import Window
from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.pose import project
from rgbavatar.viewer.pace import Rate

_WIDTH = 320  # pixels: that of the controls
_EVERY = 0.2  # seconds between two pictures
_DOTS = 3  # every so many of the landmarks is drawn
_DOT_COLOR, _LOST_COLOR, _CROP_COLOR = (60, 230, 255), (255, 90, 60), (230, 230, 230)
_LATENCIES = 50  # over which a latency is averaged


class Sight:
    """Takes note of each picture in one thread; read in others. lost: pictures. note: what else is to be told, if anything.

    latency: seconds from when a picture was taken to when it was used, mean of the last ones.
    """

    def __init__(self, pictures: NewestPictures, model: FaceModel) -> None:
        self.lost = self.used = 0
        self.note = ""
        self.picture: np.ndarray | None = None
        self._pictures, self._model = pictures, model
        self._tracked, self._used = Rate(), Rate()
        self._latencies: deque[float] = deque(maxlen=_LATENCIES)
        self._next = 0.0

    @property
    def latency(self) -> float | None:
        found = list(self._latencies)
        return sum(found) / len(found) if found else None

    def found(self, item: LiveFace | LostFace, crop: Window | None) -> None:
        """A picture was looked at. crop: what is trained on, once that is known."""
        now = time.perf_counter()
        if isinstance(item, LiveFace):
            self._tracked.note(now)
        if now >= self._next:
            self._next = now + _EVERY
            self.picture = draw_sight(item, self._model, crop)

    def lose(self) -> None:
        """The picture cannot be used."""
        self.lost += 1

    def use(self, taken: float) -> None:
        """A picture that was taken then has been used."""
        now = time.perf_counter()
        self._used.note(now)
        self._latencies.append(now - taken)
        self.used += 1

    def status(self) -> Mapping[str, str]:
        """How it goes, by name."""
        told = {
            "camera": f"{self._pictures.rate.per_second:.0f} pictures/s",
            "tracked": f"{self._tracked.per_second:.0f} pictures/s",
            "used": f"{self._used.per_second:.0f} pictures/s",
            "missed, lost": f"{self._pictures.missed}, {self.lost}",
        }
        if self.latency is not None:
            told["latency"] = f"{1000 * self.latency:.0f} ms from picture to use"
        return told | ({"camera now": self.note} if self.note else {})


def draw_sight(item: LiveFace | LostFace, model: FaceModel, crop: Window | None) -> np.ndarray:
    """The picture in small with the template's landmarks and the crop; uint8 [h, w, 3]."""
    whole = item.frame.picture
    scale = min(1.0, _WIDTH / whole.shape[1])
    size = (max(1, round(scale * whole.shape[1])), max(1, round(scale * whole.shape[0])))
    picture = np.ascontiguousarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA))
    if crop is not None:
        corners = np.array((crop.left, crop.top, crop.left + crop.width - 1, crop.top + crop.height - 1)) * scale
        left, top, right, bottom = (int(v) for v in np.rint(corners))
        cv2.rectangle(picture, (left, top), (right, bottom), _CROP_COLOR, 1)
    if isinstance(item, LostFace):
        cv2.putText(picture, item.reason[:40], (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _LOST_COLOR, 1, cv2.LINE_AA)
        return picture
    points = project(model, item.person.plain, item.motion)[0, ::_DOTS] * scale - 0.5
    for x, y in np.rint(points).astype(int):
        cv2.circle(picture, (int(x), int(y)), 1, _DOT_COLOR, -1, cv2.LINE_AA)
    return picture
