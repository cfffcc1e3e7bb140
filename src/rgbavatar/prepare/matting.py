"""Soft edges for masks: alpha in a narrow band, and the head's own colour where it is mixed with what is behind.

I: colours [H, W, 3] and p: coverage by the mask [H, W], float32 in [0, 1]. A picture is I = alpha F + (1 - alpha) B, with F the
head's colour and B the background's. *edge*: how far the mask's edge may be off, in pixels; only pixels that near to it change.

Alpha comes from the guided filter (He, Sun, Tang: Guided Image Filtering, ECCV 2010, section 3.3): in each window the mask is
fitted as a linear function of the colour, alpha = a I + b, which for a mask is Fisher's discriminant of head and background
there. Two things are added. Windows count by the share of the mask's variance that their fit explains; and where little is
explained, as where a chin is before a neck of its colour, alpha is that of the mask's own blurred edge.

F comes from two rounds of Forte, Approximate Fast Foreground Colour Estimation, ICIP 2021: means over windows, weighed by alpha
and 1 - alpha, then what the equation above leaves over is given to F.
"""

from __future__ import annotations

from itertools import combinations_with_replacement

import cv2
import numpy as np

WINDOW_EDGES = 2  # radius of the guided filter's windows, in edges: they see both sides wherever the edge is
BLUR_EDGES = 0.35  # sigma of the mask's own edge, in edges
ROUNDS = 2  # of the guided filter: the second one sees what the first one found
RIDGE = 1e-4  # epsilon of the guided filter: variance of noise in colours
SEEN_VARIANCE = 1e-4  # of the mask in a window: below that there is nothing to explain
LEAST_SHARE = 1e-3  # weight of a window that explains nothing
MEAN_EDGES = (
    2,
    0.5,
)  # radius of the windows of Forte's two rounds, in edges; measured: wider ones bring foreign colours
NOTHING = 1e-5  # sum of weights that cannot be divided by
REACH_EDGES = 12  # how far, in edges, what is outside a crop can matter


def refine_alpha(colors: np.ndarray, coverage: np.ndarray, edge: int) -> np.ndarray:
    """The head's alpha [H, W] in [0, 1], from a mask's coverage whose edge may be `edge` pixels off."""
    head = (coverage >= 0.5).astype(np.uint8)
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * edge + 1, 2 * edge + 1))
    inside, reach = cv2.erode(head, disk) == 1, cv2.dilate(head, disk) == 1
    own = cv2.GaussianBlur(coverage, (0, 0), BLUR_EDGES * edge, borderType=cv2.BORDER_REPLICATE)
    alpha = coverage
    for _ in range(ROUNDS):
        fitted, share = _filter_guided(colors, alpha, WINDOW_EDGES * edge)
        mixed = np.clip(fitted, 0, 1) * share + own * (1 - share)
        alpha = np.where(inside, 1, np.where(reach, mixed, 0)).astype(np.float32)
    return alpha


def estimate_foreground(colors: np.ndarray, alpha: np.ndarray, edge: int) -> np.ndarray:
    """The head's own colour F [H, W, 3] in [0, 1]: the picture's where alpha is 1, that of the head nearby where it is 0."""
    front, back, weight = colors, colors, alpha[..., None]
    for edges in MEAN_EDGES:
        radius = max(1, round(edges * edge))
        front = _weighted_mean(front, weight, radius)
        back = _weighted_mean(back, 1 - weight, radius)
        rest = colors - weight * front - (1 - weight) * back
        front = np.clip(front + weight * rest, 0, 1)
        back = np.clip(back + (1 - weight) * rest, 0, 1)
    return front


def _filter_guided(colors: np.ndarray, mask: np.ndarray, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """The mask as the colours tell it [H, W], and the share of its variance that they explain [H, W]."""
    mean_color, mean_mask = _mean(colors, radius), _mean(mask, radius)
    together = _mean(colors * mask[..., None], radius) - mean_color * mean_mask[..., None]
    variance = _mean(mask * mask, radius) - mean_mask * mean_mask
    mixed = variance > SEEN_VARIANCE  # the windows with something to explain; elsewhere the mask is flat
    slope = np.zeros_like(colors)
    slope[mixed] = np.linalg.solve(_covariance(colors, mean_color, radius, mixed), together[mixed][..., None])[..., 0]
    offset = mean_mask - _dot(slope, mean_color)
    explained = np.clip(_dot(slope, together) / (variance + SEEN_VARIANCE), 0, 1)
    weight = explained + LEAST_SHARE
    total = _mean(weight, radius)
    fitted = _dot(_mean(slope * weight[..., None], radius), colors) + _mean(offset * weight, radius)
    return fitted / total, _mean(explained * weight, radius) / total


def _covariance(colors: np.ndarray, means: np.ndarray, radius: int, chosen: np.ndarray) -> np.ndarray:
    """Covariance of the colours in the windows of the n pixels `chosen` [H, W], with the ridge. [n, 3, 3] float64."""
    matrix = np.empty((np.count_nonzero(chosen), 3, 3))
    for i, j in combinations_with_replacement(range(3), 2):
        product = _mean(colors[..., i] * colors[..., j], radius) - means[..., i] * means[..., j]
        matrix[:, i, j] = matrix[:, j, i] = product[chosen] + RIDGE * (i == j)
    return matrix


def _weighted_mean(values: np.ndarray, weight: np.ndarray, radius: int) -> np.ndarray:
    """Mean of values [H, W, 3] over windows, weighed by [H, W, 1]; the value itself where nothing weighs in its window."""
    total = _mean(weight[..., 0], radius)[..., None]
    return np.where(total > NOTHING, _mean(values * weight, radius) / np.maximum(total, NOTHING), values)


def _dot(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Dot products of [H, W, 3] and the same. [H, W]."""
    return np.einsum("hwc,hwc->hw", a, b)


def _mean(values: np.ndarray, radius: int) -> np.ndarray:
    """Mean over windows of 2 radius + 1 pixels on a side; beyond the border the picture goes on as it ends."""
    side = 2 * radius + 1
    return cv2.blur(values, (side, side), borderType=cv2.BORDER_REPLICATE)
