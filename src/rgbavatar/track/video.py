"""Where pictures come from: a video, a folder of numbered pictures, a camera, or a recording that plays as a camera would.

A *number* counts the pictures that were decoded, from 0; those of a folder are their files'. Seconds are those of the time
stamps, from the first picture on; phones write videos whose rate varies, and a camera gives what it can. Pictures are RGB
[H, W, 3] uint8, upright: a rotation that a phone noted in its video is applied.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from rgbavatar.errors import ConfigError, DataError
from rgbavatar.prepare.pictures import read_picture
from rgbavatar.prepare.tracker_folder import find_picture_files

CAMERA, VIDEO = "camera:", "video:"
_CAMERA_SECONDS = 5.0  # that a camera may take to give its first picture


@dataclass(frozen=True)
class VideoFrame:
    """One picture; see the module's head."""

    number: int
    seconds: float
    picture: np.ndarray


class VideoFrames(Protocol):
    """Pictures of one size, in the order of time. name: for messages. count: how many there are about, where that is known."""

    @property
    def name(self) -> str: ...

    @property
    def count(self) -> int | None: ...

    def __iter__(self) -> Iterator[VideoFrame]:
        """All pictures, from the first on. Raises DataError for one that cannot be decoded, or of another size."""
        ...


def open_frames(source: str, frames_per_second: float) -> VideoFrames:
    """The pictures that SOURCE names. frames_per_second: of a folder, which has no time stamps.

    `camera:` and a number is a camera of this machine; `video:` and a path plays a recording at its own pace, as a camera
    would. Raises ConfigError, DataError: one line on what was found.
    """
    if source.startswith(CAMERA):
        which = source.removeprefix(CAMERA)
        if not (which.isascii() and which.isdigit()):
            raise ConfigError(f"{source}: expected {CAMERA}0 for the first camera, or {VIDEO}FILE")
        return CameraFrames(int(which))
    if source.startswith(VIDEO):
        which = source.removeprefix(VIDEO)
        if not which or is_camera(which):
            raise ConfigError(f"{source}: expected {VIDEO} and a file")
        return PacedFrames(open_frames(which, frames_per_second))
    path = Path(source)
    if path.is_dir():
        return FolderFrames(path, frames_per_second)
    if not path.is_file():
        raise DataError(f"{path}: found no such file, expected a video, a folder of pictures, or {CAMERA}0")
    return FileFrames(path)


def is_camera(source: str) -> bool:
    """Whether SOURCE is a camera, or plays as one: its pictures come in their time, and each once alone."""
    return source.startswith((CAMERA, VIDEO))


@dataclass(frozen=True)
class FileFrames:
    """The pictures of a video file. Raises DataError on creation where it cannot be decoded."""

    path: Path

    def __post_init__(self) -> None:
        capture = self._open()
        found = capture.grab()
        capture.release()
        if not found:
            raise DataError(f"{self.path}: found no picture in it, expected a video; copy it again")

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def count(self) -> int | None:
        """What the container says, which is an estimate."""
        capture = self._open()
        count = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        return count if count > 0 else None

    def __iter__(self) -> Iterator[VideoFrame]:
        capture = self._open()
        rate = capture.get(cv2.CAP_PROP_FPS)
        step = 1.0 / rate if 1.0 <= rate <= 1000.0 else 1.0 / 25.0
        try:
            yield from _read_capture(self.name, capture, _file_clock(capture, step))
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self.path))
        if not capture.isOpened():
            raise DataError(f"{self.path}: found no video that can be decoded, expected one, or a folder of pictures")
        capture.set(cv2.CAP_PROP_ORIENTATION_AUTO, 1)
        return capture


@dataclass(frozen=True)
class FolderFrames:
    """The pictures of a folder, named by their numbers; a gap in the numbers is time that passes. Raises DataError."""

    path: Path
    frames_per_second: float

    def __post_init__(self) -> None:
        find_picture_files(self.path)

    @property
    def name(self) -> str:
        return str(self.path)

    @property
    def count(self) -> int | None:
        return len(find_picture_files(self.path))

    def __iter__(self) -> Iterator[VideoFrame]:
        files, shape = find_picture_files(self.path), None
        first = min(files)
        for number, path in sorted(files.items()):
            picture = _to_rgb(read_picture(path))
            shape = shape or picture.shape
            _check_size(str(path), picture, shape)
            yield VideoFrame(number, (number - first) / self.frames_per_second, picture)


