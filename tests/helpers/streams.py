"""Streams made of the tiny subject's frames."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.stream import SkippedFrame, StreamFrame
from rgbavatar.templates.base import HeadTemplate

Item = StreamFrame | SkippedFrame | Exception | Callable[[], None]


def frame_of(dataset: HeadDataset, number: int, can_wait: bool = True) -> StreamFrame:
    """Frame `number`, of a subject whose frames come again and again."""
    position = number % len(dataset)
    image = dataset.images.read(dataset.numbers[position : position + 1])[0]
    code, vertices = dataset.codes[position], dataset.vertices[position]
    return StreamFrame(number, number / 25.0, image, vertices, code, dataset.camera, can_wait)


@dataclasses.dataclass
class ScriptedSource:
    """Hands out frames as they are, calls what can be called, and raises errors."""

    template: HeadTemplate
    items: Iterator[Item]
    subject: str = "scripted"
    expected: int | None = None
    is_closed: bool = False

    def frames(self, closed: threading.Event) -> Iterator[StreamFrame | SkippedFrame]:
        for item in self.items:
            if closed.is_set():
                return
            if isinstance(item, Exception):
                raise item
            if isinstance(item, (StreamFrame, SkippedFrame)):
                yield item
            else:
                item()

    def close(self) -> None:
        self.is_closed = True
