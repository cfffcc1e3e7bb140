"""A folder that a tracker is still writing: what is whole is taken, what is half-written waited for, what is broken skipped."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.datasets.layouts import INSTA
from rgbavatar.datasets.recorded import load_recorded
from rgbavatar.datasets.stream import SkippedFrame, StreamFrame
from rgbavatar.datasets.watch import END_FILE, WatchSource
from rgbavatar.errors import DataError
from tests.datasets.subjects import frame_content, noise, small_template, write_frame, write_png, write_subject

PATIENCE, STALL = 0.3, 1.0
SOON = 30.0  # seconds within which a busy machine has done what takes milliseconds
Item = StreamFrame | SkippedFrame


@pytest.fixture
def live(tmp_path: Path) -> Path:
    """The folder that is watched, empty at first."""
    folder = tmp_path / "live"
    for part in ("images", "checkpoint"):
        (folder / part).mkdir(parents=True)
    return folder


@pytest.fixture
def recorded(tmp_path: Path) -> Path:
    return write_subject(tmp_path / "recorded", range(8))


def names(number: int) -> tuple[str, str]:
    return f"images/{number:05d}.png", f"checkpoint/{number:05d}.frame"


def copy_pair(recorded: Path, live: Path, number: int) -> None:
    for name in names(number):
        shutil.copy(recorded / name, live / name)


def end(live: Path) -> None:
    (live / END_FILE).touch()


class Watcher:
    """Collects what a source hands out, in a thread, as training's intake does."""

    def __init__(self, live: Path, **options: Any) -> None:
        self.items: list[Item] = []
        self.error: Exception | None = None
        self._closed = threading.Event()
        self._source = WatchSource(
            live, **({"template": small_template(), "layout": INSTA, "patience": PATIENCE, "stall": STALL} | options)
        )
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watcher:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._closed.set()
        self._thread.join(SOON)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            for item in self._source.frames(self._closed):
                self.items.append(item)
        except DataError as error:
            self.error = error

    def until(self, count: int) -> list[int]:
        """The numbers, once there are so many."""
        wait_until(lambda: len(self.items) >= count)
        return [item.number for item in self.items]

    def at_end(self) -> list[Item]:
        self._thread.join(SOON)
        assert not self._thread.is_alive()
        return self.items


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_pairs_are_taken_as_they_come_and_are_those_of_the_recorded_subject(recorded: Path, live: Path) -> None:
    dataset = load_recorded(recorded, small_template(), preload=True, pin_memory=False)
    with Watcher(live, stall=SOON) as watcher:
        for number in range(8):
            copy_pair(recorded, live, number)
            assert watcher.until(number + 1) == list(range(number + 1))
        end(live)
        items = watcher.at_end()
    for position, frame in enumerate(items):
        assert isinstance(frame, StreamFrame)
        assert torch.equal(frame.image, dataset.images.read(torch.tensor([position]))[0])
        torch.testing.assert_close(frame.vertices, dataset.vertices[position], rtol=0, atol=1e-6)
        torch.testing.assert_close(frame.code, dataset.codes[position], rtol=0, atol=1e-6)
        assert torch.equal(frame.camera.intrinsics[0], dataset.camera.intrinsics[0])
        assert (frame.camera.width, frame.camera.height) == (dataset.camera.width, dataset.camera.height)
    stamps = [item.stamp for item in items if isinstance(item, StreamFrame)]
    assert stamps[0] == 0.0
    assert stamps == sorted(stamps)


@pytest.mark.parametrize("part", [0, 1])
def test_a_half_written_file_is_waited_for(recorded: Path, live: Path, part: int) -> None:
    copy_pair(recorded, live, 0)
    whole = (recorded / names(1)[part]).read_bytes()
    shutil.copy(recorded / names(1)[1 - part], live / names(1)[1 - part])
    with Watcher(live, patience=SOON, stall=SOON) as watcher:
        watcher.until(1)
        with (live / names(1)[part]).open("wb", buffering=0) as file:
            piece = -(-len(whole) // 7)
            for begin in range(0, len(whole), piece):
                assert len(watcher.items) == 1
                file.write(whole[begin : begin + piece])
                time.sleep(0.02)
        assert watcher.until(2) == [0, 1]
        assert all(isinstance(item, StreamFrame) for item in watcher.items)


def test_a_partner_that_comes_later_is_waited_for(recorded: Path, live: Path) -> None:
    shutil.copy(recorded / names(0)[0], live / names(0)[0])
    with Watcher(live, patience=SOON, stall=SOON) as watcher:
        time.sleep(0.1)
        assert watcher.items == []
        shutil.copy(recorded / names(0)[1], live / names(0)[1])
        assert watcher.until(1) == [0]


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-20])


