"""What lies in a tracker's output folder: the tracked frames, the pictures that they were tracked in, and masks of these.

A *frame number* is that of `checkpoint/%05d.frame`. Trackers number frames from 0 or 1, leave some out, and may have numbered
the pictures otherwise: *shift* is picture number less frame number. Pictures lie in a folder or are those of a video.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np

from rgbavatar.datasets.frame_file import read_frame_file
from rgbavatar.datasets.layouts import INSTA
from rgbavatar.datasets.numbered import find_numbered_files
from rgbavatar.errors import DataError
from rgbavatar.prepare.pictures import read_picture

PICTURE_FOLDERS = ("input", "images", "source")
MASK_FOLDERS = ("masks", "mask")
PICTURE_SUFFIXES = (".png", ".jpg", ".jpeg")
VIDEO_SUFFIXES = (".mp4", ".mov", ".mkv", ".avi", ".webm", ".m4v")
SKIP_HINT = "restore it, or pass --skip to leave such frames out"


@dataclass(frozen=True)
class VideoPicture:
    """One picture of a video; index: from 0."""

    video: Path
    index: int

    def __str__(self) -> str:
        return f"{self.video} (picture {self.index})"


Picture: TypeAlias = "Path | VideoPicture"


@dataclass(frozen=True)
class Source:
    """One tracked frame. mask: None where the picture's own alpha is to be taken."""

    number: int
    frame: Path
    picture: Picture
    mask: Path | None

    @property
    def files(self) -> list[Path]:
        """The files that a result is made from."""
        picture = self.picture.video if isinstance(self.picture, VideoPicture) else self.picture
        return [self.frame, picture, *([self.mask] if self.mask else [])]


@dataclass(frozen=True)
class RawSubject:
    """What was found. sources: by rising number; missing: what is wrong with the frames left out of them, by number."""

    sources: Sequence[Source]
    missing: Mapping[int, str]
    pictures: Path
    masks: Path | None
    shift: int


def find_raw(tracker: Path, images: Path | None, masks: Path | None, shift: int | None) -> RawSubject:
    """Find what belongs to each tracked frame. images, masks: where they are, None: look for them. Raises DataError."""
    frames = _find_frames(tracker)
    place, pictures = _find_pictures(tracker, images, frames)
    offset = find_shift(frames, pictures) if shift is None else shift
    mask_place = masks or next((tracker / name for name in MASK_FOLDERS if (tracker / name).is_dir()), None)
    mask_files = find_picture_files(mask_place) if mask_place else {}
    seen = {number: path for number, path in frames.items() if number + offset in pictures}
    mask_offset = find_shift(seen or frames, mask_files, offset) if mask_files else 0
    sources, missing = [], {}
    for number in sorted(frames):
        picture, mask = pictures.get(number + offset), mask_files.get(number + mask_offset)
        if picture is None:
            missing[number] = _tell_missing("picture", place, number + offset, frames[number], len(pictures))
        elif mask_place and mask is None:
            missing[number] = _tell_missing("mask", mask_place, number + mask_offset, frames[number], len(mask_files))
        else:
            sources.append(Source(number, frames[number], picture, mask))
    return RawSubject(sources, missing, place, mask_place, offset)


def find_shift(frames: Mapping[int, object], files: Mapping[int, object], guess: int = 0) -> int:
    """Number of a file less number of its frame: `guess`, unless fewer files are missing when both start at one end.

    Only numberings from 0 and from 1 are told apart; anything else is up to the user.
    """
    aligned = min(files) - min(frames)
    candidates = [guess, *(shift for shift in (0, aligned) if abs(shift) <= 1)]
    return min(candidates, key=lambda shift: sum(number + shift not in files for number in frames))


def find_picture_files(folder: Path) -> Mapping[int, Path]:
    """Pictures of a folder by number, of the first suffix that there are any of. Raises DataError."""
    if not folder.is_dir():
        raise DataError(f"{folder}: found no such folder, expected one of pictures named 00000.png, 00001.png, ...")
    held = {path.suffix.lower() for path in folder.iterdir() if path.stem.isdigit()}
    return find_numbered_files(folder, next((suffix for suffix in PICTURE_SUFFIXES if suffix in held), ".png"))


