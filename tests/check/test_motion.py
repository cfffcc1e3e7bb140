"""Faults of tracked motion are named with the frames; smooth motion has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch

from rgbavatar.check.findings import Finding, Severity
from rgbavatar.check.motion import judge_motion
from rgbavatar.check.timeline import first_of_moments, follow_cameras, neighbourhoods
from rgbavatar.datasets.synthetic_motion import make_motion
from rgbavatar.datasets.tracking import Tracking
from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.templates.base import HeadParameters
from tests.check.conftest import Good
from tests.datasets.subjects import small_template

FRAMES, FIRST = 100, 10
TEMPLATE = small_template()


def one_camera() -> Camera:
    return Camera(torch.eye(3, 4)[None], torch.tensor([[100.0, 100.0, 32.0, 32.0]]), 64, 64)


def smooth_motion(seed: int = 0) -> HeadParameters:
    return make_motion(FRAMES, seed, 10, 20)


def judge(motion: HeadParameters) -> list[Finding]:
    return judge_motion(Tracking(list(range(FIRST, FIRST + len(motion))), motion, one_camera()), TEMPLATE)


def names(findings: list[Finding]) -> list[str]:
    return [finding.name for finding in findings if finding.severity is not Severity.NOTE]


@pytest.mark.parametrize("seed", range(6))
def test_smooth_motion_has_no_fault(seed: int) -> None:
    assert names(judge(smooth_motion(seed))) == []


def test_a_trembling_tracker_has_no_fault() -> None:
    random = torch.Generator().manual_seed(0)
    motion = smooth_motion()
    tremble = 0.002 * torch.randn(FRAMES, 3, generator=random, dtype=torch.float64)
    assert names(judge(replace(motion, translation=motion.translation + tremble))) == []


def slip(motion: HeadParameters) -> HeadParameters:
    translation = motion.translation.clone()
    translation[[30, 61]] += torch.tensor([0.03, 0.0, 0.02], dtype=torch.float64)
    return replace(motion, translation=translation)


def turn_away(motion: HeadParameters) -> HeadParameters:
    root = motion.root.clone()
    root[[30, 61]] = axis_angle_to_rotation(torch.tensor([0.0, 0.3, 0.0], dtype=torch.float64)) @ root[[30, 61]]
    return replace(motion, root=root)


def grimace(motion: HeadParameters) -> HeadParameters:
    expression = motion.expression.clone()
    expression[[30, 61], 2] += 4.0
    return replace(motion, expression=expression)


@pytest.mark.parametrize(
    ("name", "change"), [("jump-position", slip), ("jump-rotation", turn_away), ("jump-expression", grimace)]
)
def test_a_jump_is_named_with_its_frames(name: str, change: Callable[[HeadParameters], HeadParameters]) -> None:
    findings = judge(change(smooth_motion()))
    assert names(findings) == [name]
    assert f"at frames {30 + FIRST}, {61 + FIRST}," in findings[0].found


def test_a_cut_in_the_video_is_one_jump() -> None:
    motion = smooth_motion()
    moved = motion.translation.clone()
    moved[50:] += torch.tensor([0.05, 0.0, 0.0], dtype=torch.float64)
    findings = judge(replace(motion, translation=moved))
    assert names(findings) == ["jump-position"]
    assert any(f"at frames {place + FIRST}," in findings[0].found for place in (49, 50))


def test_a_gap_in_the_numbers_is_no_jump() -> None:
    motion = smooth_motion()
    kept = torch.cat([torch.arange(40), torch.arange(70, FRAMES)])
    tracking = Tracking(kept.tolist(), motion.select(kept), one_camera())
    assert names(judge_motion(tracking, TEMPLATE)) == []


def constant(motion: HeadParameters, *parts: str) -> HeadParameters:
    return replace(motion, **{part: getattr(motion, part)[:1].repeat_interleave(FRAMES, 0) for part in parts})


def test_expression_that_was_not_tracked_is_a_problem() -> None:
    motion = smooth_motion()
    zero = judge(replace(motion, expression=0 * motion.expression))
    same = judge(constant(motion, "expression"))
    for findings, name in ((zero, "expression-zero"), (same, "expression-constant")):
        assert [finding.name for finding in findings if finding.severity is Severity.PROBLEM] == [name]


@pytest.mark.parametrize("part", ["jaw", "eyelids", "eyes"])
def test_a_part_that_was_not_tracked_is_a_warning(part: str) -> None:
    assert names(judge(constant(smooth_motion(), part))) == [f"{part}-constant"]


def test_a_head_that_keeps_still_is_a_warning() -> None:
    assert names(judge(constant(smooth_motion(), "root"))) == ["head-still"]


def test_expressions_beyond_what_faces_do_are_named() -> None:
    motion = smooth_motion()
    findings = judge(replace(motion, expression=8.0 * motion.expression))
    assert "expression-range" in names(findings)
    assert "reach" in next(finding.found for finding in findings if finding.name == "expression-range")


def rig(motion: HeadParameters, cameras: int) -> Tracking:
    """Every frame of a motion before several cameras, moment by moment."""
    poses = torch.eye(3, 4).repeat(cameras, 1, 1)
    poses[:, 0, 3] = torch.arange(cameras)
    of_frame = torch.arange(cameras).repeat(len(motion))
    moments = torch.arange(len(motion)).repeat_interleave(cameras)
    intrinsics = torch.tensor([[100.0, 100.0, 32.0, 32.0]]).repeat(len(of_frame), 1)
    camera = Camera(poses[of_frame], intrinsics, 64, 64)
    return Tracking(list(range(len(of_frame))), motion.select(moments), camera, moments.tolist())


def test_frames_of_several_cameras_are_followed_camera_by_camera() -> None:
    tracking = rig(smooth_motion(), 3)
    assert first_of_moments(tracking).tolist() == list(range(0, 3 * FRAMES, 3))
    assert [frames.tolist()[:3] for frames in follow_cameras(tracking)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    around = neighbourhoods(tracking, 2)
    assert around.shape == (3 * (FRAMES - 4), 5)
    assert (around.diff(dim=1) == 3).all()
    assert names(judge_motion(tracking, TEMPLATE)) == []


def test_a_jump_before_several_cameras_is_named_once() -> None:
    findings = judge_motion(rig(slip(smooth_motion()), 3), TEMPLATE)
    assert names(findings) == ["jump-position"]
    assert "at frames 90, 183," in findings[0].found


def test_two_frames_are_too_few_to_judge(good: Good) -> None:
    assert judge_motion(Tracking([0, 1], smooth_motion().select(slice(0, 2)), one_camera()), good.template) == []
