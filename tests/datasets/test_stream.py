"""A recorded subject that comes as from a camera."""

from __future__ import annotations

import dataclasses
import threading
import time

import torch
from torch import Tensor

from rgbavatar.datasets.stream import ReplaySource, SkippedFrame, StreamFrame
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from tests.helpers.tiny_subject import SIZE, tiny_dataset


class SlowClosed(threading.Event):
    """A clock that only moves when somebody waits, and the event that is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def wait(self, timeout: float | None = None) -> bool:
        assert timeout is not None
        self.now += timeout
        return self.is_set()


def test_a_frame_comes_when_it_is_due() -> None:
    dataset, closed = tiny_dataset(), SlowClosed()
    came = []
    for frame in ReplaySource(dataset, 20.0, clock=lambda: closed.now).frames(closed):
        assert isinstance(frame, StreamFrame)
        came.append((frame.number, round(closed.now, 6), frame.stamp))
    assert came == [(i, round(i / 20, 6), i * 0.05) for i in range(12)]


def test_frames_that_are_late_come_at_once_and_the_next_is_on_time() -> None:
    dataset, closed = tiny_dataset(), SlowClosed()
    came = []
    for frame in ReplaySource(dataset, 10.0, clock=lambda: closed.now).frames(closed):
        came.append(round(closed.now, 6))
        closed.now += 0.25 if frame.number == 3 else 0.0
    assert came[:8] == [0.0, 0.1, 0.2, 0.3, 0.55, 0.55, 0.6, 0.7]


def test_a_frame_is_that_of_the_dataset() -> None:
    dataset = tiny_dataset()
    one = dataset.camera
    cameras = Camera(one.world_to_camera.repeat(12, 1, 1), one.intrinsics + torch.arange(12.0)[:, None], SIZE, SIZE)
    dataset = dataclasses.replace(dataset, numbers=dataset.numbers + 100, camera=cameras)
    frames = list(ReplaySource(dataset, 1e9).frames(threading.Event()))
    for position, frame in enumerate(frames):
        assert isinstance(frame, StreamFrame)
        batch = dataset.batch(torch.tensor([position]), torch.device("cpu"))
        assert frame.number == position + 100
        assert torch.equal(frame.image, batch.images[0])
        assert torch.equal(frame.vertices, batch.vertices[0])
        assert torch.equal(frame.code, batch.codes[0])
        assert torch.equal(frame.camera.intrinsics, batch.camera.intrinsics)


def test_closing_ends_the_wait_for_the_next_frame() -> None:
    closed, start = threading.Event(), time.monotonic()
    frames = ReplaySource(tiny_dataset(), 0.01).frames(closed)
    next(frames)
    threading.Timer(0.1, closed.set).start()
    assert list(frames) == []
    assert time.monotonic() - start < 30


def test_an_image_that_cannot_be_read_is_skipped() -> None:
    dataset = tiny_dataset()
    plain = dataset.images.read

    def read(indices: Tensor) -> Tensor:
        if indices.tolist() == [2]:
            raise DataError("00002.png is damaged")
        return plain(indices)

    dataset.images.read = read  # type: ignore[method-assign]
    frames = list(ReplaySource(dataset, 1e9).frames(threading.Event()))
    assert [frame.number for frame in frames] == list(range(12))
    assert frames[2] == SkippedFrame(2, "00002.png is damaged")
