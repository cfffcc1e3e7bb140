"""One file of the `blendshape` layout: what a tracker found in one image, as a `.npz` archive of numpy arrays.

E expressions and S identity modes of the template that the head was tracked with (rgbavatar.templates.blendshape_data).

    expression [E]        coefficients, in the order of the template's expression_names
    identity [S]          coefficients, the same in all files of a subject; leave it out where the template has no identity
    rotation [3, 3]       the head's rigid motion: x_camera = rotation x_template + translation,
    translation [3]       metres; the camera's axes are OpenCV's: x right, y down, z forward
    intrinsics [4]        fx, fy, cx, cy in pixels; the top-left pixel's centre is at (0.5, 0.5)
    width, height         of the image, in pixels
    eyes [2, 3, 3]        rotations of the left and the right eyeball relative to the head; leave it out where they look ahead

Numbers may be of any type; other arrays are ignored.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.frame_fields import Floats, Widths, check_rotation, pick_array
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import rot6d_to_rotation, rotation_to_rot6d
from rgbavatar.io.files import write_aside

_REST = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)  # rot6d of no turn
_WIDTHS: Mapping[str, Widths] = {
    "expression": (None,),
    "rotation": (3, 3),
    "translation": (3,),
    "intrinsics": (4,),
    "width": (),
    "height": (),
}
_HINT = "expected the arrays that data/README.md lists; export it again"


def has_parameters(path: Path) -> bool:
    """Whether a `.npz` file has a parameter file's keys, or cannot be read: then reading says what is wrong with it."""
    try:
        return {"expression", "rotation"} <= _load(path).keys()
    except DataError:
        return True


def read_parameter_file(path: Path) -> TrackedFrame:
    """Read and check a parameter file. Raises DataError naming the file and the key."""
    content = _load(path)
    pick = {key: pick_array(path, content, key, widths) for key, widths in _WIDTHS.items()}
    check_rotation(path, "rotation", pick["rotation"])
    eyes = np.stack([np.eye(3)] * 2)
    if "eyes" in content:
        eyes = pick_array(path, content, "eyes", (2, 3, 3))
        for side, eye in zip(("left", "right"), eyes, strict=True):
            check_rotation(path, f"eyes ({side})", eye)
    _check_intrinsics(path, pick["intrinsics"])
    has_identity = "identity" in content and content["identity"].size
    identity = pick_array(path, content, "identity", (None,)) if has_identity else np.zeros(0)
    return TrackedFrame(
        shape=torch.from_numpy(identity),
        expression=torch.from_numpy(pick["expression"]),
        jaw=_REST,
        eyes=rotation_to_rot6d(torch.from_numpy(eyes)).flatten(),
        eyelids=torch.zeros(2, dtype=torch.float64),
        rotation=torch.from_numpy(pick["rotation"]),
        translation=torch.from_numpy(pick["translation"]),
        intrinsics=torch.from_numpy(pick["intrinsics"]),
        height=_pixels(path, "height", pick["height"]),
        width=_pixels(path, "width", pick["width"]),
    )


def write_parameter_file(path: Path, frame: TrackedFrame) -> None:
    """Write a frame aside, float64. Raises OutputError; DataError where a part of the frame has no place in the file."""
    rest: Mapping[str, Tensor] = {"neck": _REST, "jaw": _REST, "eyelids": torch.zeros(2, dtype=torch.float64)}
    moved = [name for name, at_rest in rest.items() if (getattr(frame, name) - at_rest).abs().max() > 1e-6]
    if moved:
        raise DataError(f"{path}: the frame's {moved[0]} is not at rest, but a parameter file has no place for it")
    tensors = {
        "identity": frame.shape,
        "expression": frame.expression,
        "rotation": frame.rotation,
        "translation": frame.translation,
        "intrinsics": frame.intrinsics,
        "eyes": rot6d_to_rotation(frame.eyes.view(2, 6)),
    }
    arrays = {name: tensor.numpy() for name, tensor in tensors.items()}
    arrays |= {"width": np.array(frame.width), "height": np.array(frame.height)}
    with write_aside(path) as partial, partial.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def _load(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive by name; objects are refused. Raises DataError."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except OSError as error:
        raise DataError(
            f"{path}: found {error.strerror or error}, expected a file that can be read; check it"
        ) from error
    except Exception as error:  # np.load raises many kinds on broken files: zip, header, size, end of file
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise DataError(f"{path}: found no archive of numpy arrays ({reason}); {_HINT}") from error


def _check_intrinsics(path: Path, intrinsics: Floats) -> None:
    if intrinsics[:2].min() <= 0:
        raise DataError(
            f"{path}: intrinsics are {intrinsics.tolist()}, expected fx, fy, cx, cy in pixels, fx and fy positive"
        )


def _pixels(path: Path, key: str, value: Floats) -> int:
    size = value.item()
    if size < 1 or not float(size).is_integer():
        raise DataError(f"{path}: {key} is {size:g}, expected a number of pixels")
    return int(size)