def other_size(path: Path) -> None:
    write_png(path, noise(0)[:, :-2])


def other_person(path: Path) -> None:
    content = frame_content(3)
    content["flame"]["shape"] = content["flame"]["shape"] + 1
    write_frame(path, content)


@pytest.mark.parametrize(
    ("damage", "part", "reason"),
    [
        (truncate, 0, "truncated"),
        (truncate, 1, "00003.frame"),
        (other_size, 0, "image size"),
        (other_person, 1, "identity differs"),
    ],
)
def test_a_broken_frame_is_skipped_and_named(
    recorded: Path, live: Path, damage: Callable[[Path], None], part: int, reason: str
) -> None:
    for number in range(6):
        copy_pair(recorded, live, number)
    damage(live / names(3)[part])
    end(live)
    with Watcher(live) as watcher:
        items = watcher.at_end()
    assert [item.number for item in items] == list(range(6))
    broken = [item for item in items if isinstance(item, SkippedFrame)]
    assert [item.number for item in broken] == [3]
    assert reason in broken[0].reason
    assert "\n" not in broken[0].reason


def test_a_number_that_never_comes_is_passed_over(recorded: Path, live: Path) -> None:
    for number in (2, 3, 5, 6):
        copy_pair(recorded, live, number)
    end(live)
    with Watcher(live) as watcher:
        items = watcher.at_end()
    assert [(item.number, isinstance(item, SkippedFrame)) for item in items] == [
        (2, False), (3, False), (4, True), (5, False), (6, False),
    ]  # fmt: skip
    assert "00004.png: did not come" in items[2].reason  # type: ignore[union-attr]


def test_a_stream_in_which_nothing_comes_any_more_has_ended(recorded: Path, live: Path) -> None:
    copy_pair(recorded, live, 0)
    shutil.copy(recorded / names(1)[0], live / names(1)[0])  # the tracker died before the second file
    with Watcher(live) as watcher:
        assert [item.number for item in watcher.at_end()] == [0]
        assert watcher.error is None


def test_a_folder_in_which_nothing_ever_comes_ends_too(live: Path) -> None:
    shutil.rmtree(live / "images")  # not made yet
    with Watcher(live, stall=0.2) as watcher:
        assert watcher.at_end() == []


def test_a_folder_that_goes_breaks_the_stream_off(recorded: Path, live: Path) -> None:
    copy_pair(recorded, live, 0)
    with Watcher(live, stall=SOON) as watcher:
        watcher.until(1)
        shutil.rmtree(live)
        assert len(watcher.at_end()) == 1
        assert "has gone" in str(watcher.error)


def test_frames_that_were_there_before_can_wait_and_live_ones_cannot(recorded: Path, live: Path) -> None:
    for number in range(3):
        copy_pair(recorded, live, number)
    with Watcher(live, stall=SOON) as watcher:
        watcher.until(3)
        copy_pair(recorded, live, 3)
        watcher.until(4)
    assert [item.can_wait for item in watcher.items if isinstance(item, StreamFrame)] == [True, True, True, False]


def test_a_template_that_does_not_fit_ends_the_stream_at_once(recorded: Path, live: Path) -> None:
    content = frame_content(0)
    content["flame"]["exp"] = np.zeros((1, 500), np.float32)
    copy_pair(recorded, live, 0)
    write_frame(live / names(0)[1], content)
    with Watcher(live) as watcher:
        assert watcher.at_end() == []
    assert "00000.frame" in str(watcher.error)
    assert "template.path" in str(watcher.error)


def test_a_folder_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such folder"):
        WatchSource(tmp_path / "nowhere", small_template(), INSTA, PATIENCE, STALL)


def test_numbers_beyond_five_digits_go_on(recorded: Path, live: Path) -> None:
    for number, source in ((99_999, 0), (100_000, 1)):
        for there, here in zip(names(source), names(number), strict=True):
            shutil.copy(recorded / there, live / here)
    end(live)
    with Watcher(live) as watcher:
        assert [item.number for item in watcher.at_end()] == [99_999, 100_000]


def test_other_files_are_left_alone(recorded: Path, live: Path) -> None:
    copy_pair(recorded, live, 0)
    (live / "images" / "notes.txt").write_text("x")
    cv2.imwrite(str(live / "images" / "preview.png"), np.zeros((4, 4, 3), np.uint8))
    end(live)
    with Watcher(live) as watcher:
        assert [item.number for item in watcher.at_end()] == [0]
