"""Two layers that a clip is made of: what stays where it is in the picture, and what moves as the head does.

Each layer is the colour that its places have in most frames, and how much that varies: the background by pixels, from frames
where the head cannot be before them, or from all where it always can; the head by places in a frame of its own (`Zone.place`).
A patterned wall near the head varies less by the first than by the second; hair does by the second. The frames should have the
head in as many places as there are. Hair of a head that moves little hides the same wall in all of them, and as the head turns,
it may vary less by the first: that a place looks as it always does tells nothing before heads are cut out, and little after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.zones import Zone

MOST_CERTAIN = 2.0  # logarithm of odds that a shape can tell, for hair moves, or a place that was always hidden
FEWEST = 4  # times that a pixel has to be seen without the head
VARIED = 85  # percentile of the deviations from the median that is the spread: a head that moves seldom moves enough
SPREAD_FLOOR = 5.0  # levels: noise and compression of a still picture
CANVAS, HEIGHTS = 192, 2.4  # side of the head's own frame, in its pixels and in heights of the head


@dataclass(frozen=True)
class Layer:
    """colors [h, w, 3] and spread [h, w], in levels of 255; NaN where the layer was never seen."""

    colors: np.ndarray
    spread: np.ndarray

    def surprise(self, picture: np.ndarray) -> np.ndarray:
        """How unlikely the colours of a picture [h, w, 3] are, if they are of this layer: minus the logarithm of Cauchy's
        density, but for a constant [h, w]; NaN where it was never seen."""
        off = np.abs(picture.astype(np.float32) - self.colors).max(2) / self.spread
        return np.log1p(off * off) + np.log(self.spread)


@dataclass(frozen=True)
class Layers:
    """background: in the picture; head, shape: in the head's own frame. shape [s, s]: logarithm of how much likelier than not a
    place is of the head, as far as that is known: 0. least [h, w]: the lowest such logarithm that the colours of a pixel can
    give, for its background may be hair that always hides it."""

    background: Layer
    head: Layer
    shape: np.ndarray
    least: np.ndarray

    def judge(self, picture: np.ndarray, zone: Zone) -> np.ndarray:
        """How much likelier each pixel [h, w] is of the head than of the background: a logarithm, 0 where that is not known."""
        parts = (self.head.colors, self.head.spread, self.shape)
        colors, spread, shape = (_to_picture(part, zone, picture.shape) for part in parts)
        seen = np.nan_to_num(self.background.surprise(picture) - Layer(colors, spread).surprise(picture))
        return (np.maximum(seen, self.least) + np.nan_to_num(shape)).astype(np.float32)


def choose_frames(zones: Sequence[Zone], wanted: int) -> list[int]:
    """Positions of at most `wanted` frames whose heads are in places as different as can be, the farthest from the others
    first."""
    places = np.stack([np.linalg.inv(_canvas_of(zone))[:2].ravel() / zone.height for zone in zones])
    chosen, apart = [0], np.full(len(places), np.inf)
    while len(chosen) < min(wanted, len(places)):
        apart = np.minimum(apart, np.linalg.norm(places - places[chosen[-1]], axis=1))
        chosen.append(int(apart.argmax()))
    return sorted(set(chosen))


def learn_layers(pictures: Sequence[np.ndarray], zones: Sequence[Zone]) -> Layers:
    """From small pictures [h, w, 3] of frames all over a clip, before anything is cut out."""
    stack = np.stack(pictures).astype(np.float32)
    free, outside = np.stack([~zone.reach for zone in zones]), np.stack([~zone.core for zone in zones])
    inside = [_to_canvas(_only(picture, zone.reach), zone) for picture, zone in zip(stack, zones, strict=True)]
    known, shape = _often(free), np.zeros((CANVAS, CANVAS), np.float32)
    background = _learn(_only(stack, np.where(known, free, outside)))
    return Layers(background, _learn(np.stack(inside)), shape, np.where(known, -np.inf, 0))


def relearn_layers(pictures: Sequence[np.ndarray], zones: Sequence[Zone], masks: Sequence[np.ndarray]) -> Layers:
    """The same once heads were cut out of these pictures, well in most of them. masks: coverages [h, w]."""
    stack = np.stack(pictures).astype(np.float32)
    heads = [mask >= 0.5 for mask in masks]
    free = np.stack([cv2.dilate(head.astype(np.uint8), np.ones((5, 5), np.uint8)) == 0 for head in heads])
    outside = np.stack([~zone.core for zone in zones])
    seen = [_to_canvas(_only(picture, head), zone) for picture, head, zone in zip(stack, heads, zones, strict=True)]
    covered = np.stack([_to_canvas(mask, zone) for mask, zone in zip(masks, zones, strict=True)])
    often, count = np.nansum(covered, 0), np.isfinite(covered).sum(0)
    shape = np.log((often + 1) / (count - often + 1)).clip(-MOST_CERTAIN, MOST_CERTAIN)
    known = _often(free)
    background = _learn(_only(stack, np.where(known, free, outside)))
    return Layers(background, _learn(np.stack(seen)), shape.astype(np.float32), np.where(known, -np.inf, -MOST_CERTAIN))


def _often(free: np.ndarray) -> np.ndarray:
    """Which pixels [h, w] are free of the head in frames enough [n, h, w]; of others, all frames tell, outside of cores."""
    return free.sum(0) >= min(FEWEST, len(free))


def _only(picture: np.ndarray, area: np.ndarray) -> np.ndarray:
    return np.where(area[..., None], picture, np.nan)


def _learn(stack: np.ndarray) -> Layer:
    """The median over the first axis, and a percentile of the deviations from it; what is NaN was not seen."""
    colors = _percentile(stack, 50)
    spread = _percentile(np.abs(stack - colors).max(-1), VARIED)
    return Layer(colors, np.maximum(spread, SPREAD_FLOOR))


def _percentile(stack: np.ndarray, percent: float) -> np.ndarray:
    """Of the numbers along the first axis, the nearest one to a percentile; NaN where there are none. numpy's takes minutes."""
    ordered = np.sort(stack, 0)  # NaN comes last
    count = np.isfinite(stack).sum(0, keepdims=True)
    place = np.rint((count - 1) * percent / 100).astype(np.int64).clip(0)
    return np.take_along_axis(ordered, place, 0)[0].astype(np.float32)


def _to_canvas(picture: np.ndarray, zone: Zone) -> np.ndarray:
    return _warp(picture, np.linalg.inv(_canvas_of(zone)), CANVAS, CANVAS)


def _to_picture(canvas: np.ndarray, zone: Zone, shape: tuple[int, ...]) -> np.ndarray:
    return _warp(canvas, _canvas_of(zone), shape[1], shape[0])


def _warp(image: np.ndarray, source: np.ndarray, width: int, height: int) -> np.ndarray:
    """An image whose pixels are those at `source` [3, 3] of their own places; NaN beyond the border."""
    flags = cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP
    nothing = (np.nan,) * 4
    return cv2.warpAffine(image.astype(np.float32), source[:2], (width, height), flags=flags, borderValue=nothing)


def _canvas_of(zone: Zone) -> NDArray[np.float64]:
    """From pixels of a frame's picture to those of the head's own frame [3, 3]."""
    scale = CANVAS / HEIGHTS
    shift = np.array([[scale, 0, CANVAS / 2], [0, scale, CANVAS / 2], [0, 0, 1]])
    return shift @ np.vstack((zone.place, (0, 0, 1)))
