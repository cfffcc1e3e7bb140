"""Arrays of a tracker's file by dotted key, checked: there, of the right shape, finite, rotations that are some."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.datasets.frame_pickle import as_numbers
from rgbavatar.errors import DataError

ROTATION_TOLERANCE = 1e-3  # largest |R Rᵀ - I| of a matrix a float32 tracker may call a rotation
MIN_ROT6D_AREA = 1e-3  # of the parallelogram of its two rows; 1 for an exact one
TRACK_HINT = "track the video again"

Floats = NDArray[np.float64]
Widths = tuple[int | None, ...]
"""The expected shape of an array; None: any width."""


def find_key(content: Mapping[str, object], key: str) -> object | None:
    """The value at a dotted key, or None where a part of it is missing."""
    value: object | None = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def pick_array(path: Path, content: Mapping[str, object], key: str, widths: Widths) -> Floats:
    """The array at a dotted key as float64. Raises DataError unless it is there, shaped as `widths` say, and finite."""
    value = find_key(content, key)
    if value is None:
        raise DataError(f"{path}: found no key {key}, expected an array {_describe(widths)}; {TRACK_HINT}")
    try:
        array = as_numbers(value)
    except (TypeError, ValueError) as error:
        raise DataError(f"{path}: {key} is {error}, expected an array {_describe(widths)}; {TRACK_HINT}") from error
    fits = array.ndim == len(widths) and all(
        found > 0 if width is None else found == width for found, width in zip(array.shape, widths, strict=True)
    )
    if not fits:
        raise DataError(f"{path}: {key} has shape {array.shape}, expected {_describe(widths)}; {TRACK_HINT}")
    if not np.isfinite(array).all():
        count = int((~np.isfinite(array)).sum())
        raise DataError(f"{path}: {key} has {count} entries that are NaN or infinite, expected none; {TRACK_HINT}")
    return array


def _describe(widths: Widths) -> str:
    """An expected shape in words."""
    return "(" + ", ".join("any" if width is None else str(width) for width in widths) + ")"


def check_rot6d(path: Path, key: str, value: Floats) -> None:
    """Raise DataError unless each pair of rows in `value` [1, 6 m] spans a plane."""
    area = min(_spanned_area(*pair) for pair in value.reshape(-1, 2, 3).tolist())
    if area < MIN_ROT6D_AREA:
        found = f"two rows that span {area:.2g}"
        raise DataError(f"{path}: {key} has {found}, expected the first two rows of a rotation; {TRACK_HINT}")


def _spanned_area(a: Sequence[float], b: Sequence[float]) -> float:
    """The area of the parallelogram of two vectors [3]: the length of their cross product."""
    return math.hypot(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def check_rotation(path: Path, key: str, matrix: Floats) -> None:
    """Raise DataError unless `matrix` [3, 3] is a rotation to ROTATION_TOLERANCE."""
    error, determinant = np.abs(matrix @ matrix.T - np.eye(3)).max(), np.linalg.det(matrix)
    if error > ROTATION_TOLERANCE or determinant < 0:
        found = f"determinant {determinant:.3g} and |R Rᵀ - I| {error:.2g}"
        raise DataError(f"{path}: {key} has {found}, expected a rotation; {TRACK_HINT}")


def check_image_size(path: Path, value: Floats) -> tuple[int, int]:
    """(height, width) of `img_size` [2]. Raises DataError unless both are whole and positive."""
    height, width = value.tolist()
    if min(height, width) < 1 or not (height.is_integer() and width.is_integer()):
        raise DataError(f"{path}: img_size is {value.tolist()}, expected (height, width) in pixels; {TRACK_HINT}")
    return int(height), int(width)


def split_intrinsics(path: Path, matrix: Floats) -> Floats:
    """fx, fy, cx, cy of a camera matrix [3, 3]. Raises DataError unless it is upright, without skew, in pixels."""
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    plain = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    if min(fx, fy) <= 0 or np.abs(matrix - plain).max() > 1e-6 * max(fx, fy):
        found = [[round(x, 4) for x in row] for row in matrix.tolist()]
        raise DataError(f"{path}: opencv.K is {found}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; {TRACK_HINT}")
    return np.array([fx, fy, cx, cy])
