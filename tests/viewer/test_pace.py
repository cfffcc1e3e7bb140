"""Pictures shrink until they come fast enough, and a sequence plays by the clock."""

from __future__ import annotations

import pytest

from rgbavatar.viewer.controls import Settings
from rgbavatar.viewer.frames import AS_RECORDED
from rgbavatar.viewer.overlay import Overlay
from rgbavatar.viewer.pace import LEVELS, MOVING_RATE, Pace, Rate
from rgbavatar.viewer.playback import Playback


@pytest.mark.parametrize(("fixed", "whole"), [(0.005, 0.4), (0.01, 0.1), (0.002, 0.02), (0.02, 5.0)])
def test_the_pace_finds_a_size_that_comes_in_time_and_stays(fixed: float, whole: float) -> None:
    pace, shares = Pace(), []
    for _ in range(100):
        pace.note(fixed + whole * pace.pixel_share)
        shares.append(pace.pixel_share)
    assert len(set(shares[-50:])) == 1
    seconds = fixed + whole * shares[-1]
    assert seconds <= 1.2 / MOVING_RATE or shares[-1] == 0.5 ** (LEVELS - 1)
    assert shares[-1] == 1.0 or seconds > 0.4 / MOVING_RATE


def test_a_single_slow_picture_changes_nothing() -> None:
    pace = Pace()
    before = pace.pixel_share
    for seconds in (0.03, 0.5, 0.03, 0.5, 0.03):
        pace.note(seconds)
    assert pace.pixel_share == before


def test_a_rate_counts_while_events_come() -> None:
    rate = Rate()
    assert rate.per_second == 0.0
    for i in range(40):
        rate.note(10.0 + 0.05 * i)
    assert rate.per_second == pytest.approx(20.0)
    rate.note(30.0)
    assert rate.per_second == 0.0


def settings(number: int, plays: bool, fps: float = 10.0) -> Settings:
    return Settings(number, plays, fps, AS_RECORDED, (), False, 1.0, (0.0, 0.0, 0.0), Overlay.NONE)


def test_a_sequence_plays_by_the_clock_from_the_chosen_frame_and_starts_over() -> None:
    playback, chosen, shown = Playback(), 7, []
    for i in range(8):
        chosen = playback.position(100.0 + 0.1001 * i, settings(0, True), chosen, 10)
        shown.append(chosen)
    assert shown == [7, 8, 9, 0, 1, 2, 3, 4]
    assert playback.next_in(100.7) == pytest.approx(0.1)
    assert playback.next_in(100.9) < 0.0
    assert playback.position(103.02, settings(0, True), chosen, 10) == 7  # frames are left out where time has gone by


def test_moving_the_slider_while_playing_goes_on_from_there() -> None:
    playback = Playback()
    chosen = playback.position(0.0, settings(0, True), 2, 100)
    chosen = playback.position(1.05, settings(0, True), chosen, 100)
    assert chosen == 12
    assert playback.position(1.1, settings(0, True), 50, 100) == 50
    assert playback.position(1.35, settings(0, True), 50, 100) == 52
    assert playback.position(1.4, settings(0, False), 52, 100) == 52
