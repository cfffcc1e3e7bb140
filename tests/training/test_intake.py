"""Neither waits for the other: the source for training, training for the source."""

from __future__ import annotations

import threading
from collections.abc import Iterable

import pytest

from rgbavatar.datasets.stream import SkippedFrame
from rgbavatar.errors import DataError
from rgbavatar.training.intake import FrameIntake
from tests.helpers.streams import Item, ScriptedSource, frame_of
from tests.helpers.tiny_subject import tiny_dataset

DATASET = tiny_dataset()


def source_of(items: Iterable[Item]) -> ScriptedSource:
    return ScriptedSource(DATASET.template, iter(items))


def wait_for_end(intake: FrameIntake) -> None:
    intake._thread.join(30)
    assert not intake._thread.is_alive()


def test_frames_are_handed_on_in_their_order_once() -> None:
    with FrameIntake(source_of(frame_of(DATASET, i) for i in range(5)), capacity=8) as intake:
        wait_for_end(intake)
        assert not intake.has_ended
        assert [frame.number for frame in intake.take()] == [0, 1, 2, 3, 4]
        assert intake.take() == []
    assert intake.has_ended
    assert (intake.arrived, intake.dropped, intake.skipped) == (5, 0, 0)


def test_a_live_source_is_never_held_up_and_the_oldest_frames_are_dropped() -> None:
    with FrameIntake(source_of(frame_of(DATASET, i, can_wait=False) for i in range(10)), capacity=4) as intake:
        wait_for_end(intake)  # though nobody takes a frame
        assert [frame.number for frame in intake.take()] == [6, 7, 8, 9]
    assert (intake.arrived, intake.dropped) == (10, 6)


def test_frames_that_can_wait_are_not_dropped() -> None:
    taken: list[int] = []
    with FrameIntake(source_of(frame_of(DATASET, i) for i in range(50)), capacity=4) as intake:
        while not intake.has_ended:
            assert intake.wait(30)
            frames = intake.take()
            assert len(frames) <= 4
            taken += [frame.number for frame in frames]
    assert taken == list(range(50))
    assert intake.dropped == 0


def test_broken_frames_are_counted_and_told() -> None:
    items = [frame_of(DATASET, 0), SkippedFrame(1, "00001.png: is broken"), frame_of(DATASET, 2)]
    with FrameIntake(source_of(items), capacity=4) as intake:
        wait_for_end(intake)
        assert [frame.number for frame in intake.take()] == [0, 2]
    assert (intake.arrived, intake.skipped, list(intake.problems)) == (2, 1, ["00001.png: is broken"])


def test_a_source_that_dies_ends_the_stream_and_says_why() -> None:
    with FrameIntake(source_of([frame_of(DATASET, 0), DataError("the camera has gone")]), capacity=4) as intake:
        wait_for_end(intake)
        assert len(intake.take()) == 1
        assert intake.has_ended
    assert "the camera has gone" in str(intake.failure)


def test_waiting_ends_when_a_frame_comes() -> None:
    gate = threading.Event()
    items: list[Item] = [lambda: gate.wait(30) and None, frame_of(DATASET, 0)]
    with FrameIntake(source_of(items), capacity=4) as intake:
        assert not intake.wait(0.05)
        gate.set()
        assert intake.wait(30)


@pytest.mark.parametrize("taken", [0, 3])
def test_leaving_ends_the_thread_though_the_source_waits_for_room(taken: int) -> None:
    source = source_of(frame_of(DATASET, i) for i in range(1_000))
    with FrameIntake(source, capacity=2) as intake:
        while intake.arrived < taken:
            intake.wait(1)
            intake.take()
    wait_for_end(intake)
    assert intake.arrived < 1_000
