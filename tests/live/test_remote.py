"""A live source in a process of its own gives the same frames, and ends with whoever began it."""

from __future__ import annotations

import threading
from functools import partial
from pathlib import Path

import pytest
import torch

from rgbavatar.datasets.stream import StreamFrame
from rgbavatar.errors import DataError
from rgbavatar.live import remote
from rgbavatar.live.remote import RemoteSource
from rgbavatar.viewer.frames import CameraSight
from tests.helpers.live_camera import FRAMES, broken_source, make_source, template


@pytest.fixture(autouse=True)
def not_nicer(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process of the tests stays as it is."""
    monkeypatch.setattr(remote.os, "nice", lambda step: 0)


def test_frames_sight_and_report_come_through(tmp_path: Path) -> None:
    told: list[str] = []
    source = RemoteSource("one", template(), partial(make_source, tmp_path / "one"), told.append)
    assert isinstance(source, CameraSight)
    frames = [frame for frame in source.frames(threading.Event()) if isinstance(frame, StreamFrame)]
    assert len(frames) == FRAMES
    assert frames[0].image.dtype == torch.uint8
    assert frames[0].image.shape[2] == 4
    assert [frame.number for frame in frames] == list(range(len(frames)))
    picture = source.camera_picture()
    assert picture is not None
    assert picture.shape[2] == 3
    assert "tracked" in source.camera_status()
    source.close()
    source.close()
    assert any("trained on" in line for line in told)
    assert any(line.startswith(f"recorded: {len(frames)} frames") for line in told)
    assert len(list((tmp_path / "one" / "images").iterdir())) == len(frames)
    assert not source._process.is_alive()


def test_what_is_wrong_with_a_source_is_raised_where_it_is_opened() -> None:
    with pytest.raises(DataError, match="is not plugged in"):
        RemoteSource("one", template(), broken_source, lambda line: None)


def test_what_ends_the_stream_is_raised_where_its_frames_are_taken() -> None:
    source = RemoteSource("one", template(), partial(make_source, count=9), lambda line: None)
    with pytest.raises(DataError, match="ended before a face was seen"):
        list(source.frames(threading.Event()))
    source.close()
    assert not source._process.is_alive()


def test_a_process_that_dies_is_told() -> None:
    source = RemoteSource("one", template(), partial(make_source, slowness=20.0), lambda line: None)
    threading.Timer(0.5, source._process.kill).start()
    with pytest.raises(DataError, match="process has ended by itself"):
        list(source.frames(threading.Event()))
    source.close()


def test_closing_ends_the_process_whether_it_has_begun_or_not() -> None:
    source = RemoteSource("one", template(), make_source, lambda line: None)
    source.close()
    assert not source._process.is_alive()
    source = RemoteSource("one", template(), partial(make_source, slowness=20.0), lambda line: None)
    closed = threading.Event()
    threading.Timer(0.3, closed.set).start()
    assert list(source.frames(closed)) == []
    source.close()
    assert not source._process.is_alive()
