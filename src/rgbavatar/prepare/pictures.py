"""Pictures as they come: PNG or JPEG, grey, RGB or RGBA, 8 bits."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from rgbavatar.datasets.images import decode_picture

_TO_RGB = {3: cv2.COLOR_BGR2RGB, 4: cv2.COLOR_BGRA2RGBA}


def read_picture(path: Path) -> np.ndarray:
    """A picture's pixels, [H, W] or [H, W, 3 or 4] uint8, RGB(A). Raises DataError naming the file."""
    pixels = decode_picture(path, cv2.IMREAD_UNCHANGED)
    return pixels if pixels.ndim == 2 else cv2.cvtColor(pixels, _TO_RGB[pixels.shape[2]])
