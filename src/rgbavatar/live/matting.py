"""Soft edges at the rate of a camera: what rgbavatar.prepare.matting does to a mask, done in few pixels and carried over.

Alpha is a linear function of the colour in each window, alpha = a I + b (guided filter), found in the small picture. a and b
vary slowly, so they are enlarged and applied to the large picture's colours, which have the hair (He, Sun: Fast Guided Filter,
arXiv 1505.00996). Where colours explain little of the mask, alpha is the mask's own edge, as there.
"""

from __future__ import annotations

import cv2
import numpy as np

from rgbavatar.prepare.matting import estimate_foreground
from rgbavatar.prepare.resize import FAINTEST

_RADIUS = 2  # of the windows, small pixels
_EDGE = 2  # small pixels that a mask's edge may be off
_RIDGE = 1e-3  # variance of noise in colours, which blur and compression of a camera's pictures leave
_SEEN = 1e-3  # variance of a mask from which on there is something to explain
_LEAST = 1e-3  # weight of a window that explains nothing
_DISK = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _EDGE + 1, 2 * _EDGE + 1))


def cut_out(picture: np.ndarray, small: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """The head in a picture [H, W, 3] RGB uint8, as straight RGBA uint8. small [h, w, 3]: the same in few pixels; coverage
    [h, w]: of the head there."""
    size = (picture.shape[1], picture.shape[0])
    guide, coverage = small.astype(np.float32) / 255, coverage.astype(np.float32)
    head = (coverage >= 0.5).astype(np.uint8)
    eroded, dilated = cv2.erode(head, _DISK), cv2.dilate(head, _DISK)
    inside, reach = (cv2.resize(part, size, interpolation=cv2.INTER_NEAREST) for part in (eroded, dilated))
    edge = np.flatnonzero(inside != reach)
    first = np.where(eroded != dilated, _alpha_of(guide, np.dstack([_fit(guide, coverage), coverage])), coverage)
    colors = _take(picture, edge).astype(np.float32) / 255
    alpha = _alpha_of(colors, _take(_enlarge(np.dstack([_fit(guide, first), first]), size), edge))
    front = _take(_enlarge(estimate_foreground(guide, first, 1), size), edge)
    own = alpha[:, None] * colors + (1 - alpha[:, None]) * front
    own[alpha < FAINTEST] = 0
    made = cv2.merge([*cv2.split(cv2.bitwise_and(picture, picture, mask=reach)), 255 * inside])
    made.reshape(-1, 4)[edge] = np.rint(np.column_stack([own.clip(0, 1), alpha]) * 255).astype(np.uint8)
    return made


def _fit(guide: np.ndarray, coverage: np.ndarray) -> np.ndarray:
    """a (three channels), b, and the share of the mask's variance that they explain: [h, w, 5]."""
    mean, middle = _mean(guide), _mean(coverage)
    together = _mean(guide * coverage[..., None]) - mean * middle[..., None]
    variance = _mean(coverage * coverage) - middle * middle
    slope = _solve(guide, mean, together)
    explained = np.clip((slope * together).sum(2) / (variance + _SEEN), 0, 1)
    offset = middle - (slope * mean).sum(2)
    weight = explained + _LEAST
    return _mean(np.dstack([slope, offset, explained]) * weight[..., None]) / _mean(weight)[..., None]


def _solve(guide: np.ndarray, mean: np.ndarray, right: np.ndarray) -> np.ndarray:
    """(covariance + ridge)^-1 right for each pixel, by cofactors. [h, w, 3]."""
    pairs = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
    products = _mean(np.dstack([guide[..., i] * guide[..., j] for i, j in pairs]))
    xx, xy, xz, yy, yz, zz = (products[..., k] - mean[..., i] * mean[..., j] for k, (i, j) in enumerate(pairs))
    xx, yy, zz = xx + _RIDGE, yy + _RIDGE, zz + _RIDGE
    rows = (
        (yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy),
        (xz * yz - xy * zz, xx * zz - xz * xz, xy * xz - xx * yz),
        (xy * yz - xz * yy, xy * xz - xx * yz, xx * yy - xy * xy),
    )
    determinant = xx * rows[0][0] + xy * rows[0][1] + xz * rows[0][2]
    solved = [sum(part * right[..., k] for k, part in enumerate(row)) / determinant for row in rows]
    return np.dstack(solved)


def _alpha_of(colors: np.ndarray, fitted: np.ndarray) -> np.ndarray:
    """Alpha [...] of colours [..., 3] near an edge. fitted [..., 6]: see `_fit`, and the mask's own coverage."""
    guided = np.clip((fitted[..., :3] * colors).sum(-1) + fitted[..., 3], 0, 1)
    own, explained = fitted[..., 5], fitted[..., 4]
    return np.asarray(own + explained * (guided - own))


def _take(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """Pixels of an image [H, W, D] at flat places [n]: [n, D]."""
    return values.reshape(-1, values.shape[2]).take(places, 0)


def _mean(values: np.ndarray) -> np.ndarray:
    side = 2 * _RADIUS + 1
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)


def _enlarge(values: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    return cv2.resize(values, size, interpolation=cv2.INTER_LINEAR)
