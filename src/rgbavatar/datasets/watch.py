"""A folder that a live tracker is still writing: `images/%05d.png` and a file for each tracked frame, as in INSTA's layout.

A *pair* is the image and the tracked frame's file of one number. Pairs are handed out in the order of their numbers, each once
both of its files are whole. A file that cannot be read yet is waited for while it changes; one that has been left as it is
for `patience` seconds is broken, and its pair is skipped. So is a number that never comes while later ones do. The stream
ends with a file named `end` in the folder, or when nothing has come for `stall` seconds.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.datasets.features import compute_features, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.frame_layout import IMAGES, FrameFileLayout, check_first_frame, check_frame, join_cameras
from rgbavatar.datasets.images import decode_rgba, read_png_size
from rgbavatar.datasets.stream import SkippedFrame, StreamFrame
from rgbavatar.errors import DataError
from rgbavatar.templates.base import HeadTemplate

END_FILE = "end"
_POLL_SECONDS = 0.01  # how often the next pair is looked for: a quarter of a frame at 25 a second
_LIST_SECONDS = 0.25  # how often the folders are listed, for numbers beyond the next: a long stream's lists are long

_Signature = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class _Pair:
    """What the files of one number hold. path: the tracked frame's. image [H, W, 4] uint8. modified: seconds since the epoch."""

    path: Path
    frame: TrackedFrame
    image: Tensor
    modified: float


class WatchSource:
    """See the module's head. patience, stall: seconds."""

    def __init__(
        self, folder: Path, template: HeadTemplate, layout: FrameFileLayout, patience: float, stall: float
    ) -> None:
        """Raises DataError where there is no such folder."""
        if not folder.is_dir():
            raise DataError(f"{folder}: found no such folder, expected the one that the tracker writes into")
        self._folder = folder
        self._template = template
        self._layout = layout
        self._patience = patience
        self._stall = stall
        self._first: _Pair | None = None

    @property
    def subject(self) -> str:
        return self._folder.name

    @property
    def template(self) -> HeadTemplate:
        return self._template

    @property
    def expected(self) -> int | None:
        return None

    def frames(self, closed: threading.Event) -> Iterator[StreamFrame | SkippedFrame]:
        there_before = max(self._listed(), default=-1)
        number = self._wait_for_first(closed)
        while number is not None:
            result = self._wait_for_pair(number, number <= there_before, closed)
            if result is None:
                return
            yield result
            number = result.number + 1

    def close(self) -> None:
        """Nothing is held."""

    def _wait_for_first(self, closed: threading.Event) -> int | None:
        """The lowest number there is, once there is one."""
        since = time.monotonic()
        while not closed.is_set():
            numbers = self._listed()
            if numbers:
                return min(numbers)
            if self._has_ended() or time.monotonic() - since > self._stall:
                return None
            closed.wait(_LIST_SECONDS)
        return None

    def _wait_for_pair(self, number: int, can_wait: bool, closed: threading.Event) -> StreamFrame | SkippedFrame | None:
        """The pair once it is whole, or what is wrong with it, or the next after a gap; None where the stream has ended."""
        seen: _Signature = ()
        changed = listed = time.monotonic()
        problem = f"{self._image(number)}: did not come, though later frames did"
        while not closed.is_set():
            now, signature = time.monotonic(), (_signature(self._image(number)), _signature(self._frame(number)))
            if signature != seen:
                seen, changed = signature, now
                if None not in signature:
                    try:
                        pair = self._load(number)
                    except DataError as error:
                        problem = str(error)
                    else:
                        return self._accept(number, pair, can_wait)
            if None not in seen and now - changed > self._patience:
                return SkippedFrame(number, problem)
            if now - listed > _LIST_SECONDS:
                listed = now
                later = any(other > number for other in self._listed())
                if later and now - changed > self._patience:
                    return SkippedFrame(number, problem)
                if not later and (self._has_ended() or now - changed > self._stall):
                    return None
            closed.wait(_POLL_SECONDS)
        return None

    def _load(self, number: int) -> _Pair:
        """Raises DataError where a file is not whole."""
        image_path, frame_path = self._image(number), self._frame(number)
        width, height = read_png_size(image_path)
        frame = self._layout.read(frame_path)
        image = torch.from_numpy(decode_rgba(image_path, width, height))
        return _Pair(frame_path, frame, image, max(_modified(image_path), _modified(frame_path)))

    def _accept(self, number: int, pair: _Pair, can_wait: bool) -> StreamFrame | SkippedFrame:
        """A whole pair, posed. Raises DataError where the template does not fit the first one."""
        if self._first is None:
            check_first_frame(pair.path, pair.frame, self._template)
        first = self._first or pair
        height, width = pair.image.shape[:2]
        try:
            check_frame(pair.path, pair.frame, first.path, first.frame, width, height)
            if pair.image.shape != first.image.shape:
                raise DataError(
                    f"{self._image(number)}: found {width}x{height} pixels (width x height), expected "
                    f"{first.image.shape[1]}x{first.image.shape[0]} as in the first image"
                )
        except DataError as error:
            return SkippedFrame(number, str(error))
        self._first = first
        vertices, code = self._pose(pair.frame, first.frame.shape)
        camera = join_cameras([pair.frame.intrinsics], width, height)
        return StreamFrame(number, pair.modified - first.modified, pair.image, vertices, code, camera, can_wait)

    def _pose(self, frame: TrackedFrame, shape: Tensor) -> tuple[Tensor, Tensor]:
        vertices, codes = compute_features(self._template, replace(join_frames([frame]), shape=shape))
        return vertices[0], codes[0]

    def _image(self, number: int) -> Path:
        return self._folder / IMAGES / f"{number:05d}.png"

    def _frame(self, number: int) -> Path:
        return self._folder / self._layout.folder / f"{number:05d}{self._layout.suffix}"

    def _has_ended(self) -> bool:
        return (self._folder / END_FILE).exists()

    def _listed(self) -> list[int]:
        """Numbers of which a file is there. Raises DataError where the folder has gone."""
        if not self._folder.is_dir():
            raise DataError(f"{self._folder}: has gone while it was watched; its frames so far are used")
        return [
            int(Path(name).stem)
            for part, suffix in ((IMAGES, ".png"), (self._layout.folder, self._layout.suffix))
            for name in _names(self._folder / part)
            if name.endswith(suffix) and name.removesuffix(suffix).isdecimal()
        ]


def _names(folder: Path) -> list[str]:
    try:
        return os.listdir(folder)
    except OSError:
        return []


def _signature(path: Path) -> tuple[int, int] | None:
    """What changes when a file does, or None where there is none."""
    try:
        found = path.stat()
    except OSError:
        return None
    return (found.st_size, found.st_mtime_ns)


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError as error:
        raise DataError(f"{path}: has gone while it was read") from error
