"""Steps that are as large as the frames allow."""

from __future__ import annotations

import dataclasses

import pytest

from rgbavatar.config import Config, OptimizerConfig
from rgbavatar.training.optimizer import Pace, learning_rates
from rgbavatar.training.schedule import ImageSchedule, StreamSchedule

CONFIG = dataclasses.replace(
    Config(), online=dataclasses.replace(Config().online, steps_per_frame=6.0, mean_decay_frames=100)
)


def scales(steps_per_frame: int, frames: int) -> list[list[float]]:
    """The scales of the steps that a machine takes on each frame."""
    schedule, found = StreamSchedule(CONFIG, 0.0), []
    for _ in range(frames):
        schedule.frame_came()
        found.append([schedule.next(0).scale for _ in range(steps_per_frame)])
    return found


def test_the_published_schedule_falls_with_the_images_alone() -> None:
    schedule = ImageSchedule(Config())
    assert [schedule.next(images) for images in (0, 15_000, 60_000)] == [Pace(0.0), Pace(0.5), Pace(1.0)]


def test_a_slow_machine_takes_full_steps() -> None:
    assert all(scale == 1.0 for frame in scales(3, 100)[15:] for scale in frame)


@pytest.mark.parametrize("steps", [12, 34, 200])
def test_a_fast_machine_takes_smaller_ones_that_come_to_as_much(steps: int) -> None:
    found = scales(steps, 100)
    total = sum(sum(frame) for frame in found)
    assert 6.0 * 100 - 40.0 <= total <= 6.0 * 100
    assert sum(sum(frame) for frame in found[50:]) == pytest.approx(6.0 * 50, rel=1e-3)


def test_steps_shrink_to_nothing_while_no_frame_comes() -> None:
    schedule = StreamSchedule(CONFIG, 0.0)
    for _ in range(10):
        schedule.frame_came()
    found = [schedule.next(0).scale for _ in range(2_000)]
    assert found == sorted(found, reverse=True)
    assert found[-1] < 1e-6
    schedule.frame_came()
    assert schedule.next(0).scale == pytest.approx(6.0 / 40.0)


def test_the_means_rate_falls_with_the_frames_and_then_with_the_images() -> None:
    schedule = StreamSchedule(CONFIG, 0.25)
    for _ in range(50):
        schedule.frame_came()
    assert schedule.progress(10**6) == pytest.approx(0.75)
    schedule.stream_ended(10**6)
    assert schedule.progress(10**6 + 3_000) == pytest.approx(0.85)
    assert schedule.progress(10**7) == 1.0


def test_the_scale_stays_as_it_was_after_the_stream() -> None:
    schedule = StreamSchedule(CONFIG, 0.0)
    for _ in range(50):
        schedule.frame_came()
        for _ in range(24):
            schedule.next(0)
    schedule.stream_ended(0)
    after = [schedule.next(images).scale for images in range(100)]
    assert after == [after[0]] * 100
    assert after[0] == pytest.approx(0.25, abs=0.05)


def test_all_rates_are_scaled() -> None:
    full, half = (learning_rates(OptimizerConfig(), Pace(0.3, scale)) for scale in (1.0, 0.5))
    assert half == {name: 0.5 * rate for name, rate in full.items()}


def test_the_network_fades_the_less_the_more_frames_have_come() -> None:
    online = dataclasses.replace(CONFIG.online, network_decay=0.02, network_decay_frames=200)
    schedule, found = StreamSchedule(dataclasses.replace(CONFIG, online=online), 0.0), []
    for _ in range(800):
        schedule.frame_came()
        found.append(schedule.network_decay)
    assert [found[n - 1] for n in (1, 200, 400, 800)] == pytest.approx([0.02, 0.02, 0.01, 0.005])
