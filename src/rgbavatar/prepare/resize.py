"""Cutting out and resizing pictures, with cameras that go on fitting them.

A *window* is a rectangle of the raw picture, in its pixels; it may reach beyond the picture, where nothing is. Resized by s, the
point that was at (x, y), with the centre of the top-left pixel at (0.5, 0.5) (see rgbavatar.geometry.camera), is at
s (x - left), s (y - top); so fx' = s fx and cx' = s (cx - left).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np

from rgbavatar.datasets.frame_file import TrackedFrame

Box = tuple[int, int, int, int]
"""left, top, right, bottom; the last two beyond it."""

FAINTEST = 0.5 / 255  # alpha that is stored as 0


@dataclass(frozen=True)
class Window:
    """See the module's head."""

    left: int
    top: int
    width: int
    height: int

    def grown(self, reach: int, width: int, height: int) -> Window:
        """This window and `reach` pixels around it, as far as a picture of that size goes; at least a pixel of it."""
        left, top = (min(max(0, at - reach), most - 1) for at, most in ((self.left, width), (self.top, height)))
        right = max(left + 1, min(width, self.left + self.width + reach))
        bottom = max(top + 1, min(height, self.top + self.height + reach))
        return Window(left, top, right - left, bottom - top)

    def within(self, other: Window) -> Window:
        """The same window, seen from the top left of another."""
        return replace(self, left=self.left - other.left, top=self.top - other.top)

    def fitted(self, size: int | None) -> tuple[int, int]:
        """Width and height of its picture when the longer side gets `size` pixels, or as it is."""
        scale = 1.0 if size is None else size / max(self.width, self.height)
        return max(1, round(scale * self.width)), max(1, round(scale * self.height))


def find_window(boxes: Sequence[Box], margin: float, width: int, height: int) -> Window:
    """The square window around all boxes, with a margin in their common size.

    It stays inside the picture where it can, at the cost of the margin: outside there is nothing to see, and a head that
    the picture's border cuts would seem to end there.
    """
    left, top = (min(box[i] for box in boxes) for i in (0, 1))
    right, bottom = (max(box[i] for box in boxes) for i in (2, 3))
    needed = max(right - left, bottom - top)
    side = max(needed, min(round(needed * (1 + 2 * margin)), width, height))
    return Window(_place(left, right, side, width), _place(top, bottom, side, height), side, side)


def _place(low: int, high: int, side: int, extent: int) -> int:
    """Where `side` pixels around low..high start: inside 0..extent where they fit, else in the middle of it."""
    if side > extent:
        return (extent - side) // 2
    return min(max(0, (low + high - side) // 2), extent - side)


def cut(picture: np.ndarray, window: Window) -> np.ndarray:
    """The part of a picture [H, W] or [H, W, D] in a window, zero beyond its borders."""
    height, width = picture.shape[:2]
    inside = window.grown(0, width, height)
    part = picture[inside.top : inside.top + inside.height, inside.left : inside.left + inside.width]
    before = (inside.top - window.top, inside.left - window.left)
    after = (window.height - before[0] - inside.height, window.width - before[1] - inside.width)
    pads = [(before[0], after[0]), (before[1], after[1]), (0, 0)][: picture.ndim]
    return np.pad(part, pads)


def resize_straight(colors: np.ndarray, alpha: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize colours [H, W, 3] and alpha [H, W], float32 in [0, 1], into straight RGBA [height, width, 4] uint8.

    By area where it gets smaller, cubic where larger; colours count by their alpha, and are black where there is none.
    """
    if alpha.shape != (height, width):
        kind = cv2.INTER_AREA if width < alpha.shape[1] else cv2.INTER_CUBIC
        both = np.dstack([colors * alpha[..., None], alpha])
        both = cv2.resize(both, (width, height), interpolation=kind)
        alpha = np.clip(both[..., 3], 0, 1)
        colors = both[..., :3] / np.maximum(both[..., 3:], FAINTEST)
    shown = np.where(alpha[..., None] >= FAINTEST, np.clip(colors, 0, 1), 0)
    return np.rint(np.dstack([shown, alpha]) * 255).astype(np.uint8)


def fit_frame(frame: TrackedFrame, window: Window, width: int, height: int) -> TrackedFrame:
    """A tracked frame for the picture of a window that was resized to width x height."""
    across, down = width / window.width, height / window.height
    moved = frame.intrinsics - frame.intrinsics.new_tensor([0, 0, window.left, window.top])
    intrinsics = moved * moved.new_tensor([across, down, across, down])
    return replace(frame, intrinsics=intrinsics, width=width, height=height)
