"""The layout of VHAP, NeRSemble's export of it, and GaussianAvatars: several cameras, FLAME's own pose parameters.

`transforms_train.json`, `transforms_val.json` and `transforms_test.json` (rgbavatar.datasets.transforms), or `transforms.json`.
Each frame names `timestep_index`, `camera_index`, `flame_param_path`, and `fg_mask_path` where its picture is not RGBA. A file of
parameters is an `.npz`: translation, rotation, neck_pose, jaw_pose (1, 3) and eyes_pose (1, 6), axis-angle; shape (300,), expr
(1, 100) and, if there is one, static_offset (1, V, 3) metres. FLAME turns about its root joint here:
x = rotation (x_template - J) + J + translation. Without eyelids; teeth that the tracker appended have no offset of ours.

Frames have numbers timestep * cameras + camera, so that those of one moment follow each other. The world is the tracker's, turned
upright where its axes are such that heads lie or stand on their heads in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.base import Split
from rgbavatar.datasets.frame_fields import TRACK_HINT, Floats
from rgbavatar.datasets.frame_layout import SHAPE_TOLERANCE
from rgbavatar.datasets.images import ImageFile, MaskedImage
from rgbavatar.datasets.tracking import FrameListing, Tracking
from rgbavatar.datasets.transforms import CameraEntry, common_size, has_transforms, join_poses, read_entries
from rgbavatar.errors import DataError, TemplateError
from rgbavatar.geometry.rotation import axis_angle_to_rotation, nearest_rotation
from rgbavatar.templates.base import ROOT, HeadParameters, HeadTemplate
from rgbavatar.templates.flame import FlameTemplate

_WIDTHS = {"translation": 3, "rotation": 3, "neck_pose": 3, "jaw_pose": 3, "eyes_pose": 6, "expr": None}
_UPRIGHT = 0.5  # cosine of 60 degrees: a head that leans further, on average, has a world with other axes


@dataclass(frozen=True)
class Vhap:
    """The layout; see the module's head and rgbavatar.datasets.tracking.Layout."""

    name: str = "vhap"
    holds: str = "transforms_train.json, images/, flame_param/00000.npz"

    def matches(self, folder: Path) -> bool:
        return has_transforms(folder) and (folder / "flame_param").is_dir()

    def list_frames(self, folder: Path) -> FrameListing:
        """Raises DataError where the files cannot be read, or a picture is missing."""
        listing = _list_entries(folder)
        return replace(listing, images=[_image_of(entry) for entry in listing.entries])

    def list_tracking(self, folder: Path) -> FrameListing:
        """The tracking as the first camera of each moment has it."""
        listing = _list_entries(folder)
        firsts = {moment: place for place, moment in reversed(list(enumerate(listing.moments)))}
        places = sorted(firsts.values())
        return listing.select(places)


@dataclass(frozen=True)
class VhapListing:
    """See rgbavatar.datasets.tracking.FrameListing. moments: the time step of each frame."""

    numbers: list[int]
    moments: list[int]
    entries: list[CameraEntry]
    images: Sequence[ImageFile] = ()

    def select(self, places: Sequence[int]) -> VhapListing:
        """The listing of some frames, without images."""
        return VhapListing(
            [self.numbers[i] for i in places], [self.moments[i] for i in places], [self.entries[i] for i in places]
        )

    @property
    def splits(self) -> Sequence[Split] | None:
        splits = [entry.split for entry in self.entries]
        return None if None in splits else [split for split in splits if split is not None]

    def read(self, template: HeadTemplate, size: tuple[int, int] | None) -> Tracking:
        if not isinstance(template, FlameTemplate):
            raise TemplateError(
                "dataset.layout vhap holds parameters of FLAME, expected a FLAME model at template.path"
            )
        found = common_size(self.entries, size)
        motion = _join([_param_path(entry) for entry in self.entries], template)
        poses = torch.stack([entry.world_to_camera() for entry in self.entries])
        motion, poses = _upright(motion, poses)
        intrinsics = torch.stack([entry.intrinsics(found) for entry in self.entries])
        return Tracking(self.numbers, motion, join_poses(poses, intrinsics, found), self.moments)


def _list_entries(folder: Path) -> VhapListing:
    entries = read_entries(folder)
    if not entries:
        raise DataError(f"{folder}: its transforms*.json list no frame, expected some")
    moments = [round(entry.number("timestep_index")) for entry in entries]
    cameras = [round(entry.number("camera_index")) if "camera_index" in entry.values else 0 for entry in entries]
    ranks = {camera: rank for rank, camera in enumerate(sorted(set(cameras)))}
    numbers = [moment * len(ranks) + ranks[camera] for moment, camera in zip(moments, cameras, strict=True)]
    order = sorted(range(len(entries)), key=numbers.__getitem__)
    for before, after in pairwise(order):
        if numbers[before] == numbers[after]:
            raise DataError(
                f"{entries[after].file}: found camera {cameras[after]} at time step {moments[after]} a second time, expected "
                f"each picture in one split alone"
            )
    return VhapListing(numbers, moments, entries).select(order)


