"""Motions against what they must do: nothing where nothing changes, and the same change on another face."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.templates.base import HeadParameters, neutral_parameters
from rgbavatar.templates.motion import (
    check_frame_numbers,
    find_neutral,
    interpolate,
    nearest_rotation,
    place_as,
    smooth,
    transfer,
)

EXACT = {"atol": 1e-12, "rtol": 0.0}  # a dozen float64 roundings
ROTATIONS = ("neck", "jaw", "eyes", "root")


def turns(*shape: int, random: torch.Generator, size: float = 0.4) -> Tensor:
    return axis_angle_to_rotation(size * torch.randn(*shape, 3, generator=random, dtype=torch.float64))


def random_motion(frames: int, seed: int, expressions: int = 6) -> HeadParameters:
    random = torch.Generator().manual_seed(seed)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return HeadParameters(
        shape=draw(4),
        expression=draw(frames, expressions),
        neck=turns(frames, random=random),
        jaw=turns(frames, random=random),
        eyes=turns(frames, 2, random=random),
        eyelids=torch.rand(frames, 2, generator=random, dtype=torch.float64),
        root=turns(frames, random=random),
        translation=draw(frames, 3),
    )


def assert_same(a: HeadParameters, b: HeadParameters, **tolerance: float) -> None:
    for item in dataclasses.fields(a):
        torch.testing.assert_close(
            getattr(a, item.name), getattr(b, item.name), **(tolerance or EXACT), msg=lambda m, n=item.name: f"{n}: {m}"
        )


def test_the_neutral_frame_has_a_face_at_rest() -> None:
    motion = neutral_parameters(6, 4, 6)
    motion.expression[0, 2] = 1.0
    motion.jaw[1] = axis_angle_to_rotation(torch.tensor([0.2, 0.0, 0.0], dtype=torch.float64))
    motion.eyelids[2] = 1.0
    motion.root[3] = axis_angle_to_rotation(torch.tensor([0.0, 0.5, 0.0], dtype=torch.float64))
    motion.expression[4, 0] = 0.5
    motion.expression[5, 0] = 0.2
    motion.translation[5] = 1.0  # where the head is does not matter
    assert find_neutral(motion) == 5


def test_a_head_that_drives_itself_does_what_it_did() -> None:
    motion = random_motion(7, seed=0)
    assert_same(transfer(motion, 2, motion.select(slice(2, 3))), motion)


def test_at_the_drivers_neutral_frame_ones_own_is_seen() -> None:
    driver, own = random_motion(7, seed=1), random_motion(1, seed=2)
    moved = transfer(driver, 4, own)
    assert_same(moved.select(slice(4, 5)), own)
    assert moved.shape is own.shape


def test_the_face_stays_ones_own() -> None:
    driver, own = random_motion(2, seed=1), random_motion(1, seed=2)
    offset = torch.ones(5, 3, dtype=torch.float64)
    theirs = dataclasses.replace(driver, offset=offset)
    assert transfer(theirs, 0, own).offset is None
    assert transfer(driver, 0, dataclasses.replace(own, offset=offset)).offset is offset


def test_changes_carry_over_whatever_the_neutral_frames_are() -> None:
    driver, own = random_motion(7, seed=3), random_motion(1, seed=4)
    moved = transfer(driver, 0, own)
    torch.testing.assert_close(
        moved.expression[5] - own.expression[0], driver.expression[5] - driver.expression[0], **EXACT
    )
    torch.testing.assert_close(
        moved.translation[5] - own.translation[0], driver.translation[5] - driver.translation[0], **EXACT
    )
    for name in ROTATIONS:
        ours = getattr(moved, name)[5] @ getattr(own, name)[0].mT
        theirs = getattr(driver, name)[5] @ getattr(driver, name)[0].mT
        torch.testing.assert_close(ours, theirs, **EXACT)
    assert moved.eyelids.min() >= 0.0
    assert moved.eyelids.max() <= 1.0


def test_coefficients_that_the_driver_lacks_stay_ones_own() -> None:
    driver, own = random_motion(3, seed=5, expressions=4), random_motion(1, seed=6)
    moved = transfer(driver, 0, own)
    assert torch.equal(moved.expression[:, 4:], own.expression[:, 4:].expand(3, -1))
    with pytest.raises(DataError, match="6 expression coefficients, expected at most 4"):
        transfer(own, 0, driver.select(slice(0, 1)))


def test_a_head_may_stand_where_the_drivers_did() -> None:
    driver, own = random_motion(3, seed=5), random_motion(1, seed=6)
    placed = place_as(transfer(driver, 0, own), driver)
    assert torch.equal(placed.root, driver.root)
    assert torch.equal(placed.translation, driver.translation)


def test_smoothing_leaves_a_still_head_alone_and_calms_a_shaking_one() -> None:
    still = random_motion(1, seed=7).select(torch.zeros(9, dtype=torch.int64))
    assert_same(smooth(still, 2.0), still, atol=1e-9, rtol=0.0)
    shaking = random_motion(40, seed=8)
    calm = smooth(shaking, 2.0)
    for name in ("expression", "translation", "eyelids"):
        assert getattr(calm, name).diff(dim=0).abs().mean() < 0.3 * getattr(shaking, name).diff(dim=0).abs().mean()
    for name in ROTATIONS:
        rotation = getattr(calm, name)
        torch.testing.assert_close(
            rotation @ rotation.mT, torch.eye(3, dtype=torch.float64).expand_as(rotation), **EXACT
        )
        assert rotation.diff(dim=0).abs().mean() < 0.5 * getattr(shaking, name).diff(dim=0).abs().mean()
    assert smooth(shaking, 0.0) is shaking


def test_smoothing_does_not_reach_far() -> None:
    motion = random_motion(30, seed=9)
    other = dataclasses.replace(motion, expression=motion.expression.clone())
    other.expression[20] += 5.0
    changed = (smooth(motion, 2.0).expression - smooth(other, 2.0).expression).abs().sum(dim=1) > 0
    assert changed.nonzero().flatten().tolist() == list(range(14, 27))


def test_ways_between_frames_begin_and_end_there_in_equal_steps() -> None:
    motion = random_motion(6, seed=10)
    way = interpolate(motion, [1, 4, 2], 8)
    assert len(way) == 17
    for step, frame in ((0, 1), (8, 4), (16, 2)):
        assert_same(way.select(slice(step, step + 1)), motion.select(slice(frame, frame + 1)))
    steps = way.expression[:9].diff(dim=0)
    torch.testing.assert_close(steps, steps[:1].expand_as(steps), **EXACT)


def test_half_way_between_two_turns_is_half_of_the_turn() -> None:
    a, b = (axis_angle_to_rotation(torch.tensor([0.0, angle, 0.0], dtype=torch.float64)) for angle in (0.2, 1.0))
    between = axis_angle_to_rotation(torch.tensor([0.0, 0.6, 0.0], dtype=torch.float64))
    torch.testing.assert_close(nearest_rotation(0.5 * (a + b)), between, **EXACT)


def test_the_nearest_rotation_is_no_mirror() -> None:
    matrix = torch.randn(50, 3, 3, generator=torch.Generator().manual_seed(11), dtype=torch.float64)
    torch.testing.assert_close(torch.linalg.det(nearest_rotation(matrix)), torch.ones(50, dtype=torch.float64), **EXACT)


def test_frame_numbers_that_are_not_there_are_named() -> None:
    assert check_frame_numbers([5, 6, 8], [8, 5], "--between") == [2, 0]
    with pytest.raises(DataError, match="--between: found no frame 7, expected one of 5 to 8"):
        check_frame_numbers([5, 6, 8], [7], "--between")
