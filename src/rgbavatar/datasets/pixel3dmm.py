"""One `.frame` file of Pixel3DMM's tracker: what it found in one image.

The container is metrical-tracker's (frame_pickle); the keys differ. `flame`: exp (1, E), shape (1, S), jaw (1, 6), eyes (1, 12)
and neck (1, 6), rot6d, eyelids (1, 2) if there are any; the head's rigid motion as R_rotation_matrix (1, 3, 3), or R (1, 6)
rot6d, and t (1, 3). `camera`: R_base_0 (1, 3, 3) and t_base_0 (1, 3), world to camera in OpenGL axes (x right, y up, z to the
back); fl (1, 1), the focal length in picture widths; pp (1, 2), the principal point's distance from the picture's centre in half
picture sizes. `img_size` (height, width) in pixels.

So x_opencv = diag(1, -1, -1) (R_base_0 (R x + t) + t_base_0), fx = fy = fl W, cx = (1 + pp_x) W / 2, cy = (1 + pp_y) H / 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch

from rgbavatar.datasets.frame_fields import (
    Floats,
    Widths,
    check_image_size,
    check_rot6d,
    check_rotation,
    find_key,
    pick_array,
)
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.frame_pickle import load_content
from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import rot6d_to_rotation

_IDENTITY = np.array([[1.0, 0.0, 0.0, 0.0, 1.0, 0.0]])
_FLIP = np.diag([1.0, -1.0, -1.0])  # from OpenGL's axes to OpenCV's
_WIDTHS: Mapping[str, Widths] = {
    "flame.exp": (1, None),
    "flame.shape": (1, None),
    "flame.jaw": (1, 6),
    "flame.eyes": (1, 12),
    "flame.t": (1, 3),
    "camera.R_base_0": (1, 3, 3),
    "camera.t_base_0": (1, 3),
    "camera.fl": (1, 1),
    "camera.pp": (1, 2),
    "img_size": (2,),
}
_OPTIONAL: Mapping[str, tuple[Widths, Floats]] = {
    "flame.neck": ((1, 6), _IDENTITY),
    "flame.eyelids": ((1, 2), np.zeros((1, 2))),
}


def is_pixel3dmm_file(path: Path) -> bool:
    """Whether a `.frame` file has Pixel3DMM's keys."""
    try:
        content = load_content(path)
    except DataError:
        return False
    return "opencv" not in content and find_key(content, "camera.R_base_0") is not None


def read_pixel3dmm_file(path: Path) -> TrackedFrame:
    """Read and check a `.frame` file of Pixel3DMM. Raises DataError naming the file and the key."""
    content = load_content(path)
    pick = {key: pick_array(path, content, key, widths) for key, widths in _WIDTHS.items()}
    for key, (widths, default) in _OPTIONAL.items():
        pick[key] = pick_array(path, content, key, widths) if find_key(content, key) is not None else default
    for key in ("flame.jaw", "flame.eyes", "flame.neck"):
        check_rot6d(path, key, pick[key])
    height, width = check_image_size(path, pick["img_size"])
    base, head = pick["camera.R_base_0"][0], _head_rotation(path, content)
    check_rotation(path, "camera.R_base_0", base)
    parts = {
        "shape": pick["flame.shape"][0],
        "expression": pick["flame.exp"][0],
        "jaw": pick["flame.jaw"][0],
        "eyes": pick["flame.eyes"][0],
        "eyelids": pick["flame.eyelids"][0],
        "neck": pick["flame.neck"][0],
        "rotation": _FLIP @ base @ head,
        "translation": _FLIP @ (base @ pick["flame.t"][0] + pick["camera.t_base_0"][0]),
        "intrinsics": _intrinsics(path, pick["camera.fl"].item(), pick["camera.pp"][0], width, height),
    }
    return TrackedFrame(**{name: torch.from_numpy(part) for name, part in parts.items()}, height=height, width=width)


def _head_rotation(path: Path, content: Mapping[str, object]) -> Floats:
    """The head's rotation [3, 3], from the matrix where there is one."""
    if find_key(content, "flame.R_rotation_matrix") is not None:
        matrix = pick_array(path, content, "flame.R_rotation_matrix", (1, 3, 3))[0]
        check_rotation(path, "flame.R_rotation_matrix", matrix)
        return matrix
    rows = pick_array(path, content, "flame.R", (1, 6))
    check_rot6d(path, "flame.R", rows)
    return rot6d_to_rotation(torch.from_numpy(rows[0])).numpy()


def _intrinsics(path: Path, focal: float, center: Floats, width: int, height: int) -> Floats:
    """fx, fy, cx, cy in pixels. Raises DataError where the focal length cannot be one in picture widths."""
    if not 0.0 < focal < 100.0:
        raise DataError(
            f"{path}: camera.fl is {focal:g}, expected a focal length in picture widths, between 0 and 100; is it in pixels?"
        )
    return np.array([focal * width, focal * width, (1 + center[0]) * width / 2, (1 + center[1]) * height / 2])
