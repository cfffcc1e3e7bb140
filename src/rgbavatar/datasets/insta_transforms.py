"""INSTA's own layout: `transforms*.json` with a camera for each frame, and the tracked parameters as text.

`transforms.json`, or `transforms_train.json`, `transforms_val.json` and `transforms_test.json` (rgbavatar.datasets.transforms):
the camera moves about a head that stands still, so `transform_matrix` is the head's rigid motion too. The parameters of a frame
NAME lie in `flame/exp/NAME.txt` (the frame's `exp_path`, where it has one) and beside that in `shape/`, `jaw/`, `eyes/` and, if
there are any, `eyelids/`: numbers between spaces, rotations as in a `.frame` file (rot6d). Where there is no such text, they are
taken from `checkpoint/NAME.frame`, the camera still from the JSON file. Pictures are RGBA, or have a mask at `seg_mask_path`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from rgbavatar.datasets.base import Split
from rgbavatar.datasets.features import join_frames
from rgbavatar.datasets.frame_fields import TRACK_HINT, Floats, check_rot6d
from rgbavatar.datasets.frame_file import TrackedFrame, read_frame_file
from rgbavatar.datasets.frame_layout import check_frames, join_cameras
from rgbavatar.datasets.images import ImageFile, MaskedImage
from rgbavatar.datasets.tracking import FrameListing, Tracking
from rgbavatar.datasets.transforms import CameraEntry, common_size, has_transforms, read_entries
from rgbavatar.errors import DataError
from rgbavatar.templates.base import HeadTemplate

_WIDTHS = {"exp": None, "shape": None, "jaw": 6, "eyes": 12, "eyelids": 2}
_TEXTS, _FRAMES = "flame", "checkpoint"


@dataclass(frozen=True)
class InstaTransforms:
    """The layout; see the module's head and rgbavatar.datasets.tracking.Layout."""

    name: str = "insta_transforms"
    holds: str = "transforms*.json, images/00000.png, flame/exp/00000.txt"

    def matches(self, folder: Path) -> bool:
        return has_transforms(folder) and ((folder / _TEXTS).is_dir() or (folder / _FRAMES).is_dir())

    def list_frames(self, folder: Path) -> FrameListing:
        """Raises DataError where the files cannot be read, a picture is missing, or two frames have one number."""
        entries = _in_order(folder)
        return InstaTransformsListing(entries, [_image_of(entry) for _, entry in entries])

    def list_tracking(self, folder: Path) -> FrameListing:
        return InstaTransformsListing(_in_order(folder), [])


@dataclass(frozen=True)
class InstaTransformsListing:
    """See rgbavatar.datasets.tracking.FrameListing. entries: with the number of each."""

    entries: list[tuple[int, CameraEntry]]
    images: Sequence[ImageFile]

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.entries]

    @property
    def splits(self) -> Sequence[Split] | None:
        splits = [entry.split for _, entry in self.entries]
        return None if None in splits else [split for split in splits if split is not None]

    def read(self, template: HeadTemplate, size: tuple[int, int] | None) -> Tracking:
        entries = [entry for _, entry in self.entries]
        width, height = common_size(entries, size)
        frames = [_read_frame(entry, width, height) for entry in entries]
        check_frames([_source_of(entry) for entry in entries], frames, width, height, template)
        camera = join_cameras([frame.intrinsics for frame in frames], width, height)
        return Tracking(self.numbers, join_frames(frames), camera)


def _in_order(folder: Path) -> list[tuple[int, CameraEntry]]:
    """The frames by the number in their picture's name."""
    numbered: dict[int, CameraEntry] = {}
    for entry in read_entries(folder):
        stem = _stem_of(entry)
        if not stem.isdecimal():
            raise DataError(f"{entry.file}: file_path ends in {stem!r}, expected a number such as images/00000.png")
        if int(stem) in numbered:
            raise DataError(f"{entry.file}: found frame {stem} a second time, expected each in one split alone")
        numbered[int(stem)] = entry
    if not numbered:
        raise DataError(f"{folder}: its transforms*.json list no frame, expected some")
    return sorted(numbered.items())


def _stem_of(entry: CameraEntry) -> str:
    path = entry.path("file_path")
    if path is None:
        raise DataError(f"{entry.file}: a frame has no file_path, expected the path of its picture")
    return path.stem


def _image_of(entry: CameraEntry) -> ImageFile:
    mask, picture = entry.path("seg_mask_path"), entry.image()
    return picture if mask is None else MaskedImage(picture, mask)


def _exp_path(entry: CameraEntry) -> Path:
    return entry.path("exp_path") or entry.file.parent / _TEXTS / "exp" / f"{_stem_of(entry)}.txt"


def _source_of(entry: CameraEntry) -> Path:
    """The file that holds a frame's parameters."""
    text = _exp_path(entry)
    frame = entry.file.parent / _FRAMES / f"{_stem_of(entry)}.frame"
    return frame if frame.is_file() and not text.is_file() else text


def _read_frame(entry: CameraEntry, width: int, height: int) -> TrackedFrame:
    pose, source = entry.world_to_camera(), _source_of(entry)
    camera = {"rotation": pose[:, :3], "translation": pose[:, 3], "intrinsics": entry.intrinsics((width, height))}
    if source.suffix == ".frame":
        return replace(read_frame_file(source), **camera, width=width, height=height)  # type: ignore[arg-type]
    arrays = {name: _read_text(source.parents[1] / name / source.name, wanted) for name, wanted in _WIDTHS.items()}
    for name in ("jaw", "eyes"):
        check_rot6d(source.parents[1] / name / source.name, name, arrays[name])
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    return TrackedFrame(expression=tensors.pop("exp"), **tensors, **camera, width=width, height=height)  # type: ignore[arg-type]


def _read_text(path: Path, width: int | None) -> Floats:
    """Numbers between spaces or lines. width: how many, None for any. Eyelids that are not there are open."""
    if path.parent.name == "eyelids" and not path.is_file():
        return np.zeros(2)
    try:
        values = np.array(path.read_text().split(), dtype=np.float64)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}, expected a frame's parameters") from error
    except ValueError as error:
        raise DataError(
            f"{path}: holds something else than numbers ({error}), expected a frame's parameters"
        ) from error
    if not len(values) or width not in (None, len(values)) or not np.isfinite(values).all():
        raise DataError(f"{path}: found {len(values)} numbers, expected {width or 'some'}, all finite; {TRACK_HINT}")
    return values
