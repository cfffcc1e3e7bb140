"""Masks of a head with its hair, without a network: graph cuts (Rother, Kolmogorov, Blake: GrabCut, 2004) that know where to
look.

Each frame's cut starts from what is known of it: the template's core is head, what is out of its reach is not. Between them,
pixels that fit one of the clip's two layers better are probably its own; elsewhere the mask of the frame before, moved as the
head moved, decides. The colour models are carried on from frame to frame. The result is averaged with the moved mask, so it
does not flicker.
"""

from __future__ import annotations

import cv2
import numpy as np

from rgbavatar.prepare.masks import clean_mask
from rgbavatar.track.layers import Layers
from rgbavatar.track.zones import Zone

SIDE = 256  # pixels of the longer side of the pictures that are cut
FIRST_ROUNDS, ROUNDS = 4, 2
SURE, CERTAIN = (
    1.0,
    2.5,
)  # logarithms of how much likelier a layer has to be: for a guess; to be the background for certain
SMOOTH = 1.5  # sigma over which verdicts are averaged, pixels: single ones are noise
MEMORY = 0.35  # share of the moved mask
CROWN = 0.12  # heights around the template that are probably hair where nothing else is known


class HeadMasker:
    """Masks the frames of a shot in their order."""

    def __init__(self, layers: Layers) -> None:
        self._layers = layers
        self._models: tuple[np.ndarray, np.ndarray] | None = None
        self._last: tuple[np.ndarray, Zone] | None = None

    def restart(self) -> None:
        """The next frame is of another shot."""
        self._models, self._last = None, None

    def mask(self, picture: np.ndarray, zone: Zone) -> np.ndarray:
        """The coverage of the head [h, w] in [0, 1] in a small picture [h, w, 3] RGB uint8."""
        before = None if self._last is None else move_mask(*self._last, zone)
        labels = guess(zone, self._layers.judge(picture, zone), before)
        if (labels == cv2.GC_FGD).any() and (labels != cv2.GC_FGD).any():
            self._cut(picture, labels)
        head = np.isin(labels, (cv2.GC_FGD, cv2.GC_PR_FGD)) & ~zone.below & zone.reach
        coverage = cv2.GaussianBlur(clean_mask(head.astype(np.float32)), (0, 0), 0.7)
        if before is not None:
            coverage = (1 - MEMORY) * coverage + MEMORY * before
            coverage[zone.below | ~zone.reach] = 0
        coverage = np.maximum(coverage, (zone.core & ~zone.below).astype(np.float32))
        self._last = (coverage, zone)
        return coverage

    def _cut(self, picture: np.ndarray, labels: np.ndarray) -> None:
        """Run GrabCut on the part of the picture that it may change; labels are changed in place."""
        box = _box_around(labels != cv2.GC_BGD)
        part = np.ascontiguousarray(picture[box])
        cut = np.ascontiguousarray(labels[box])
        behind, before = self._models or (np.zeros((1, 65)), np.zeros((1, 65)))
        mode, rounds = (cv2.GC_INIT_WITH_MASK, FIRST_ROUNDS) if self._models is None else (cv2.GC_EVAL, ROUNDS)
        cv2.setRNGSeed(0)  # its colour models start from k-means: the same picture has the same mask
        cv2.grabCut(part, cut, (0, 0, 1, 1), behind, before, rounds, mode)
        self._models = behind, before
        labels[box] = cut


def guess(zone: Zone, verdict: np.ndarray, before: np.ndarray | None) -> np.ndarray:
    """GrabCut's labels [h, w] of what is known before it cuts. verdict: see `Layers.judge`; before: the moved mask."""
    away = cv2.distanceTransform((~zone.core).astype(np.uint8), cv2.DIST_L2, 3)
    likely = away < CROWN * zone.height if before is None else before > 0.5
    verdict = cv2.GaussianBlur(verdict, (0, 0), SMOOTH)
    likely = np.where(np.abs(verdict) > SURE, verdict > 0, likely)
    labels = np.where(likely, cv2.GC_PR_FGD, cv2.GC_PR_BGD)
    labels = np.where(verdict < -CERTAIN, cv2.GC_BGD, labels)
    labels = np.where(zone.core, cv2.GC_FGD, labels)
    return np.where(zone.below | ~zone.reach, cv2.GC_BGD, labels).astype(np.uint8)


def move_mask(coverage: np.ndarray, zone: Zone, now: Zone) -> np.ndarray:
    """The mask of an earlier frame, moved, turned and scaled as the head was since."""
    here, there = (np.vstack((place, (0, 0, 1))) for place in (now.place, zone.place))
    back = (np.linalg.inv(there) @ here)[:2]
    height, width = coverage.shape
    return cv2.warpAffine(coverage, back, (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def _box_around(area: np.ndarray) -> tuple[slice, slice]:
    """Rows and columns of an area, and a third of its size around it, where the background's colours are learned."""
    box = []
    for axis in (1, 0):
        places = np.flatnonzero(area.any(axis))
        first, last = int(places[0]), int(places[-1])
        room = max(4, (last - first) // 3)
        box.append(slice(max(0, first - room), min(area.shape[1 - axis], last + 1 + room)))
    return box[0], box[1]