def read_video(video: Path, wanted: Sequence[int]) -> Iterator[np.ndarray]:
    """The pictures of a video at rising indices, RGB [H, W, 3] uint8. Raises DataError where it ends before the last."""
    capture, at = _open_video(video), 0
    try:
        for index in wanted:
            while at < index and capture.grab():
                at += 1
            found, picture = capture.read()
            if at != index or not found:
                raise DataError(f"{video}: found {at} pictures that can be decoded, expected more; copy it again")
            at += 1
            yield cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)
    finally:
        capture.release()


def _find_frames(tracker: Path) -> Mapping[int, Path]:
    folder = tracker / INSTA.folder
    if not folder.is_dir():
        held = "no such folder"
        if tracker.is_dir():
            held = ", ".join(sorted(entry.name for entry in tracker.iterdir())[:8]) or "nothing"
        raise DataError(
            f"{tracker}: found {held}, expected the output folder of metrical-tracker, with {INSTA.folder}/00000"
            f"{INSTA.suffix} and so on in it"
        )
    return find_numbered_files(folder, INSTA.suffix)


def _find_pictures(
    tracker: Path, images: Path | None, frames: Mapping[int, Path]
) -> tuple[Path, Mapping[int, Picture]]:
    """Where the pictures are, and all of them by number. Those not named by the user must have the tracked size."""
    if images is not None:
        return images, _list_pictures(images, frames)
    first = read_frame_file(frames[min(frames)])
    seen = []
    for place in _picture_places(tracker):
        pictures = _list_pictures(place, frames)
        height, width = _size_of(pictures[min(pictures)])
        if (height, width) == (first.height, first.width):
            return place, pictures
        seen.append(f"{place.name} of {width}x{height}")
    raise DataError(
        f"{tracker}: found {', '.join(seen) or 'no pictures'}, expected the pictures that were tracked, "
        f"{first.width}x{first.height} pixels (width x height), in {', '.join(PICTURE_FOLDERS)} or a video; name their "
        f"folder or video with --images"
    )


def _picture_places(tracker: Path) -> Iterator[Path]:
    """Folders and videos that may hold the tracked pictures: those in the tracker's folder, and videos named like it."""
    for name in PICTURE_FOLDERS:
        folder = tracker / name
        if folder.is_dir() and any(path.stem.isdigit() for path in folder.iterdir()):
            yield folder
    yield from sorted(path for path in tracker.iterdir() if path.suffix.lower() in VIDEO_SUFFIXES)
    beside = tracker.resolve()
    yield from (
        beside.with_name(beside.name + s) for s in VIDEO_SUFFIXES if beside.with_name(beside.name + s).is_file()
    )


def _list_pictures(place: Path, frames: Mapping[int, Path]) -> Mapping[int, Picture]:
    """Pictures by number. Those of a video are numbered from 0 where the frames are, else from 1, as ffmpeg numbers them."""
    if not place.is_file():
        return find_picture_files(place)
    first = 0 if 0 in frames else 1
    return {first + index: VideoPicture(place, index) for index in range(_count_pictures(place))}


def _size_of(picture: Picture) -> tuple[int, int]:
    """(height, width) in pixels. Raises DataError."""
    pixels = read_picture(picture) if isinstance(picture, Path) else next(read_video(picture.video, [picture.index]))
    return pixels.shape[0], pixels.shape[1]


def _open_video(video: Path) -> cv2.VideoCapture:
    capture = cv2.VideoCapture(str(video))
    if not capture.isOpened():
        raise DataError(f"{video}: found no video that can be decoded, expected one, or a folder of numbered pictures")
    return capture


def _count_pictures(video: Path) -> int:
    """Count by decoding: what the container says is an estimate. Raises DataError where there is none."""
    capture, count = _open_video(video), 0
    while capture.grab():
        count += 1
    capture.release()
    if count == 0:
        raise DataError(f"{video}: found no picture in it, expected a video; copy it again")
    return count


def _tell_missing(kind: str, place: Path, number: int, frame: Path, count: int) -> str:
    if place.is_file():
        return f"{place}: found {count} pictures, expected one for {frame.name} (number {number}); {SKIP_HINT}"
    return f"{place / f'{number:05d}'}.png: found no such {kind}, expected one for {frame}; {SKIP_HINT}"