def _image_of(entry: CameraEntry) -> ImageFile:
    mask, picture = entry.path("fg_mask_path"), entry.image()
    return picture if mask is None else MaskedImage(picture, mask)


def _param_path(entry: CameraEntry) -> Path:
    path = entry.path("flame_param_path")
    if path is None:
        raise DataError(
            f"{entry.file}: {entry.values.get('file_path')} has no flame_param_path, expected an .npz of its parameters"
        )
    return path


def _join(paths: Sequence[Path], template: FlameTemplate) -> HeadParameters:
    """The parameters of n frames; each file is read once."""
    files = {path: _read_params(path) for path in dict.fromkeys(paths)}
    first_path, first = next(iter(files.items()))
    for path, values in files.items():
        if (
            values["shape"].shape != first["shape"].shape
            or np.abs(values["shape"] - first["shape"]).max() > SHAPE_TOLERANCE
        ):
            raise DataError(
                f"{path}: shape differs from that of {first_path.name}, expected one identity for a subject; {TRACK_HINT}"
            )

    def stack(name: str) -> Tensor:
        return torch.from_numpy(np.stack([files[path][name] for path in paths]))

    root = axis_angle_to_rotation(stack("rotation"))
    parameters = HeadParameters(
        shape=torch.from_numpy(first["shape"]),
        expression=stack("expr"),
        neck=axis_angle_to_rotation(stack("neck_pose")),
        jaw=axis_angle_to_rotation(stack("jaw_pose")),
        eyes=axis_angle_to_rotation(stack("eyes_pose").unflatten(1, (2, 3))),
        eyelids=torch.zeros(len(paths), 2, dtype=torch.float64),
        root=root,
        translation=stack("translation"),
        offset=torch.from_numpy(first["static_offset"]) if "static_offset" in first else None,
    )
    joint = template.joints(parameters)[ROOT]
    return replace(parameters, translation=parameters.translation + joint - root @ joint)


def _read_params(path: Path) -> dict[str, Floats]:
    """The arrays of one file, flat but for static_offset [V, 3], float64. Raises DataError naming file and key."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            content = {name: np.asarray(archive[name]) for name in archive.files}
    except Exception as error:  # np.load raises many kinds on broken files
        reason = " ".join(str(error).split()) or type(error).__name__
        raise DataError(f"{path}: cannot be read ({reason}), expected an .npz of FLAME's parameters") from error
    values = {name: _flat(path, content, name, width) for name, width in (_WIDTHS | {"shape": None}).items()}
    if "static_offset" in content:
        offset = content["static_offset"].astype(np.float64).reshape(-1, 3)
        values["static_offset"] = _finite(path, "static_offset", offset)
    return values


def _flat(path: Path, content: dict[str, np.ndarray], name: str, width: int | None) -> Floats:
    if name not in content:
        raise DataError(
            f"{path}: found no key {name} (it has {', '.join(sorted(content))}), expected one; {TRACK_HINT}"
        )
    array = content[name]
    if array.dtype.kind not in "fiu" or not array.size or width not in (None, array.size):
        raise DataError(f"{path}: {name} is {array.dtype} of shape {array.shape}, expected {width or 'some'} numbers")
    return _finite(path, name, array.astype(np.float64).ravel())


def _finite(path: Path, name: str, array: Floats) -> Floats:
    if not np.isfinite(array).all():
        raise DataError(f"{path}: {name} has entries that are NaN or infinite, expected none; {TRACK_HINT}")
    return array


def _upright(motion: HeadParameters, world_to_camera: Tensor) -> tuple[HeadParameters, Tensor]:
    """The same pictures in a world in which heads are upright: turned so that the average head is not, where it leans far.

    x_camera = W x = (W Aᵀ) (A x), with A the inverse of the mean rotation. A neck must not take up such a turn
    (rgbavatar.templates.base.retarget_to_neck).
    """
    mean = nearest_rotation((motion.root @ motion.neck).mean(dim=0))
    if (mean.trace() - 1) / 2 >= _UPRIGHT:
        return motion, world_to_camera
    turn = mean.T
    turned = replace(motion, root=turn @ motion.root, translation=motion.translation @ turn.T)
    return turned, torch.cat([world_to_camera[..., :3] @ turn.T, world_to_camera[..., 3:]], dim=-1)
