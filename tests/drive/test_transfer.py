"""An avatar driven frame by frame does what offline reenactment has it do."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from rgbavatar.datasets.features import compute_features, join_frames
from rgbavatar.datasets.recorded import load_tracking
from rgbavatar.drive.transfer import LiveTransfer, open_own_face
from rgbavatar.errors import DataError
from rgbavatar.templates.motion import find_neutral, smooth, transfer
from tests.drive.conftest import Driven
from tests.helpers.live_camera import RATE, template, true_frames

FRAMES = true_frames()[:30]


def test_frames_are_carried_over_as_offline(driven: Driven) -> None:
    own = load_tracking(driven.run.path.parents[2] / "subjects" / "one", template())
    place = find_neutral(own.motion)
    driver = join_frames(FRAMES)
    moved = transfer(driver, find_neutral(driver), own.motion.select(slice(place, place + 1)))
    vertices, codes = compute_features(template(), moved)
    live = LiveTransfer(driven.own(), smoothing=0.0)
    live.find_rest(FRAMES)
    for i in (0, 7, 22):
        found, code = live.carry(i / RATE, FRAMES[i])
        assert (found[0] - vertices[i]).abs().max() < 1e-6
        assert (code[0] - codes[i]).abs().max() < 1e-6


def test_a_driver_at_rest_leaves_the_avatar_at_rest_wherever_the_driver_is(driven: Driven) -> None:
    own = driven.own()
    live = LiveTransfer(own, smoothing=0.0)
    there = replace(FRAMES[4], translation=FRAMES[4].translation + 0.2)
    live.find_rest([there])
    found, code = live.carry(0.0, there)
    vertices, expected = compute_features(own.template, own.neutral)
    assert (found - vertices).abs().max() < 1e-6
    assert (code - expected).abs().max() < 1e-6


def test_smoothing_looks_back_and_no_further(driven: Driven) -> None:
    seconds, moves = 0.1, [FRAMES[5 * (i % 2)] for i in range(20)]  # to and fro
    steady, plain = LiveTransfer(driven.own(), seconds), LiveTransfer(driven.own(), 0.0)
    for live in (steady, plain):
        live.find_rest(FRAMES[:1])
    smoothed = torch.cat([steady.carry(i / RATE, frame)[0] for i, frame in enumerate(moves)])
    raw = torch.cat([plain.carry(i / RATE, frame)[0] for i, frame in enumerate(moves)])
    assert (smoothed[1:] - smoothed[:-1])[8:].abs().mean() < 0.4 * (raw[1:] - raw[:-1])[8:].abs().mean()
    assert len(steady._past) == 10  # three standard deviations
    expected = smooth(join_frames(moves[10:]), seconds * RATE).expression[-1]
    assert torch.allclose(steady._smoothed(20 / RATE, moves[0]).expression[0], expected, atol=0.1)
    steady.restart()
    again, _ = steady.carry(30 / RATE, moves[1])
    assert torch.allclose(again, raw[1:2], atol=1e-7)


def test_the_frame_at_rest_can_be_named(driven: Driven) -> None:
    chosen = open_own_face(driven.config, "one", template(), 5)
    own = load_tracking(driven.run.path.parents[2] / "subjects" / "one", template())
    assert torch.equal(chosen.neutral.expression[0], own.motion.expression[5])
    with pytest.raises(DataError, match="--neutral: found no frame 5000"):
        open_own_face(driven.config, "one", template(), 5000)


def test_a_missing_subject_is_told_with_what_to_do(driven: Driven) -> None:
    with pytest.raises(DataError, match=r"--set dataset\.data_dir=DIR"):
        open_own_face(driven.config, "nobody", template(), None)
