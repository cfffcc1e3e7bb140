"""Subjects in the INSTA layout: `<data_dir>/<subject>/images/%05d.png` and `checkpoint/%05d.frame`.

Images and tracked frames pair by the number in their names. The numbers start anywhere and have no gap. Everything
that can be told without decoding an image is checked before training starts.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset, Split, split_indices
from rgbavatar.datasets.features import WORLD_TO_OPENCV, compute_features, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame, read_frame_file
from rgbavatar.datasets.images import Progress, StreamedImages, default_workers, read_common_size
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from rgbavatar.templates.base import HeadTemplate

IMAGES, CHECKPOINT = "images", "checkpoint"
SHAPE_TOLERANCE = 0.1
"""Largest difference of identity coefficients within a subject, in standard deviations of the model: under half a
millimetre of vertex motion. Trackers fix the identity for a video; a larger change means that files of several runs
are mixed."""


def load_insta(
    folder: Path,
    template: HeadTemplate,
    *,
    preload: bool,
    pin_memory: bool,
    split: Split = Split.ALL,
    test_frames: int = 0,
    progress: Progress | None = None,
) -> HeadDataset:
    """Load the subject in `folder` (data_dir/subject), or one split of it, posed with `template`.

    preload: hold the images in memory instead of decoding them at each read. pin_memory: hand them out page-locked, for
    copies to a GPU. The identity is that of the subject's first frame, whatever the split. All files are checked, also
    those outside the split. Raises DataError naming the file.
    """
    check_subject_folder(folder)
    images = find_numbered_files(folder / IMAGES, ".png")
    frame_files = find_numbered_files(folder / CHECKPOINT, ".frame")
    numbers = pair_numbers(images, frame_files)
    chosen = split_indices(len(numbers), split, test_frames)
    width, height = read_common_size([images[n] for n in numbers])
    paths = [images[numbers[i]] for i in chosen.tolist()]
    store = StreamedImages(paths, width, height, pin_memory, default_workers())
    with ExitStack() as on_error:
        on_error.callback(store.close)
        pending = store.start_preload() if preload else None
        frames = [read_frame_file(frame_files[n]) for n in numbers]  # keeps one core busy, the images the others
        check_frames([frame_files[n] for n in numbers], frames, width, height, template)
        held = pending.finish(progress) if pending else store
        vertices, codes = compute_features(template, join_frames(frames).select(chosen))  # takes all cores
        on_error.pop_all()
    return HeadDataset(
        subject=folder.name,
        numbers=torch.tensor(numbers)[chosen],
        images=held,
        vertices=vertices,
        codes=codes,
        camera=join_cameras([frames[i].intrinsics for i in chosen.tolist()], width, height),
        template=template,
    )


def check_subject_folder(folder: Path) -> None:
    """Raise DataError unless `folder` exists and holds images/ and checkpoint/; name the subjects that there are."""
    if not folder.is_dir():
        raise DataError(
            f"{folder}: found no such subject, expected a folder with {IMAGES}/ and {CHECKPOINT}/; {_near(folder)}"
        )
    for part in (IMAGES, CHECKPOINT):
        if not (folder / part).is_dir():
            held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
            raise DataError(
                f"{folder / part}: found no such folder in the subject's (it holds {held}), expected {IMAGES}/ and "
                f"{CHECKPOINT}/; see data/README.md for the layout"
            )


def _near(folder: Path) -> str:
    """Which subjects lie where `folder` was looked for, those of a similar name first."""
    parent = folder.parent
    if not parent.is_dir():
        return f"{parent} does not exist either: set dataset.data_dir"
    names = sorted(entry.name for entry in parent.iterdir() if (entry / IMAGES).is_dir())
    near = difflib.get_close_matches(folder.name, names, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"{parent} holds the subjects {', '.join(names[:8])}" if names else f"{parent} holds no subject"


def find_numbered_files(folder: Path, suffix: str) -> Mapping[int, Path]:
    """Files of `folder` named by a number, by that number. Others are ignored. Raises DataError where there is none."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != suffix or not (path.stem.isascii() and path.stem.isdigit()):
            continue
        number = int(path.stem)
        if number in found:
            raise DataError(
                f"{path}: found number {number} also as {found[number].name}, expected one file; delete one"
            )
        found[number] = path
    if not found:
        held = ", ".join(path.name for path in sorted(folder.iterdir())[:3]) or "nothing"
        raise DataError(
            f"{folder}: found {held}, expected files named 00000{suffix}, 00001{suffix}, ...; export them again"
        )
    return found


def pair_numbers(images: Mapping[int, Path], frames: Mapping[int, Path]) -> list[int]:
    """The numbers of the subject, ascending. Raises DataError where one has no image or no frame, or is missing."""
    numbers = sorted(images.keys() | frames.keys())
    for here, there, kind in ((images, frames, ".frame"), (frames, images, ".png")):
        lonely = [n for n in numbers if n in here and n not in there]
        if lonely:
            held = f"numbers {min(there)} to {max(there)}"
            raise DataError(
                f"{here[lonely[0]]}: found no {lonely[0]:05d}{kind} to go with it ({len(lonely)} such; "
                f"the {kind} files have {held}), expected one of each for every number; complete or delete them"
            )
    for before, after in pairwise(numbers):
        if after != before + 1:
            raise DataError(
                f"{images[before]}: found {after:05d} as the next number, expected {before + 1:05d}: frames of a video "
                f"have no gaps; restore the files or number them anew"
            )
    return numbers


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
            f"{path}: img_size is ({frame.height}, {frame.width}) (height, width), expected ({height}, {width}) as "
            f"the images have; use the images that were tracked"
        )
    _check_widths(path, frame, first)
    _check_identity(path, frame, first_path, first)


def _check_widths(path: Path, frame: TrackedFrame, first: TrackedFrame) -> None:
    """Raise DataError unless a frame has as many coefficients as the first."""
    widths = {"flame.exp": (frame.expression, first.expression), "flame.shape": (frame.shape, first.shape)}
    for key, (found, expected) in widths.items():
        if len(found) != len(expected):
            raise DataError(
                f"{path}: {key} has {len(found)} coefficients, expected {len(expected)} as in the first frame; "
                f"track all frames in one run"
            )


def _check_identity(path: Path, frame: TrackedFrame, first_path: Path, first: TrackedFrame) -> None:
    """Raise DataError unless a frame has the identity of the first."""
    change = (frame.shape - first.shape).abs().max().item()
    if change > SHAPE_TOLERANCE:
        raise DataError(
            f"{path}: flame.shape differs by {change:.3g} from that of {first_path.name}, expected at most "
            f"{SHAPE_TOLERANCE}: one identity for a subject; track all frames in one run"
        )


def join_cameras(intrinsics: Sequence[Tensor], width: int, height: int) -> Camera:
    """The cameras of n frames with intrinsics [4] each, at the origin of the world; one where all are equal. float32."""
    stacked = torch.stack(list(intrinsics)).to(torch.float32)
    if (stacked == stacked[0]).all():
        stacked = stacked[:1]
    world_to_camera = torch.nn.functional.pad(WORLD_TO_OPENCV.to(torch.float32), (0, 1))
    return Camera(world_to_camera.repeat(len(stacked), 1, 1), stacked, width, height)
