"""Layouts with one file for each tracked frame: `images/%05d.png` beside a folder of such files.

Images and tracked frames pair by the number in their names. The numbers start anywhere and have no gap. Everything
that can be told without decoding an image is checked before training starts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.datasets.base import Split
from rgbavatar.datasets.features import WORLD_TO_OPENCV, compute_features, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.images import ImageFile
from rgbavatar.datasets.numbered import find_numbered_files, pair_numbers
from rgbavatar.datasets.tracking import FrameListing, Tracking
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from rgbavatar.templates.base import HeadTemplate

IMAGES = "images"
SHAPE_TOLERANCE = 0.1
"""Largest difference of identity coefficients within a subject, in standard deviations of the model: under half a
millimetre of vertex motion. Trackers fix the identity for a video; a larger change means that files of several runs
are mixed."""


@dataclass(frozen=True)
class FrameFileLayout:
    """A layout; see rgbavatar.datasets.tracking.Layout. folder, suffix: of the tracked frames' files. read: one of them.

    recognises: whether a file of that folder and suffix is of this layout, for layouts that share both.
    """

    name: str
    folder: str
    suffix: str
    read: Callable[[Path], TrackedFrame]
    recognises: Callable[[Path], bool]

    @property
    def holds(self) -> str:
        return f"{IMAGES}/00000.png, {self.folder}/00000{self.suffix}"

    def matches(self, folder: Path) -> bool:
        if not (folder / self.folder).is_dir():
            return False
        files = sorted(path for path in (folder / self.folder).iterdir() if path.suffix == self.suffix)
        return bool(files) and self.recognises(files[0])

    def list_frames(self, folder: Path) -> FrameListing:
        """Raises DataError where a folder or a partner is missing."""
        for part in (IMAGES, self.folder):
            if not (folder / part).is_dir():
                held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
                raise DataError(
                    f"{folder / part}: found no such folder in the subject's (it holds {held}), expected {IMAGES}/ and "
                    f"{self.folder}/; see data/README.md for this layout and others"
                )
        images = find_numbered_files(folder / IMAGES, ".png")
        files = find_numbered_files(folder / self.folder, self.suffix)
        numbers = pair_numbers(images, files, self.suffix)
        return FrameFileListing(numbers, [images[n] for n in numbers], [files[n] for n in numbers], self.read)

    def list_tracking(self, folder: Path) -> FrameListing:
        """Raises DataError where there is none."""
        if not (folder / self.folder).is_dir():
            raise DataError(f"{folder}: found no {self.folder}/ there, expected a tracked sequence: a subject's folder")
        files = find_numbered_files(folder / self.folder, self.suffix)
        numbers = sorted(files)
        return FrameFileListing(numbers, [], [files[n] for n in numbers], self.read)


@dataclass(frozen=True)
class FrameFileListing:
    """See rgbavatar.datasets.tracking.FrameListing."""

    numbers: list[int]
    images: Sequence[ImageFile]
    files: Sequence[Path]
    read_file: Callable[[Path], TrackedFrame]

    @property
    def splits(self) -> Sequence[Split] | None:
        return None

    def read(self, template: HeadTemplate, size: tuple[int, int] | None) -> Tracking:
        frames = [self.read_file(path) for path in self.files]
        width, height = size or (frames[0].width, frames[0].height)
        check_frames(self.files, frames, width, height, template)
        camera = join_cameras([frame.intrinsics for frame in frames], width, height)
        return Tracking(self.numbers, join_frames(frames), camera)


def check_frames(
    paths: Sequence[Path], frames: Sequence[TrackedFrame], width: int, height: int, template: HeadTemplate
) -> None:
    """Raise DataError naming the first frame that does not fit the images' size, the template or the other frames."""
    check_first_frame(paths[0], frames[0], template)
    for path, frame in zip(paths, frames, strict=True):
        check_frame(path, frame, paths[0], frames[0], width, height)


def check_first_frame(path: Path, frame: TrackedFrame, template: HeadTemplate) -> None:
    """Raise DataError unless the template can be posed with a frame."""
    try:
        compute_features(template, join_frames([frame]))
    except DataError as error:
        raise DataError(f"{path}: {error}; name the template it was tracked with in template.path") from error


def check_frame(
    path: Path, frame: TrackedFrame, first_path: Path, first: TrackedFrame, width: int, height: int
) -> None:
    """Raise DataError unless a frame fits the images' size and the first frame of its subject."""
    if (frame.height, frame.width) != (height, width):
        raise DataError(
            f"{path}: the image size is ({frame.height}, {frame.width}) (height, width), expected ({height}, {width}) as "
            f"the images have; use the images that were tracked"
        )
    _check_widths(path, frame, first)
    _check_identity(path, frame, first_path, first)


def _check_widths(path: Path, frame: TrackedFrame, first: TrackedFrame) -> None:
    """Raise DataError unless a frame has as many coefficients as the first."""
    widths = {"expression": (frame.expression, first.expression), "identity": (frame.shape, first.shape)}
    for key, (found, expected) in widths.items():
        if len(found) != len(expected):
            raise DataError(
                f"{path}: {key} has {len(found)} coefficients, expected {len(expected)} as in the first frame; "
                f"track all frames in one run"
            )


def _check_identity(path: Path, frame: TrackedFrame, first_path: Path, first: TrackedFrame) -> None:
    """Raise DataError unless a frame has the identity of the first."""
    if not len(first.shape):
        return
    change = (frame.shape - first.shape).abs().max().item()
    if change > SHAPE_TOLERANCE:
        raise DataError(
            f"{path}: identity differs by {change:.3g} from that of {first_path.name}, expected at most "
            f"{SHAPE_TOLERANCE}: one identity for a subject; track all frames in one run"
        )


def join_cameras(intrinsics: Sequence[Tensor], width: int, height: int) -> Camera:
    """The cameras of n frames with intrinsics [4] each, at the origin of the world; one where all are equal. float32."""
    stacked = torch.stack(list(intrinsics)).to(torch.float32)
    if (stacked == stacked[0]).all():
        stacked = stacked[:1]
    world_to_camera = torch.nn.functional.pad(WORLD_TO_OPENCV.to(torch.float32), (0, 1))
    return Camera(world_to_camera.repeat(len(stacked), 1, 1), stacked, width, height)
