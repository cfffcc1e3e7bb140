"""The square of the pictures that is trained on, chosen once, from where the head and its hair were in the first second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.live.head import PersonHead, without_identity
from rgbavatar.prepare.masks import bounding_box
from rgbavatar.prepare.resize import Window, find_window
from rgbavatar.track.masks import small_size

FRAMES = 6  # that are looked at
MARGIN = 0.12  # around where hair may be, in sizes of all that: a head that sits before a camera moves less
_INSIDE = 0.85  # share of a face that has to be in the crop for a frame to be used


def choose_crop(head: PersonHead, frames: Sequence[TrackedFrame]) -> Window:
    """Around head and hair of n frames, with a margin; inside the picture where that is large enough."""
    width, height = frames[0].width, frames[0].height
    small = small_size(width, height)
    scale = np.array((width / small[0], height / small[1]) * 2)
    boxes = []
    for i in sorted({round(i) for i in np.linspace(0, len(frames) - 1, FRAMES)}):
        zone = head.zones.find(without_identity(frames[i]), *small)
        place = (zone.reach & ~zone.below).astype(np.float32)
        if place.any():
            left, top, right, bottom = np.array(bounding_box(place)) * scale
            boxes.append((int(left), int(top), int(np.ceil(right)), int(np.ceil(bottom))))
    return find_window(boxes, MARGIN, width, height) if boxes else Window(0, 0, width, height)


def is_inside(crop: Window, points: np.ndarray) -> bool:
    """Whether enough of a face is in the crop. points [n, 2 or 3]: of the face, pixels of the whole picture."""
    x, y = points[:, 0] - crop.left, points[:, 1] - crop.top
    return float(np.mean((x >= 0) & (x < crop.width) & (y >= 0) & (y < crop.height))) >= _INSIDE
