"""Frames that come one after another, from wherever they come, and the replay of a recorded subject.

A source is asked for its frames in a thread of its own (rgbavatar.training.intake): it may wait as long as it likes, so long
as it looks at `closed`. Time stamps are seconds since the stream's first frame.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from rgbavatar.templates.base import HeadTemplate

Clock = Callable[[], float]


@dataclass(frozen=True)
class StreamFrame:
    """One frame, all on the CPU.

    number: the one in its file name. stamp: seconds. image [H, W, 4] uint8: straight RGBA. vertices [V, 3] float32: the posed
    template in the world, metres. code [C] float32. camera: one. can_wait: the source keeps the frame until there is room for
    it; one that cannot wait is dropped where training is too far behind.
    """

    number: int
    stamp: float
    image: Tensor
    vertices: Tensor
    code: Tensor
    camera: Camera
    can_wait: bool = False


@dataclass(frozen=True)
class SkippedFrame:
    """A frame that came broken. reason: one line that names the file."""

    number: int
    reason: str


class FrameSource(Protocol):
    """Where a stream comes from. expected: how many frames there will be, where that is known."""

    @property
    def subject(self) -> str: ...

    @property
    def template(self) -> HeadTemplate: ...

    @property
    def expected(self) -> int | None: ...

    def frames(self, closed: threading.Event) -> Iterator[StreamFrame | SkippedFrame]:
        """Each frame once it has come; ends with the stream, or soon after `closed` is set.

        Raises DataError where the stream breaks off.
        """

    def close(self) -> None:
        """Free what reading took; a second call does nothing."""


class ReplaySource:
    """A recorded subject as it would come from a camera: frame i at i / frames_per_second, read from the disk before that.

    A frame that is late, because reading is slower than the rate, comes as soon as it is read.
    """

    def __init__(self, dataset: HeadDataset, frames_per_second: float, clock: Clock = time.perf_counter) -> None:
        self._dataset = dataset
        self._seconds = 1.0 / frames_per_second
        self._clock = clock

    @property
    def dataset(self) -> HeadDataset:
        """What is replayed."""
        return self._dataset

    @property
    def subject(self) -> str:
        return self._dataset.subject

    @property
    def template(self) -> HeadTemplate:
        return self._dataset.template

    @property
    def expected(self) -> int | None:
        return len(self._dataset)

    def frames(self, closed: threading.Event) -> Iterator[StreamFrame | SkippedFrame]:
        start = self._clock()
        for position in range(len(self._dataset)):
            due = position * self._seconds
            frame = self._read(position, due)
            wait = start + due - self._clock()
            if closed.wait(wait) if wait > 0 else closed.is_set():
                return
            yield frame

    def close(self) -> None:
        self._dataset.close()

    def _read(self, position: int, stamp: float) -> StreamFrame | SkippedFrame:
        dataset, number = self._dataset, int(self._dataset.numbers[position])
        try:
            image = dataset.images.read(torch.tensor([position]))[0]
        except DataError as error:
            return SkippedFrame(number, str(error))
        camera = dataset.camera.at(position if len(dataset.camera) > 1 else 0)
        return StreamFrame(number, stamp, image, dataset.vertices[position], dataset.codes[position], camera)
