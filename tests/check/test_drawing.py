"""Drawing the mesh: where it lands, which face is seen, and that nvdiffrast draws the same."""

from __future__ import annotations

import importlib.util
from contextlib import closing

import numpy as np
import pytest
import torch
from torch import Tensor

from rgbavatar.check.drawing import (
    FAR,
    MESH_COLOR,
    OUTLINE_COLOR,
    OUTSIDE_COLOR,
    choose_drawer,
    draw_built_in,
    draw_with_nvdiffrast,
    overlay,
    to_clip_space,
)
from rgbavatar.check.opening import open_subject
from rgbavatar.check.scene import NEAR, Pose, Scene, project, read_small, scene_of_tracking, spread
from tests.check.conftest import Good

K = torch.tensor([[100.0, 90.0, 20.0, 14.0]], dtype=torch.float64)
WIDTH, HEIGHT = 40, 24


def quad(depth: float, low: tuple[float, float], high: tuple[float, float]) -> Tensor:
    """A square before the camera whose corners land at pixels `low` and `high` under K. [4, 3]."""
    fx, fy, cx, cy = K[0].tolist()
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    return torch.tensor(
        [[(x + 0.5 - cx) / fx * depth, (y + 0.5 - cy) / fy * depth, depth] for x, y in corners], dtype=torch.float64
    )


QUAD = torch.tensor([[0, 1, 2], [0, 2, 3]])


def good_scene(good: Good, count: int = 4) -> Scene:
    with closing(open_subject(good.folder, good.template, "auto")) as subject:
        frames = spread(len(subject.numbers), count)
        size = (subject.images.width, subject.images.height)
        pictures = read_small(subject.images, frames)
        return scene_of_tracking(subject.tracking, good.template, frames, pictures, size)


def camera_points(scene: Scene) -> Tensor:
    return scene.seen.apply(scene.local)


def test_a_square_covers_its_pixels_and_the_nearer_one_is_seen() -> None:
    points = torch.cat([quad(2.0, (2.5, 1.5), (20.5, 15.5)), quad(1.0, (9.5, 7.5), (30.5, 20.5))])[None]
    seen = draw_built_in(points, torch.cat([QUAD, QUAD + 4]), K, WIDTH, HEIGHT)[0]
    expected = torch.full((HEIGHT, WIDTH), -1)
    expected[2:16, 3:21] = 0
    expected[8:21, 10:31] = 1
    assert torch.equal(torch.where(seen < 0, -1, seen // 2), expected)


def test_what_lies_behind_the_camera_is_not_drawn() -> None:
    points = torch.cat([quad(-1.0, (3, 2), (20, 15)), quad(1.0, (8.5, 6.5), (12.5, 9.5))])[None]
    seen = draw_built_in(points, torch.cat([QUAD, QUAD + 4]), K, WIDTH, HEIGHT)[0]
    assert (seen >= 0).sum() == 4 * 3
    assert (draw_built_in(-points[:, 4:], QUAD, K, WIDTH, HEIGHT) < 0).all()


def test_clip_space_says_what_the_pinhole_says() -> None:
    random = torch.Generator().manual_seed(0)
    points = torch.rand(1, 50, 3, generator=random, dtype=torch.float64) + torch.tensor([-0.5, -0.5, 0.5])
    clip = to_clip_space(points, K, WIDTH, HEIGHT)
    size = torch.tensor([WIDTH, HEIGHT])
    landed = (clip[..., :2] / clip[..., 3:] + 1) / 2 * size - 0.5
    expected = points[..., :2] / points[..., 2:] * K[:, :2] + K[:, 2:] - 0.5
    torch.testing.assert_close(landed, expected)
    ends = to_clip_space(torch.tensor([[[0.0, 0.0, NEAR], [0.0, 0.0, FAR]]], dtype=torch.float64), K, WIDTH, HEIGHT)
    torch.testing.assert_close(ends[0, :, 2] / ends[0, :, 3], torch.tensor([-1.0, 1.0], dtype=torch.float64))


def test_the_overlay_is_blue_inside_the_mask_and_red_outside() -> None:
    still = torch.eye(3, dtype=torch.float64)[None]
    pose = Pose(still, torch.zeros(1, 3, dtype=torch.float64))
    image = torch.zeros(1, HEIGHT, WIDTH, 4, dtype=torch.uint8)
    image[:, :, :20, 3] = 255
    local = quad(1.0, (10, 5), (29, 18))[None]
    none = torch.zeros(1, 0, 3)
    scene = Scene(local, QUAD, QUAD[:0, 0], none, pose, pose, K, WIDTH, HEIGHT, image, (WIDTH, HEIGHT))
    picture = overlay(scene, image, draw_built_in)[0].astype(float)
    inside, outside, plain = picture[10, 14], picture[10, 25], picture[2, 35]
    assert np.abs(inside / inside.sum() - MESH_COLOR / MESH_COLOR.sum()).max() < 0.02
    assert outside[0] > outside[2] + 50
    assert OUTSIDE_COLOR[0] > OUTSIDE_COLOR[2]
    assert plain[0] == plain[1] == plain[2]
    assert (picture == OUTLINE_COLOR).all(-1).any()


def test_small_pictures_and_large_ones_show_the_mesh_in_one_place(good: Good) -> None:
    scene = good_scene(good)
    pixels, points = project(scene)
    torch.testing.assert_close(points, camera_points(scene))
    seen = draw_built_in(points, scene.faces, scene.intrinsics, scene.width, scene.height) >= 0
    h, w = scene.pictures.shape[1:3]
    rows, columns = torch.nonzero(seen[0]).double().mean(0).tolist()
    x, y = ((pixels[0].amin(0) + pixels[0].amax(0)) / 2).tolist()
    assert abs(columns * w / scene.width - x) < 3
    assert abs(rows * h / scene.height - y) < 3


def test_the_cpu_draws_with_our_own_rasterizer() -> None:
    assert choose_drawer(torch.device("cpu")) is draw_built_in


@pytest.mark.gpu
@pytest.mark.skipif(importlib.util.find_spec("nvdiffrast") is None, reason="nvdiffrast is not installed")
def test_nvdiffrast_draws_what_our_rasterizer_draws(good: Good) -> None:
    """But on outlines, where float32 and its snapping to 1/16 pixel decide, and where two faces are equally near."""
    scene = good_scene(good)
    device = torch.device("cuda")
    inputs = (camera_points(scene), scene.faces, 4 * scene.intrinsics, 4 * scene.width + 3, 4 * scene.height)
    ours, theirs = draw_built_in(*inputs), draw_with_nvdiffrast(*inputs, device)
    assert ours.shape == theirs.shape
    assert ((ours >= 0) != (theirs >= 0)).double().mean() < 0.002
    assert (ours != theirs).double().mean() < 0.02
    assert choose_drawer(device) is not draw_built_in
