"""What is wrong with the masks of a subject: none, empty, hard-edged, with holes, flickering.

A mask is an image's alpha. *Soft* pixels are neither clear nor opaque. All shares are of pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from torch import Tensor

from rgbavatar.check.findings import Finding, name_numbers, problem, warning
from rgbavatar.check.fit import measure_fit
from rgbavatar.check.scene import Scene, make_small, silhouettes
from rgbavatar.datasets.base import ImageStore

CLEAR, OPAQUE = 5, 250  # alpha of a clear pixel at most, of an opaque one at least
FULL, EMPTY = 0.995, 0.002  # share of the picture that a mask covers
HARD_EDGE = 0.15  # soft pixels over pixels of the outline; a smooth edge has one or two
HOLE = 0.01  # of the head's area
ISLAND = 0.02
FLICKER = 0.06  # of a mask that changes from a frame to the next, beyond what the mesh's silhouette does
OFTEN = 0.10  # share of frames from which on a fault is worth a line
BLUER = 0.04  # by how much blue exceeds red on a face whose channels are exchanged
_AT_ONCE = 16


@dataclass(frozen=True)
class MaskStats:
    """Of m images. covered: share of the picture where alpha is above one half; softness: soft pixels over those of the
    outline; hole, island: area of the largest, over the mask's. Each [m] float64."""

    covered: Tensor
    softness: Tensor
    hole: Tensor
    island: Tensor


def survey_images(images: ImageStore, frames: Tensor) -> tuple[Tensor, MaskStats]:
    """Read the images at positions [m] once: small pictures [m, h, w, 4] and the numbers on their masks. Raises DataError."""
    pictures, rows = [], []
    for some in frames.split(_AT_ONCE):
        read = images.read(some).cpu()
        pictures.append(make_small(read))
        rows += [_measure(alpha) for alpha in read[..., 3].numpy()]
    return torch.cat(pictures), MaskStats(*torch.tensor(rows, dtype=torch.float64).unbind(1))


def _measure(alpha: np.ndarray) -> tuple[float, float, float, float]:
    """covered, softness, hole and island of one mask [H, W] uint8."""
    mask = (alpha > 127).astype(np.uint8)
    area = int(mask.sum())
    soft = int(((alpha > CLEAR) & (alpha < OPAQUE)).sum())
    outline = int((cv2.dilate(mask, np.ones((3, 3), np.uint8)) - mask).sum())
    framed = cv2.copyMakeBorder(1 - mask, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=1)  # the background is one region
    hole, island = _second_largest(framed), _second_largest(mask)
    return area / mask.size, soft / max(1, outline), hole / max(1, area), island / max(1, area)


def _second_largest(mask: np.ndarray) -> int:
    """Pixels of the second largest region of a mask; 0 where there is one region or none."""
    count, _, stats, _ = cv2.connectedComponentsWithStats(mask, connectivity=8)
    return int(np.sort(stats[1:, cv2.CC_STAT_AREA])[-2]) if count > 2 else 0


def judge_masks(stats: MaskStats, numbers: Sequence[int]) -> list[Finding]:
    """Findings on the masks of the frames with these numbers."""
    full, empty = stats.covered > FULL, stats.covered < EMPTY
    if full.all():
        return [
            problem(
                "mask-missing",
                "alpha is opaque everywhere, so there is no mask: the background would be learned as part of the head",
                "cut the head out (python -m rgbavatar.prepare) and export RGBA images",
            )
        ]
    found = []
    if empty.any():
        lost = _named(empty, numbers)
        found.append(problem("mask-empty", f"the mask is empty in {lost}", "cut the head out again in these frames"))
    if full.any():
        found.append(
            problem(
                "mask-full", f"the mask covers the whole picture in {_named(full, numbers)}", "cut the head out again"
            )
        )
    if stats.softness[~empty].median() < HARD_EDGE if (~empty).any() else False:
        found.append(
            warning(
                "mask-hard-edge",
                "alpha is 0 or 255 without soft edges: outlines will look cut, and hair is lost",
                "use alpha matting (python -m rgbavatar.prepare)",
            )
        )
    for name, share, limit, what in (
        ("mask-holes", stats.hole, HOLE, "a hole"),
        ("mask-islands", stats.island, ISLAND, "a piece apart from the head"),
    ):
        faulty = (share > limit) & ~empty
        if faulty.double().mean() > OFTEN:
            where = f"the mask has {what} of up to {100 * share[faulty].max():.0f} % of its area in {_named(faulty, numbers)}"
            found.append(warning(name, where, "cut the head out again in these frames, or close the holes"))
    return found


def _named(chosen: Tensor, numbers: Sequence[int]) -> str:
    """Frames that a mask [m] bool picks, in words."""
    picked = [number for number, one in zip(numbers, chosen.tolist(), strict=True) if one]
    return "all frames that were looked at" if len(picked) == len(numbers) else f"frames {name_numbers(picked)}"


def judge_flicker(before: Scene, after: Scene, numbers: Sequence[int]) -> list[Finding]:
    """Whether masks change from frames to the next ones by more than the head's motion explains. numbers: of `before`."""
    mask = _change(before.masks, after.masks)
    mesh = _change(silhouettes(before), silhouettes(after))
    restless = mask > FLICKER + 2 * mesh
    if restless.double().mean() <= OFTEN and not (restless.sum() >= 2):
        return []
    found = f"the mask flickers: it changes more than the head moves after {_named(restless, numbers)}"
    return [warning("mask-flicker", found, "cut the head out again there, or smooth the masks over time")]


def _change(a: Tensor, b: Tensor) -> Tensor:
    """Pixels in which two series of masks [m, h, w] differ, over the first one's, [m]."""
    return (a ^ b).sum((1, 2)).double() / a.sum((1, 2)).clamp_min(1)


def judge_colors(scene: Scene) -> list[Finding]:
    """Whether red and blue look exchanged: skin reflects more red than green, and more green than blue, whatever its tone."""
    if measure_fit(scene).overlap < 0.2:
        return []
    red, green, blue = (scene.pictures[..., :3][silhouettes(scene) & scene.masks].double().mean(0) / 255.0).tolist()
    if blue - red < BLUER or not red < green < blue:
        return []
    found = f"red and blue seem exchanged (BGR): the face is bluish, mean colour ({red:.2f}, {green:.2f}, {blue:.2f})"
    return [warning("colors-bgr", found, "look at the contact sheet; if faces are blue, write the images in RGB order")]
