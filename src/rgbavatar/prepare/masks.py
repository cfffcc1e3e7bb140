"""Masks as they are given, read as the coverage of the head: float32 [H, W] in [0, 1].

A mask is a grey picture (binary, or with edges), or an RGBA one whose alpha it is, or a *map of classes*: a picture whose grey
levels or colours name what each pixel shows. Which classes are the head is up to the user; the two numberings of the face parts
of CelebAMask-HQ are known here: that of its annotations, and that of the BiSeNet networks trained on them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rgbavatar.errors import ConfigError, DataError
from rgbavatar.prepare.pictures import read_picture

_CELEBAMASK = (
    "background skin nose eye_g l_eye r_eye l_brow r_brow l_ear r_ear mouth u_lip l_lip "  # 0 to 12
    "hair hat ear_r neck_l neck cloth"
)
_BISENET = (
    "background skin l_brow r_brow l_eye r_eye eye_g l_ear r_ear ear_r nose mouth u_lip "  # 0 to 12
    "l_lip neck neck_l cloth hair hat"
)
NUMBERINGS: Mapping[str, Sequence[str]] = {"bisenet": _BISENET.split(), "celebamask": _CELEBAMASK.split()}
NOT_HEAD = (
    "background",
    "neck",
    "neck_l",
    "cloth",
)  # neck_l: a necklace. Hats, glasses and earrings move with the head

MAX_LABEL = 40  # a grey picture without a brighter pixel is no mask of 0 to 255
COLOR_TOLERANCE = 24  # levels that JPEG may move a colour by
GREY_TOLERANCE = 16  # levels between the channels of what is still grey
JPEG_NOISE = 12 / 255  # of a flat black or white
ISLAND_SHARE = 0.02  # of the largest part's area: what is smaller is no part of the head
HOLE_SHARE = 0.005  # of the head's area: what is smaller is no hole in it
HALO = 3  # pixels around an island that belong to it


@dataclass(frozen=True)
class Classes:
    """What of a map of classes is the head: grey levels, or colours RGB."""

    levels: frozenset[int]
    colors: tuple[tuple[int, int, int], ...]


def parse_classes(text: str) -> Classes:
    """Read --classes: `bisenet`, `bisenet:skin,hair`, `celebamask...`, `1,2,17`, or `#ff0000,#00ff00`. Raises ConfigError."""
    numbering, _, chosen = text.partition(":")
    if numbering in NUMBERINGS:
        names = NUMBERINGS[numbering]
        parts = [part.strip() for part in chosen.split(",")] if chosen else [n for n in names if n not in NOT_HEAD]
        unknown = [part for part in parts if part not in names]
        if unknown:
            raise ConfigError(f"--classes {text}: {unknown[0]!r} is no class of {numbering}; it has {', '.join(names)}")
        return Classes(frozenset(names.index(part) for part in parts), ())
    parts = [part.strip() for part in text.split(",")]
    if all(re.fullmatch(r"#[0-9a-fA-F]{6}", part) for part in parts):
        return Classes(frozenset(), tuple((int(p[1:3], 16), int(p[3:5], 16), int(p[5:], 16)) for p in parts))
    if all(re.fullmatch(r"\d{1,3}", part) and int(part) < 256 for part in parts):
        return Classes(frozenset(int(part) for part in parts), ())
    raise ConfigError(
        f"--classes {text}: expected {' or '.join(NUMBERINGS)}, with :NAME,NAME or without; or grey levels such as "
        f"1,2,17; or colours such as #ff0000,#00ff00"
    )


def read_mask(path: Path, classes: Classes | None, width: int, height: int) -> np.ndarray:
    """The coverage in a mask's file, for a picture of a size; a mask of that shape and another size is resized.

    Raises DataError naming the file: broken, of another shape, or no mask of this kind.
    """
    coverage = _read_coverage(path, classes)
    rows, columns = coverage.shape
    if abs(rows * width - columns * height) > max(width, height):  # more than a pixel of rounding
        raise DataError(
            f"{path}: found {columns}x{rows} pixels (width x height), expected the {width}x{height} of its picture"
        )
    if (rows, columns) == (height, width):
        return coverage
    kind = cv2.INTER_AREA if rows > height else cv2.INTER_LINEAR
    return cv2.resize(coverage, (width, height), interpolation=kind)


def check_mask(path: object, coverage: np.ndarray) -> None:
    """Raise DataError where a coverage has no head in it, or nothing else."""
    share = np.mean(coverage >= 0.5)
    if share in (0, 1):
        found = "no head in the mask" if share == 0 else "a mask that covers the whole picture"
        raise DataError(f"{path}: found {found}, expected one that parts the head from the rest; mask it again")


def clean_mask(coverage: np.ndarray) -> np.ndarray:
    """The same coverage without small islands beside the head and small holes in it."""
    head = (coverage >= 0.5).astype(np.uint8)
    islands = _small_parts(head, 8, ISLAND_SHARE, at_border=True)
    holes = _small_parts(1 - head, 4, HOLE_SHARE * head.sum() / max(1, head.size - head.sum()), at_border=False)
    cleaned = coverage.copy()
    if islands.any():
        kept = _widen(head & ~islands, HALO)
        cleaned[(_widen(islands, HALO) == 1) & (kept == 0)] = 0
        cleaned[islands == 1] = 0
    cleaned[_widen(holes, 1) == 1] = 1
    return cleaned


def bounding_box(coverage: np.ndarray) -> tuple[int, int, int, int]:
    """The pixels that are covered by half and more: left, top, right, bottom, the last two beyond them."""
    rows, columns = (np.flatnonzero((coverage >= 0.5).any(axis)) for axis in (1, 0))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1


def _read_coverage(path: Path, classes: Classes | None) -> np.ndarray:
    pixels = read_picture(path)
    lossy = path.suffix.lower() != ".png"
    if classes is None:
        return _read_grey(path, pixels, lossy)
    if classes.colors:
        return _match_colors(path, pixels, classes, COLOR_TOLERANCE if lossy else 0)
    if lossy:
        raise DataError(f"{path}: found a JPEG, expected a PNG: JPEG does not keep the numbers of classes")
    levels = _to_grey(pixels)
    if levels is None:
        raise DataError(
            f"{path}: found a picture of colours, expected grey levels; name the head's colours: --classes #rrggbb,..."
        )
    return np.isin(levels, sorted(classes.levels)).astype(np.float32)


def _read_grey(path: Path, pixels: np.ndarray, lossy: bool) -> np.ndarray:
    """The coverage in a picture that is no map of classes. Raises DataError where it looks like one."""
    levels = pixels[..., 3] if has_alpha(pixels) else _to_grey(pixels)
    if levels is None:
        raise DataError(
            f"{path}: found a picture of colours, expected a grey mask; of a map of classes, give --classes"
        )
    top = int(levels.max())
    if 1 < top <= MAX_LABEL:
        raise DataError(
            f"{path}: found levels of {top} at most, expected a mask of 0 to 255; of a map of classes, give --classes"
        )
    coverage = levels.astype(np.float32) / (1 if top == 1 else 255)
    if lossy:
        coverage[coverage < JPEG_NOISE] = 0
        coverage[coverage > 1 - JPEG_NOISE] = 1
    return coverage


def has_alpha(pixels: np.ndarray) -> bool:
    """Whether a picture has an alpha that says something."""
    return pixels.ndim == 3 and pixels.shape[2] == 4 and bool((pixels[..., 3] < 255).any())


def _to_grey(pixels: np.ndarray) -> np.ndarray | None:
    """The levels of a grey picture [H, W], or None where it has colours."""
    if pixels.ndim == 2:
        return pixels
    colors = pixels[..., :3].astype(np.int16)
    spread = int((colors.max(2) - colors.min(2)).max())
    return pixels[..., 0] if spread <= GREY_TOLERANCE else None


def _match_colors(path: Path, pixels: np.ndarray, classes: Classes, tolerance: int) -> np.ndarray:
    if pixels.ndim == 2:
        raise DataError(f"{path}: found a grey picture, expected the colours of --classes; give its grey levels")
    found = np.zeros(pixels.shape[:2], bool)
    for color in classes.colors:
        found |= (np.abs(pixels[..., :3].astype(np.int16) - np.array(color, np.int16)) <= tolerance).all(2)
    return found.astype(np.float32)


def _small_parts(area: np.ndarray, connectivity: int, share: float, at_border: bool) -> np.ndarray:
    """The connected parts of `area` [H, W] (0, 1) below a share of its largest. at_border: also where they touch the border."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats(area, connectivity=connectivity)
    if count < 2:
        return np.zeros_like(area)
    left, top, width, height, size = stats.T
    inside = (left > 0) & (top > 0) & (left + width < area.shape[1]) & (top + height < area.shape[0])
    small = (size < share * size[1:].max()) & (inside | at_border)
    small[0] = False  # what is not in `area`
    return small[labels].astype(np.uint8)


def _widen(area: np.ndarray, radius: int) -> np.ndarray:
    return cv2.dilate(area, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8))
