"""What a tracker found in a sequence, without its images: to drive an avatar."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rgbavatar.datasets.features import join_frames
from rgbavatar.datasets.frame_file import read_frame_file
from rgbavatar.datasets.insta import CHECKPOINT, check_frames, find_numbered_files, join_cameras
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from rgbavatar.templates.base import HeadParameters, HeadTemplate


@dataclass(frozen=True)
class Tracking:
    """n tracked frames of one person. numbers: those in the files' names. camera: one for all or one for each."""

    numbers: list[int]
    motion: HeadParameters
    camera: Camera


def load_tracking(folder: Path, template: HeadTemplate) -> Tracking:
    """Read `folder`/checkpoint/%05d.frame; gaps are left out. Raises DataError naming the file."""
    if not (folder / CHECKPOINT).is_dir():
        raise DataError(f"{folder}: found no {CHECKPOINT}/ there, expected a tracked sequence: a subject's folder")
    files = find_numbered_files(folder / CHECKPOINT, ".frame")
    numbers = sorted(files)
    paths = [files[number] for number in numbers]
    frames = [read_frame_file(path) for path in paths]
    width, height = frames[0].width, frames[0].height
    check_frames(paths, frames, width, height, template)
    camera = join_cameras([frame.intrinsics for frame in frames], width, height)
    return Tracking(numbers, join_frames(frames), camera)
