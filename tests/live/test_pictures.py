"""The newest picture is handed out, older ones are missed, and the end of a camera ends the pictures."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rgbavatar.errors import DataError
from rgbavatar.live.pictures import NewestPictures
from rgbavatar.track.video import VideoFrame

PICTURE = np.zeros((2, 2, 3), np.uint8)


class Scripted:
    """Gives pictures at once, but calls what stands between them."""

    name, count = "scripted", None

    def __init__(self, *script: int | Callable[[], object]) -> None:
        self._script = script

    def __iter__(self) -> Iterator[VideoFrame]:
        for step in self._script:
            if callable(step):
                step()
            else:
                yield VideoFrame(step, step / 10, PICTURE)


def numbers(pictures: NewestPictures, each: Callable[[], object] = lambda: None) -> list[int]:
    found = []
    for frame in pictures.frames(threading.Event()):
        found.append(frame.number)
        each()
    return found


def test_who_is_slow_misses_pictures_but_never_the_newest() -> None:
    taken, used = threading.Event(), threading.Event()
    pictures = NewestPictures(Scripted(0, lambda: taken.wait(5), 1, 2, 3, used.set))
    found = []
    for frame in pictures.frames(threading.Event()):
        found.append(frame.number)
        taken.set()
        assert used.wait(5)
    assert found == [0, 3]
    assert (pictures.came, pictures.missed) == (4, 2)


def test_a_picture_knows_when_it_was_taken() -> None:
    before = time.perf_counter()
    [frame] = NewestPictures(Scripted(7)).frames(threading.Event())
    assert before <= frame.taken <= time.perf_counter()


def test_what_a_camera_raises_is_raised_after_its_last_picture() -> None:
    def unplug() -> None:
        raise DataError("camera:0: unplugged")

    pictures = NewestPictures(Scripted(5, unplug))
    found = pictures.frames(threading.Event())
    assert next(found).number == 5
    with pytest.raises(DataError, match="unplugged"):
        next(found)


def test_a_camera_without_pictures_ends_at_once() -> None:
    assert numbers(NewestPictures(Scripted())) == []


def test_closing_ends_a_camera_that_says_nothing() -> None:
    closed, release = threading.Event(), threading.Event()
    pictures = NewestPictures(Scripted(release.wait, 0))
    threading.Timer(0.1, closed.set).start()
    begin = time.monotonic()
    assert list(pictures.frames(closed)) == []
    assert time.monotonic() - begin < 3
    release.set()
