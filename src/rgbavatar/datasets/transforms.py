"""Camera files in the NeRF way: `transforms.json`, or `transforms_train.json`, `transforms_val.json` and `transforms_test.json`.

A file holds `frames`, each with `file_path` and `transform_matrix` (4x4, camera to world, OpenGL axes: x right, y up, z to the
back), and intrinsics in pixels, of each frame or of all: `fl_x`, `fl_y`, `cx`, `cy`, `w`, `h`. Where the focal length is missing
it follows from `camera_angle_x`, where the principal point is, it is the middle. Paths are relative to the file.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbavatar.datasets.base import Split
from rgbavatar.datasets.frame_fields import ROTATION_TOLERANCE
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera

WHOLE = "transforms.json"
OF_SPLIT = {f"transforms_{split.value}.json": split for split in (Split.TRAIN, Split.VAL, Split.TEST)}
_OPENGL_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))


@dataclass(frozen=True)
class CameraEntry:
    """One frame of a file. file: that it stands in. values: its keys, over those of the whole file. split: None for all."""

    file: Path
    values: Mapping[str, Any]
    split: Split | None

    def path(self, key: str) -> Path | None:
        """The path at a key, or None where there is no such key. Raises DataError where it is no text."""
        value = self.values.get(key)
        if value is None:
            return None
        if not isinstance(value, str):
            raise DataError(f"{self.file}: frame {key} is {value!r}, expected a path")
        return self.file.parent / value

    def number(self, key: str) -> float:
        """A finite number at a key. Raises DataError."""
        value = self.values.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
            raise DataError(f"{self.file}: {self._name()}: {key} is {value!r}, expected a number")
        return float(value)

    def image(self) -> Path:
        """The frame's picture; without a suffix it is a PNG. Raises DataError where the file names none, or it is not there."""
        path = self.path("file_path")
        if path is None:
            raise DataError(f"{self.file}: a frame has no file_path, expected the path of its picture")
        path = path if path.suffix else path.with_suffix(".png")
        if not path.is_file():
            raise DataError(
                f"{path}: found no such picture, expected what {self.file.name} names; copy it, or delete the frame"
            )
        return path

    def size(self) -> tuple[int, int]:
        """(width, height) in pixels. Raises DataError."""
        width, height = self.number("w"), self.number("h")
        if min(width, height) < 1:
            raise DataError(f"{self.file}: {self._name()}: w and h are {width:g} and {height:g}, expected pixels")
        return round(width), round(height)

    def intrinsics(self, size: tuple[int, int]) -> Tensor:
        """fx, fy, cx, cy [4] float64, pixels. size: (width, height) of the picture. Raises DataError."""
        width, height = size
        if "fl_x" in self.values:
            fx = self.number("fl_x")
        else:
            fx = 0.5 * width / math.tan(0.5 * self.number("camera_angle_x"))
        fy = self.number("fl_y") if "fl_y" in self.values else fx
        cx = self.number("cx") if "cx" in self.values else width / 2
        cy = self.number("cy") if "cy" in self.values else height / 2
        if min(fx, fy) <= 0:
            raise DataError(
                f"{self.file}: {self._name()}: the focal length is {fx:g}, {fy:g}, expected positive pixels"
            )
        return torch.tensor([fx, fy, cx, cy], dtype=torch.float64)

    def world_to_camera(self) -> Tensor:
        """[3, 4] float64, OpenCV axes: the inverse of transform_matrix with y and z turned. Raises DataError."""
        try:
            matrix = torch.tensor(self.values.get("transform_matrix"), dtype=torch.float64)
        except (TypeError, ValueError, RuntimeError):
            matrix = torch.empty(0)
        if matrix.shape not in ((4, 4), (3, 4)) or not matrix.isfinite().all():
            raise DataError(
                f"{self.file}: {self._name()}: transform_matrix is no 4x4 matrix of numbers, expected camera to world"
            )
        rotation, center = matrix[:3, :3], matrix[:3, 3]
        error = (rotation @ rotation.T - torch.eye(3, dtype=torch.float64)).abs().max().item()
        if error > ROTATION_TOLERANCE or torch.linalg.det(rotation) < 0:
            raise DataError(
                f"{self.file}: {self._name()}: transform_matrix is off a rotation by {error:.2g}, expected a rigid motion"
            )
        inverse = torch.cat([rotation.T, -(rotation.T @ center)[:, None]], dim=1)
        return _OPENGL_TO_OPENCV @ inverse

    def _name(self) -> str:
        return f"frame {self.values.get('file_path')}"


def has_transforms(folder: Path) -> bool:
    """Whether a folder holds such a file."""
    return any((folder / name).is_file() for name in (WHOLE, *OF_SPLIT))


def read_entries(folder: Path) -> list[CameraEntry]:
    """The frames of all files; those of the splits where there are any, else of the whole. Raises DataError."""
    files = {folder / name: split for name, split in OF_SPLIT.items() if (folder / name).is_file()}
    if not files:
        return _read_file(folder / WHOLE, None)
    return [entry for path, split in files.items() for entry in _read_file(path, split)]


def _read_file(path: Path, split: Split | None) -> list[CameraEntry]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}, expected a file of cameras") from error
    except ValueError as error:
        raise DataError(f"{path}: is no JSON ({error}), expected a file of cameras") from error
    frames = content.get("frames") if isinstance(content, dict) else None
    if not isinstance(frames, list) or not all(isinstance(frame, dict) for frame in frames):
        raise DataError(f"{path}: found no list of frames, expected one under the key frames")
    common = {key: value for key, value in content.items() if key != "frames"}
    return [CameraEntry(path, {**common, **frame}, split) for frame in frames]


def common_size(entries: list[CameraEntry], size: tuple[int, int] | None) -> tuple[int, int]:
    """The size of all frames' pictures. size: that of the images. Raises DataError naming the odd frame."""
    expected = size or entries[0].size()
    for entry in entries:
        found = entry.size() if "w" in entry.values else expected
        if found != expected:
            raise DataError(
                f"{entry.file}: {entry.values.get('file_path')} is {found[0]}x{found[1]} pixels by w and h, expected "
                f"{expected[0]}x{expected[1]}; all images of a subject need one size, that of the tracked ones"
            )
    return expected


def join_poses(world_to_camera: Tensor, intrinsics: Tensor, size: tuple[int, int]) -> Camera:
    """Cameras of n frames, float32; one where all are the same. world_to_camera [n, 3, 4]; intrinsics [n, 4]."""
    poses, pixels = world_to_camera.to(torch.float32), intrinsics.to(torch.float32)
    if (poses == poses[0]).all() and (pixels == pixels[0]).all():
        poses, pixels = poses[:1], pixels[:1]
    return Camera(poses, pixels, *size)
