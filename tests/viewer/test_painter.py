"""Pictures under the controls: none of them leaves a trace when it is taken back."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rgbavatar.io.images import to_picture
from rgbavatar.renderer import render
from rgbavatar.types import Gaussians
from rgbavatar.viewer.frames import AS_RECORDED, Pose
from rgbavatar.viewer.overlay import Overlay
from rgbavatar.viewer.painter import Look, Painter, best_painter, plain_brush
from tests.viewer.conftest import Small

PLAIN = Look()


@pytest.fixture
def painter(small: Small) -> Painter:
    return best_painter(small.avatar())


def paint(painter: Painter, pose: Pose, look: Look) -> np.ndarray:
    return painter.paint(pose, look, pose.camera)


def expected(small: Small, pose: Pose, weights: torch.Tensor, scale: float = 1.0) -> np.ndarray:
    """By hand: the bases weighed as given, black behind."""
    avatar = small.avatar()
    with torch.no_grad():
        local: Gaussians = avatar.model.blended(weights)
        local = replace(local, scales=local.scales * scale)
        gaussians = avatar.binding.to_world(local, pose.vertices)
        return to_picture(render(gaussians, pose.camera, torch.zeros(1, 3)).color[0])


def differ(a: np.ndarray, b: np.ndarray) -> int:
    return int(np.abs(a.astype(int) - b.astype(int)).max())


@pytest.mark.parametrize("position", [0, 9, 19])
def test_without_changes_the_recorded_frames_picture_is_reproduced_exactly(
    small: Small, painter: Painter, position: int
) -> None:
    batch = small.dataset.batch(torch.tensor([position]), torch.device("cpu"))
    recorded = to_picture(small.avatar().render(batch, torch.zeros(1, 3)).color[0])
    picture = paint(painter, small.poses.pose(position, AS_RECORDED), PLAIN)
    assert picture.max() > 100
    assert np.array_equal(picture, recorded)


def test_offsets_are_added_to_the_networks_weights(small: Small, painter: Painter) -> None:
    pose = small.poses.pose(2, AS_RECORDED)
    offsets = (3.0, -2.0, 0.0, 1.0)
    picture = paint(painter, pose, Look(weights=offsets))
    weights = small.avatar().model.weights(pose.code).detach() + torch.tensor([offsets])
    assert differ(picture, expected(small, pose, weights)) <= 1  # the sum is rounded elsewhere
    assert differ(picture, paint(painter, pose, PLAIN)) > 3


def test_frozen_weights_stay_whatever_the_frame(small: Small, painter: Painter) -> None:
    first, other = small.poses.pose(0, AS_RECORDED), small.poses.pose(12, AS_RECORDED)
    weights = painter.weights(first.code)
    picture = paint(painter, other, Look(frozen=tuple(weights[0].tolist())))
    assert differ(picture, expected(small, other, weights)) <= 1
    moved = paint(painter, other, Look(frozen=tuple(weights[0].tolist()), weights=(1.0, 0.0, 0.0, 0.0)))
    assert differ(moved, expected(small, other, weights + torch.tensor([[1.0, 0.0, 0.0, 0.0]]))) <= 1


def test_the_size_of_gaussians_is_a_factor(small: Small, painter: Painter) -> None:
    pose = small.poses.pose(0, AS_RECORDED)
    weights = small.avatar().model.weights(pose.code).detach()
    assert differ(paint(painter, pose, Look(scale=0.5)), expected(small, pose, weights, scale=0.5)) <= 1


def test_the_background_is_where_no_gaussian_is(small: Small, painter: Painter) -> None:
    picture = paint(painter, small.poses.pose(0, AS_RECORDED), Look(background=(1.0, 0.0, 0.5)))
    assert picture[0, 0].tolist() == [255, 0, 128]


def test_changes_leave_no_trace(small: Small, painter: Painter) -> None:
    pose = small.poses.pose(4, AS_RECORDED)
    before, weights = paint(painter, pose, PLAIN), painter.weights(pose.code)
    paint(painter, pose, Look(weights=(1.0, 2.0, 3.0, 4.0), scale=1.7, background=(1.0, 1.0, 1.0)))
    paint(painter, pose, Look(frozen=(1.0, 2.0, 3.0, 4.0), overlay=Overlay.SHADED))
    assert torch.equal(painter.weights(pose.code), weights)
    assert np.array_equal(paint(painter, pose, PLAIN), before)


def paint_sized(painter: Painter, pose: Pose, look: Look, size: int) -> np.ndarray:
    return painter.paint(pose, look, pose.camera.resized(size))


@pytest.fixture
def gpu() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda", 0)


@pytest.mark.gpu
def test_the_fast_brush_draws_what_the_plain_one_draws(small: Small, gpu: torch.device) -> None:
    fast, plain = best_painter(small.avatar(gpu)), Painter(small.avatar(gpu), plain_brush)
    looks = [PLAIN, Look(weights=(2.0, -1.0, 0.5, 0.0)), Look(frozen=(0.5, 0.5, 0.0, 0.0)), Look(scale=0.6), PLAIN]
    pose, pictures = small.poses.pose(6, AS_RECORDED), []
    for look in looks:
        for size in (48, 64, 33):
            picture = paint_sized(fast, pose, look, size)
            assert differ(picture, paint_sized(plain, pose, look, size)) <= 3  # half-precision bases
            pictures.append(picture)
    assert np.array_equal(pictures[0], pictures[-3])
    assert differ(pictures[0], pictures[3]) > 3


@pytest.mark.gpu
def test_many_sizes_of_pictures_do_not_pile_up(small: Small, gpu: torch.device) -> None:
    painter, pose, used = best_painter(small.avatar(gpu)), small.poses.pose(0, AS_RECORDED), []
    for size in range(100, 160):
        paint_sized(painter, pose, PLAIN, size)
        used.append(torch.cuda.memory_reserved())
    assert used[-1] <= 1.5 * used[20]
