"""Which part of the pictures is kept: a square that holds the head, with its hair, in all frames.

How far hair stands out is seen in the masks of a few frames, in eye distances from the middle of the landmarks; no other frame
needs its mask before the square is chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgbavatar.prepare.masks import bounding_box
from rgbavatar.prepare.resize import Box, Window, find_window

Floats = NDArray[np.float64]
SAMPLES = 24  # frames whose masks are looked at
OFTEN = 95  # percentile of what hair stands out by; a mask that fails in a frame decides nothing


@dataclass(frozen=True)
class HeadPlace:
    """Where heads are. middle [n, 2]: of the landmarks, pixels; unit [n]: eye distance, pixels."""

    middle: Floats
    unit: Floats


def measure_reach(places: HeadPlace, masks: Sequence[tuple[int, np.ndarray]]) -> Floats:
    """How far heads reach to the left, up, right and down from the middle, in units [4]. masks: coverages by position."""
    found = []
    for position, coverage in masks:
        if (coverage >= 0.5).any():
            left, top, right, bottom = bounding_box(coverage)
            x, y = places.middle[position]
            found.append(np.array((x - left, y - top, right - x, bottom - y)) / places.unit[position])
    return np.percentile(found, OFTEN, axis=0) if found else np.full(4, 2.0)


def choose_window(places: HeadPlace, reach: Floats, margin: float, width: int, height: int) -> Window:
    """The square around all heads, with a margin; see prepare.resize.find_window."""
    x, y, unit = places.middle[:, 0], places.middle[:, 1], places.unit
    sides = np.stack((x - reach[0] * unit, y - reach[1] * unit, x + reach[2] * unit, y + reach[3] * unit), 1)
    boxes = np.concatenate((np.floor(sides[:, :2]), np.ceil(sides[:, 2:])), 1).astype(int)
    clipped = boxes.clip(0, (width, height, width, height))
    return find_window([_box(row) for row in clipped.tolist()], margin, width, height)


def _box(row: Sequence[int]) -> Box:
    return row[0], row[1], row[2], row[3]
