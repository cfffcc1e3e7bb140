"""Cuts in a video: a picture whose colours are others than those before it, or a face that jumps as no head can."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.landmarks import Face

SIDE, LEVELS = 64, 8  # pixels on a side of the pictures compared, and levels of each colour
OTHER_COLORS = 0.5  # share of the pixels whose colour has to be another
JUMP = 18.0  # eye distances in a second: a shaken head makes ten
STILL = 0.02  # seconds that two pictures are apart at least, for a speed


class CutFinder:
    """Looks at pictures and faces in their order."""

    def __init__(self) -> None:
        self._colors: NDArray[np.float64] | None = None
        self._face: tuple[Face, float] | None = None

    def picture_cuts(self, picture: np.ndarray) -> bool:
        """Whether the next picture [H, W, 3] is of another shot by its colours."""
        small = cv2.resize(picture, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        bins = (small // (256 // LEVELS)).astype(np.int64) @ np.array([LEVELS * LEVELS, LEVELS, 1])
        colors = np.bincount(bins.ravel(), minlength=LEVELS**3) / bins.size
        before, self._colors = self._colors, colors
        cut = before is not None and float(np.abs(colors - before).sum()) / 2 > OTHER_COLORS
        if cut:
            self._face = None
        return cut

    def face_cuts(self, face: Face, seconds: float) -> bool:
        """Whether the next face is of another shot by where it is."""
        before, self._face = self._face, (face, seconds)
        if before is None:
            return False
        last, then = before
        moved = float(np.linalg.norm(face.points[:, :2] - last.points[:, :2], axis=1).mean())
        return moved / max(last.eye_distance, face.eye_distance) / max(seconds - then, STILL) > JUMP
