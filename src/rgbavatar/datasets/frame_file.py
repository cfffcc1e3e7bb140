"""One `.frame` file of metrical-tracker: what the tracker found in one image.

The file is a torch container (legacy or zip) of a pickled dict of numpy arrays with a leading batch of 1. We read the
keys of `flame` and `opencv` below and `img_size` (height, width), and ignore the rest. *rot6d*: the first two rows of
a rotation, flattened. Symbols: E expression and S shape coefficients.

Nothing in the file is executed: see frame_pickle.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgbavatar.datasets.frame_pickle import as_numbers, load_content
from rgbavatar.errors import DataError

ROTATION_TOLERANCE = 1e-3  # largest |R Rᵀ - I| of a matrix a float32 tracker may call a rotation
MIN_ROT6D_AREA = 1e-3  # of the parallelogram of its two rows; 1 for an exact one
TRACK_HINT = "track the video again"

Floats = NDArray[np.float64]

_WIDTHS: Mapping[str, tuple[int | None, ...]] = {
    "flame.exp": (1, None),
    "flame.shape": (1, None),
    "flame.jaw": (1, 6),
    "flame.eyes": (1, 12),
    "flame.eyelids": (1, 2),
    "opencv.R": (1, 3, 3),
    "opencv.t": (1, 3),
    "opencv.K": (1, 3, 3),
    "img_size": (2,),
}  # expected shape of each key; None: any width


@dataclass(frozen=True)
class TrackedFrame:
    """One frame as tracked, float64 on the CPU.

    shape [S]; expression [E]; jaw [6] and eyes [12] (left, right) rot6d; eyelids [2] (left, right); rotation [3, 3]
    and translation [3] (metres): x_cam = R x + t in OpenCV axes; intrinsics [4]: fx, fy, cx, cy in pixels; image size
    in pixels.
    """

    shape: Tensor
    expression: Tensor
    jaw: Tensor
    eyes: Tensor
    eyelids: Tensor
    rotation: Tensor
    translation: Tensor
    intrinsics: Tensor
    height: int
    width: int


def read_frame_file(path: Path) -> TrackedFrame:
    """Read and check a `.frame` file; a file without `flame.eyelids` has open eyes.

    Raises DataError naming the file and the key: no torch file, a pickle that asks for anything but arrays, a missing
    key, a wrong shape, a number that is not finite, a rotation or camera matrix that is none.
    """
    content = load_content(path)
    pick = {key: _pick_array(path, content, key) for key in _WIDTHS if key != "flame.eyelids"}
    eyelids = np.zeros((1, 2))
    if _find(content, "flame.eyelids") is not None:
        eyelids = _pick_array(path, content, "flame.eyelids")
    _check_rot6d(path, "flame.jaw", pick["flame.jaw"])
    _check_rot6d(path, "flame.eyes", pick["flame.eyes"])
    _check_rotation(path, pick["opencv.R"][0])
    height, width = _check_image_size(path, pick["img_size"])
    intrinsics = _split_intrinsics(path, pick["opencv.K"][0])
    parts = {
        "shape": pick["flame.shape"][0],
        "expression": pick["flame.exp"][0],
        "jaw": pick["flame.jaw"][0],
        "eyes": pick["flame.eyes"][0],
        "eyelids": eyelids[0],
        "rotation": pick["opencv.R"][0],
        "translation": pick["opencv.t"][0],
        "intrinsics": intrinsics,
    }
    return TrackedFrame(**{name: torch.from_numpy(part) for name, part in parts.items()}, height=height, width=width)


def has_camera_matrix(path: Path) -> bool:
    """Whether a `.frame` file is one of metrical-tracker, or cannot be read: then reading says what is wrong with it."""
    try:
        content = load_content(path)
    except DataError:
        return True
    return "opencv" in content or _find(content, "camera.R_base_0") is None


def _find(content: Mapping[str, object], key: str) -> object | None:
    """The value at a dotted key, or None where a part of it is missing."""
    value: object | None = content
    for part in key.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    return value


def _pick_array(path: Path, content: Mapping[str, object], key: str) -> Floats:
    """The array at a dotted key as float64. Raises DataError unless it is there, shaped as in _WIDTHS, and finite."""
    value, widths = _find(content, key), _WIDTHS[key]
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


def _describe(widths: tuple[int | None, ...]) -> str:
    """An expected shape in words."""
    return "(" + ", ".join("any" if width is None else str(width) for width in widths) + ")"


def _check_rot6d(path: Path, key: str, value: Floats) -> None:
    """Raise DataError unless each pair of rows in `value` [1, 6 m] spans a plane."""
    area = min(_spanned_area(*pair) for pair in value.reshape(-1, 2, 3).tolist())
    if area < MIN_ROT6D_AREA:
        found = f"two rows that span {area:.2g}"
        raise DataError(f"{path}: {key} has {found}, expected the first two rows of a rotation; {TRACK_HINT}")


def _spanned_area(a: Sequence[float], b: Sequence[float]) -> float:
    """The area of the parallelogram of two vectors [3]: the length of their cross product."""
    return math.hypot(a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0])


def _check_rotation(path: Path, matrix: Floats) -> None:
    """Raise DataError unless `matrix` [3, 3] is a rotation to ROTATION_TOLERANCE."""
    error, determinant = np.abs(matrix @ matrix.T - np.eye(3)).max(), np.linalg.det(matrix)
    if error > ROTATION_TOLERANCE or determinant < 0:
        found = f"determinant {determinant:.3g} and |R Rᵀ - I| {error:.2g}"
        raise DataError(f"{path}: opencv.R has {found}, expected a rotation; {TRACK_HINT}")


def _check_image_size(path: Path, value: Floats) -> tuple[int, int]:
    """(height, width) of `img_size` [2]. Raises DataError unless both are whole and positive."""
    height, width = value.tolist()
    if min(height, width) < 1 or not (height.is_integer() and width.is_integer()):
        raise DataError(f"{path}: img_size is {value.tolist()}, expected (height, width) in pixels; {TRACK_HINT}")
    return int(height), int(width)


def _split_intrinsics(path: Path, matrix: Floats) -> Floats:
    """fx, fy, cx, cy of a camera matrix [3, 3]. Raises DataError unless it is upright, without skew, in pixels."""
    fx, fy, cx, cy = matrix[0, 0], matrix[1, 1], matrix[0, 2], matrix[1, 2]
    plain = np.array([[fx, 0, cx], [0, fy, cy], [0, 0, 1]])
    if min(fx, fy) <= 0 or np.abs(matrix - plain).max() > 1e-6 * max(fx, fy):
        found = [[round(x, 4) for x in row] for row in matrix.tolist()]
        raise DataError(f"{path}: opencv.K is {found}, expected [[fx, 0, cx], [0, fy, cy], [0, 0, 1]]; {TRACK_HINT}")
    return np.array([fx, fy, cx, cy])


def write_frame_file(path: Path, frame: TrackedFrame, number: int) -> None:
    """Write a frame as metrical-tracker does: float32, batch of 1, with the keys that we do not read.

    `camera` says the same as `opencv` in PyTorch3D's way: row vectors, x left and y up, lengths in half image sizes.
    """
    to_pytorch3d = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    fx, fy, cx, cy = frame.intrinsics.tolist()
    half = min(frame.height, frame.width) / 2
    flame = {
        "exp": frame.expression,
        "shape": frame.shape,
        "tex": torch.zeros(140),
        "sh": torch.zeros(9, 3),
        "eyes": frame.eyes,
        "eyelids": frame.eyelids,
        "jaw": frame.jaw,
    }
    opencv = {
        "R": frame.rotation,
        "t": frame.translation,
        "K": torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
    }
    camera = {
        "R": (to_pytorch3d @ frame.rotation).T[:2].flatten(),
        "t": to_pytorch3d @ frame.translation,
        "fl": torch.tensor([fx / half]),
        "pp": torch.tensor([frame.width / 2 - cx, frame.height / 2 - cy]) / half,
    }
    parts = {"flame": flame, "opencv": opencv, "camera": camera}
    arrays = {
        name: {key: value[None].numpy().astype(np.float32) for key, value in part.items()}
        for name, part in parts.items()
    }
    size = np.array([frame.height, frame.width], np.int64)
    torch.save(arrays | {"img_size": size, "frame_id": f"{number:05d}", "global_step": number}, path)
