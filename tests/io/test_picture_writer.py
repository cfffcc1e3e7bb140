"""Many pictures: every one of them, or an error."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rgbavatar.errors import OutputError
from rgbavatar.io import picture_writer
from rgbavatar.io.picture_writer import write_pictures


def pictures(count: int) -> Iterator[tuple[int, np.ndarray]]:
    for number in range(count):
        yield number, np.full((5, 6, 3), number % 256, np.uint8)


def test_all_pictures_are_there(tmp_path: Path) -> None:
    assert write_pictures(tmp_path / "new", pictures(300)) == 300
    for number, picture in pictures(300):
        assert np.array_equal(np.asarray(Image.open(tmp_path / "new" / f"{number:05d}.png")), picture)


def test_pictures_that_wait_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain, written = picture_writer._write, []

    def save(path: Path, picture: np.ndarray) -> None:
        plain(path, picture)
        written.append(path)

    def watched() -> Iterator[tuple[int, np.ndarray]]:
        for number, picture in pictures(400):
            assert number - len(written) <= picture_writer._HELD_PER_THREAD * 8 + 8 + 1
            yield number, picture

    monkeypatch.setattr(picture_writer, "_write", save)
    write_pictures(tmp_path, watched())
    assert len(written) == 400


def test_a_full_disk_is_told_and_ends_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flush, calls, asked = os.fsync, [], []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 20:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    def watched() -> Iterator[tuple[int, np.ndarray]]:
        for number, picture in pictures(10_000):
            asked.append(number)
            yield number, picture

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        write_pictures(tmp_path, watched())
    assert len(asked) < 500
    assert not list(tmp_path.glob(".*.partial*"))
    assert all(Image.open(path).size == (6, 5) for path in tmp_path.glob("*.png"))


def test_an_error_of_what_makes_the_pictures_is_raised(tmp_path: Path) -> None:
    def broken() -> Iterator[tuple[int, np.ndarray]]:
        yield from pictures(3)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        write_pictures(tmp_path, broken())