@dataclass(frozen=True)
class CameraFrames:
    """What a camera of this machine gives, until it is unplugged or nobody asks for more. Raises DataError where it gives
    nothing."""

    index: int
    count: int | None = None

    @property
    def name(self) -> str:
        return f"{CAMERA}{self.index}"

    def __iter__(self) -> Iterator[VideoFrame]:
        capture = cv2.VideoCapture(self.index)
        try:
            if not capture.isOpened():
                raise DataError(
                    f"{self.name}: found no camera that can be opened, expected one; is another program using it?"
                )
            self._wait(capture)
            yield from _read_capture(self.name, capture, _wall_clock())
        finally:
            capture.release()

    def _wait(self, capture: cv2.VideoCapture) -> None:
        """Raise DataError unless a picture comes; the first ones of many cameras are late."""
        until = time.monotonic() + _CAMERA_SECONDS
        while not capture.grab():
            if time.monotonic() > until:
                raise DataError(f"{self.name}: gave no picture in {_CAMERA_SECONDS:.0f} s; unplug it and try again")


@dataclass(frozen=True)
class PacedFrames:
    """A recording that plays at its own pace: who is too slow misses pictures, as with a camera. numbers: the recording's."""

    frames: VideoFrames
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep

    @property
    def name(self) -> str:
        return f"{VIDEO}{self.frames.name}"

    @property
    def count(self) -> int | None:
        return self.frames.count

    def __iter__(self) -> Iterator[VideoFrame]:
        start = self.clock()
        with closing(_held_one_back(self.frames)) as pairs:
            for frame, following in pairs:
                late = self.clock() - start
                if following is not None and following.seconds <= late:
                    continue  # the next one is due already
                if frame.seconds > late:
                    self.sleep(frame.seconds - late)
                yield frame


def _held_one_back(frames: VideoFrames) -> Generator[tuple[VideoFrame, VideoFrame | None], None, None]:
    """Each frame and the one after it."""
    held: VideoFrame | None = None
    for frame in frames:
        if held is not None:
            yield held, frame
        held = frame
    if held is not None:
        yield held, None


def _read_capture(name: str, capture: cv2.VideoCapture, clock: Callable[[int], float]) -> Iterator[VideoFrame]:
    """Pictures until there are no more. clock: seconds of the picture at an index, once it is decoded."""
    shape, number, last = None, 0, -1.0
    while True:
        found, picture = capture.read()
        if not found:
            return
        shape = shape or picture.shape
        _check_size(f"{name}, picture {number}", picture, shape)
        last = max(clock(number), last + 1e-3)  # broken time stamps must not run backwards
        yield VideoFrame(number, last, cv2.cvtColor(picture, cv2.COLOR_BGR2RGB))
        number += 1


def _file_clock(capture: cv2.VideoCapture, step: float) -> Callable[[int], float]:
    """Seconds by the file's time stamps; by its rate, where it has none. Time starts with the picture 0, which need not be at
    0."""
    start = 0.0

    def read(number: int) -> float:
        nonlocal start
        stamp = capture.get(cv2.CAP_PROP_POS_MSEC) / 1000.0
        if number == 0:
            start = stamp
        return stamp - start if stamp > start else number * step

    return read


def _wall_clock() -> Callable[[int], float]:
    start = time.monotonic()
    return lambda number: time.monotonic() - start


def _check_size(place: str, picture: np.ndarray, shape: tuple[int, ...]) -> None:
    if picture.shape != shape:
        raise DataError(
            f"{place}: found {picture.shape[1]}x{picture.shape[0]} pixels (width x height), expected the "
            f"{shape[1]}x{shape[0]} of the first; give pictures of one size"
        )


def _to_rgb(pixels: np.ndarray) -> np.ndarray:
    """A picture without alpha, of three channels."""
    return np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else np.ascontiguousarray(pixels[..., :3])
