"""The made-up motion stays within what it promises."""

from __future__ import annotations

import math

import pytest
import torch

from rgbavatar.datasets.synthetic_motion import MAX_JAW, MAX_SHIFT, MAX_TURN, make_motion


@pytest.mark.parametrize("seed", range(3))
def test_it_stays_within_its_limits(seed: int) -> None:
    motion = make_motion(650, seed, 300, 100)
    assert len(motion) == 650
    eye = torch.eye(3, dtype=torch.float64).expand(650, 3, 3)
    torch.testing.assert_close(motion.root @ motion.root.mT, eye)
    yaw = torch.atan2(motion.root[:, 0, 2], motion.root[:, 2, 2]).abs().max().item()
    assert 0.6 * MAX_TURN[1] < yaw <= MAX_TURN[1] + 1e-9
    assert (motion.translation.abs() <= torch.tensor(MAX_SHIFT)).all()
    opening = torch.atan2(motion.jaw[:, 2, 1], motion.jaw[:, 1, 1])
    assert opening.min() >= 0
    assert 0.5 * MAX_JAW < opening.max() <= MAX_JAW
    assert motion.eyelids.min() >= 0
    assert 0.9 < motion.eyelids.max() <= 1


def test_it_is_smooth() -> None:
    motion = make_motion(300, 0, 300, 100)
    turned = torch.linalg.matrix_norm(motion.root[1:] - motion.root[:-1]).max().item() / math.sqrt(2)
    assert turned < math.radians(4)  # in a 25th of a second
    assert (motion.expression[1:] - motion.expression[:-1]).abs().max() < 0.15


def test_a_longer_motion_begins_like_a_shorter_one() -> None:
    short, long = make_motion(40, 3, 300, 100), make_motion(90, 3, 300, 100)
    for name in ("shape", "expression", "jaw", "eyes", "eyelids", "root", "translation"):
        found = getattr(long, name)
        torch.testing.assert_close(found if name == "shape" else found[:40], getattr(short, name))


def test_it_leaves_the_global_generator_alone() -> None:
    before = torch.get_rng_state()
    make_motion(10, 0, 300, 100)
    assert torch.equal(torch.get_rng_state(), before)
