"""What pictures of a face show however it is lit: grey pictures cut out around it, and their detail.

*Detail* is what is left of a blurred picture without its coarse part, divided by how strong that is around: neither a brighter
lamp nor a shadow on half the face changes it much. It is kept in bytes: `ZERO` for none, `STEP` for 1. Pixel coordinates: the
centre of the first pixel is (0.5, 0.5), as in parameter files.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bytes = NDArray[np.uint8]
SIDE = 320  # pixels of a cut-out, at most
MARGIN = 0.12  # around the face, in its sizes
ZERO, STEP = 128, 32
FAINT = 3.0  # grey levels: detail that is weaker is not raised to full strength, for it is noise
_FINEST = 0.7  # pixels that a blur has at least
_COARSE = 3  # pixels of a reduced picture that coarse blurs have


@dataclass(frozen=True)
class Windows:
    """Where n cut-outs of side x side pixels are: (x, y) of the source is scale (x, y) - corners [n, 2]."""

    corners: NDArray[np.int64]
    scale: float
    side: int

    def cut(self, picture: np.ndarray, frame: int) -> Bytes:
        """The grey cut-out [side, side] of a picture RGB [H, W, 3]; beyond it, its border goes on."""
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        if self.scale < 1:
            grey = cv2.resize(grey, None, fx=self.scale, fy=self.scale, interpolation=cv2.INTER_AREA)
        height, width = grey.shape
        x, y = self.corners[frame]
        columns = np.clip(np.arange(x, x + self.side), 0, width - 1)
        rows = np.clip(np.arange(y, y + self.side), 0, height - 1)
        return np.ascontiguousarray(grey[np.ix_(rows, columns)])


def choose_windows(low: Floats, high: Floats) -> Windows:
    """Windows around boxes of n pictures, all alike large. low, high [n, 2]: corners of the boxes, pixels of the source."""
    side = float((high - low).max()) * (1 + 2 * MARGIN)
    scale = min(1.0, SIDE / side)
    pixels = int(np.ceil(side * scale))
    corners = np.round((low + high) / 2 * scale - pixels / 2).astype(np.int64)
    return Windows(corners, scale, pixels)


def find_detail(grey: Bytes, fine: float, coarse: float) -> Bytes:
    """The detail between two blurs, pixels, of a grey picture [H, W]."""
    picture = grey.astype(np.float32)
    sharp = cv2.GaussianBlur(picture, (0, 0), max(fine, _FINEST))
    detail = sharp - _blur_far(picture, coarse)
    strength = np.sqrt(np.maximum(_blur_far(detail * detail, coarse), 0.0))
    scaled = detail / (strength + FAINT) * STEP + ZERO
    return np.asarray(np.clip(np.round(scaled), 0, 255), np.uint8)


def look_up(details: Bytes, points: Floats) -> tuple[Floats, Floats]:
    """Details [n, H, W] at points [n, L, 2], and how they change along x and y, in a pixel. Returns [n, L] and [n, L, 2]."""
    values, slopes = np.empty(points.shape[:2]), np.empty(points.shape)
    for i, detail in enumerate(details):
        picture = (detail.astype(np.float32) - ZERO) / STEP
        values[i] = _interpolate(picture, points[i])
        for axis, step in enumerate(np.eye(2)):
            ahead, behind = (_interpolate(picture, points[i] + way * step) for way in (1.0, -1.0))
            slopes[i, :, axis] = (ahead - behind) / 2
    return values, slopes


def _interpolate(picture: NDArray[np.float32], points: Floats) -> NDArray[np.float32]:
    """A picture [H, W] at points [L, 2]; beyond it, its border goes on. Returns [L]."""
    columns, rows = np.ascontiguousarray(points.T, np.float32)[:, None] - np.float32(0.5)
    return np.asarray(cv2.remap(picture, columns, rows, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0])


def _blur_far(picture: NDArray[np.float32], blur: float) -> NDArray[np.float32]:
    """A wide blur, made of a smaller picture."""
    factor = max(1, int(blur / _COARSE))
    height, width = picture.shape
    small = (max(1, width // factor), max(1, height // factor))
    reduced = cv2.resize(picture, small, interpolation=cv2.INTER_AREA)
    blurred = cv2.GaussianBlur(reduced, (0, 0), blur / factor)
    return np.asarray(cv2.resize(blurred, (width, height), interpolation=cv2.INTER_LINEAR), np.float32)
