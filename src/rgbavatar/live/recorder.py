"""The subject that a live run trains on, written by a thread beside it, so that it can be measured and rendered later.

The disk never costs training a frame: what it is too slow for is left out of the subject, and counted.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from rgbavatar.datasets.blendshape_layout import BLENDSHAPE
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.frame_layout import IMAGES
from rgbavatar.datasets.parameter_file import write_parameter_file
from rgbavatar.errors import OutputError
from rgbavatar.io.files import flush_folder, make_folder, write_one_of_many
from rgbavatar.io.images import encode_png
from rgbavatar.track.record import (
    Record,
    parameter_path,
    picture_path,
    read_record,
    remove_files,
    remove_results,
    write_record,
)

HELD = 200  # frames that may wait for the disk, a megabyte each at 512 x 512

Item = tuple[int, float, np.ndarray, TrackedFrame]
"""Number in the source, seconds, RGBA picture, what was tracked."""


class SubjectRecorder:
    """Writes a subject of the layout `blendshape`, its frames numbered 0, 1, ... as they come, and tracked.json.

    dropped: frames that the disk was too slow for. failure: what ended the writing, if anything did.
    """

    def __init__(self, folder: Path, source: str, settings: Mapping[str, object], overwrite: bool) -> None:
        """Raises OutputError where there is a subject that may not be replaced. Nothing is touched before the first frame."""
        self.folder = folder
        self.dropped = 0
        self.failure: OutputError | None = None
        self._old = _old_record(folder, overwrite)
        self._record = Record(settings, source, "")
        self._items: queue.Queue[Item | None] = queue.Queue(HELD)
        self._frames: list[int] = []
        self._seconds: list[float] = []
        self._thread: threading.Thread | None = None

    @property
    def count(self) -> int:
        """Frames that are written."""
        return len(self._frames)

    def add(self, number: int, seconds: float, picture: np.ndarray, frame: TrackedFrame) -> None:
        """Write a frame soon. Never waits."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="record-subject")
            self._thread.start()
        try:
            self._items.put_nowait((number, seconds, picture, frame))
        except queue.Full:
            self.dropped += 1

    def close(self) -> None:
        """Write what waits; a second call does nothing."""
        if self._thread is not None:
            self._items.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            self._begin()
        except OutputError as error:
            self.failure = error
        while (item := self._items.get()) is not None:
            try:
                if self.failure is None:
                    self._write(*item)
            except OutputError as error:
                self.failure = error
        if self.failure is None:
            self._finish()

    def _begin(self) -> None:
        if self._old is not None:
            remove_results(self.folder, replace(self._old, frames=range(_end(self.folder))))
        for path in (picture_path(self.folder, 0), parameter_path(self.folder, 0)):
            make_folder(path.parent)
        write_record(self.folder, self._record)

    def _write(self, number: int, seconds: float, picture: np.ndarray, frame: TrackedFrame) -> None:
        place = len(self._frames)
        write_one_of_many(picture_path(self.folder, place), encode_png(picture))
        try:
            write_parameter_file(parameter_path(self.folder, place), frame)
        except OutputError:
            remove_files([picture_path(self.folder, place)])  # a picture without a partner would break the subject
            raise
        self._frames.append(number)
        self._seconds.append(round(seconds, 6))
        self._record = replace(self._record, size=(frame.width, frame.height))

    def _finish(self) -> None:
        flush_folder(self.folder / IMAGES)
        done = replace(self._record, frames=self._frames, seconds=self._seconds, complete=True)
        try:
            write_record(self.folder, done)
        except OutputError as error:
            self.failure = error


def _old_record(folder: Path, overwrite: bool) -> Record | None:
    """The record of a subject that is there. Raises OutputError where it may not be replaced."""
    old = read_record(folder)
    if old is not None and not overwrite:
        raise OutputError(
            f"{folder}: exists already; give --overwrite to replace it, another --subject, or --no_record to leave it"
        )
    return old


def _end(folder: Path) -> int:
    """One above the highest number of a subject's files: a record that was never finished does not tell."""
    stems = [path.stem for part in (IMAGES, BLENDSHAPE.folder) for path in (folder / part).glob("*.*")]
    return 1 + max((int(stem) for stem in stems if stem.isascii() and stem.isdigit()), default=-1)
