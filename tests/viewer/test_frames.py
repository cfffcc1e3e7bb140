"""Frames as recorded, and what sliders change in them."""

from __future__ import annotations

import math

import pytest
import torch

from rgbavatar.viewer.frames import AS_RECORDED, Offsets
from tests.viewer.conftest import FRAMES, Small


def test_without_offsets_a_frame_is_the_recorded_one(small: Small) -> None:
    for position in (0, 7, FRAMES - 1):
        pose = small.poses.pose(position, AS_RECORDED)
        assert torch.equal(pose.vertices[0], small.dataset.vertices[position])
        assert torch.equal(pose.code[0], small.dataset.codes[position])
        assert pose.number == int(small.dataset.numbers[position])
    assert torch.equal(small.poses.codes, small.dataset.codes)


def test_zero_offsets_that_are_spelled_out_change_nothing_either(small: Small) -> None:
    pose = small.poses.pose(5, Offsets(expression=(0.0,) * 10))
    assert torch.equal(pose.vertices[0], small.dataset.vertices[5])
    assert torch.equal(pose.code[0], small.dataset.codes[5])


@pytest.mark.parametrize(
    ("offsets", "part"),
    [
        (Offsets(expression=(0.0, 1.5)), "expression"),
        (Offsets(jaw=(0.3, 0.0, 0.0)), "jaw"),
        (Offsets(eyes=(0.0, 0.2, 0.0)), "eyes"),
        (Offsets(eyelids=(0.0, 0.7)), "eyelids"),
        (Offsets(neck=(0.0, 0.4, 0.0)), "neck"),
    ],
)
def test_an_offset_changes_its_part_of_the_code_and_moves_the_mesh(small: Small, offsets: Offsets, part: str) -> None:
    layout = small.dataset.template.code_layout
    pose, before = small.poses.pose(3, offsets), small.poses.pose(3, AS_RECORDED)
    changed = {name for name, where in layout.items() if not torch.equal(pose.code[:, where], before.code[:, where])}
    assert changed == {part}
    moved = (pose.vertices - before.vertices).norm(dim=-1).max()
    assert 1e-4 < moved < 0.2


def test_an_expression_offset_adds_to_the_coefficients(small: Small) -> None:
    pose, before = small.poses.pose(3, Offsets(expression=(0.5, -1.0))), small.poses.pose(3, AS_RECORDED)
    change = (pose.code - before.code)[0, small.dataset.template.code_layout["expression"]]
    assert change[:2].tolist() == pytest.approx([0.5, -1.0], abs=1e-6)
    assert not change[2:].any()


def test_an_open_jaw_lowers_the_chin_and_leaves_the_skull(small: Small) -> None:
    before = small.poses.pose(0, AS_RECORDED).vertices[0]
    moved = small.poses.pose(0, Offsets(jaw=(math.radians(20.0), 0.0, 0.0))).vertices[0] - before
    lowest = moved[:, 1].argmin()
    assert moved[lowest, 1] < -0.005
    assert before[lowest, 1] < before[:, 1].mean()
    top = before[:, 1].topk(50).indices
    assert moved[top].norm(dim=-1).max() < 1e-6


def test_poses_are_kept_but_not_without_end(small: Small) -> None:
    for i in range(600):
        small.poses.pose(0, Offsets(jaw=(0.0001 * i, 0.0, 0.0)))
    assert len(small.poses._held) <= 512
    assert small.poses.pose(1, AS_RECORDED) is small.poses.pose(1, AS_RECORDED)
