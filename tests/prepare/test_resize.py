"""Windows, and that what is seen in a picture goes where its camera says."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.datasets.frame_file import read_frame_file
from rgbavatar.prepare.resize import Window, cut, find_window, fit_frame, resize_straight
from tests.prepare.conftest import Demo

SIDE = 128
POINTS = np.array([[50.3, 40.8], [80.6, 44.1], [61.9, 90.2]])  # x, y; the top-left pixel's centre at (0.5, 0.5)


def dots() -> np.ndarray:
    """A picture of soft dots at POINTS. [SIDE, SIDE] float32."""
    y, x = np.indices((SIDE, SIDE)) + 0.5
    return sum(np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 3.0**2)) for px, py in POINTS).astype(np.float32)


def centre_near(picture: np.ndarray, point: np.ndarray, reach: float) -> np.ndarray:
    """Centre of brightness within `reach` of a point (x, y)."""
    y, x = np.indices(picture.shape) + 0.5
    near = picture * ((x - point[0]) ** 2 + (y - point[1]) ** 2 < reach**2)
    return np.array([(x * near).sum(), (y * near).sum()]) / near.sum()


@pytest.mark.parametrize("size", [(77, 77), (96, 96), (45, 45), (200, 200), (250, 250), (31, 31)])
def test_content_lands_where_the_moved_camera_projects_it(demo: Demo, size: tuple[int, int]) -> None:
    window = Window(17, 9, 100, 100)
    frame = read_frame_file(demo.folder / "checkpoint" / "00000.frame")
    fx, fy, cx, cy = frame.intrinsics.tolist()
    rays = (POINTS - [cx, cy]) / [fx, fy]  # X / Z and Y / Z of what is seen at the points
    moved = fit_frame(frame, window, *size)
    assert (moved.width, moved.height) == size
    expected = rays * moved.intrinsics[:2].numpy() + moved.intrinsics[2:].numpy()
    scale = size[0] / window.width
    colors = np.repeat(cut(dots(), window)[..., None], 3, 2)
    picture = resize_straight(colors, np.ones((100, 100), np.float32), *size)[..., 0] / 255
    for point in expected:
        assert np.abs(centre_near(picture, point, 9 * scale) - point).max() < 0.05


def test_the_scales_of_both_axes_may_differ_by_rounding(demo: Demo) -> None:
    frame = read_frame_file(demo.folder / "checkpoint" / "00000.frame")
    moved = fit_frame(frame, Window(0, 0, 128, 100), 64, 51)
    expected = frame.intrinsics * torch.tensor([0.5, 0.51, 0.5, 0.51], dtype=torch.float64)
    assert torch.allclose(moved.intrinsics, expected)


def test_a_picture_that_is_not_resized_keeps_its_pixels() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 4), dtype=np.uint8)
    pixels[..., 3] = pixels[..., 3].clip(1)
    found = resize_straight(pixels[..., :3].astype(np.float32) / 255, pixels[..., 3].astype(np.float32) / 255, 30, 20)
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("side", [16, 80])
def test_colours_without_alpha_do_not_bleed(side: int) -> None:
    alpha = np.zeros((40, 40), np.float32)
    alpha[:, :21] = 1
    colors = np.where(alpha[..., None] == 1, np.float32([0.8, 0.5, 0.2]), np.float32([0, 1, 0]))
    found = resize_straight(colors, alpha, side, side).astype(np.float32) / 255
    visible = found[..., 3] > 0.05
    np.testing.assert_allclose(found[visible][:, :3], np.broadcast_to([0.8, 0.5, 0.2], (visible.sum(), 3)), atol=0.01)
    assert (found[found[..., 3] == 0] == 0).all()
    assert abs(found[..., 3].mean() - alpha.mean()) < 0.01


def test_the_window_holds_all_boxes_and_stays_in_the_picture() -> None:
    window = find_window([(40, 50, 90, 110), (60, 30, 100, 100)], 0.1, 300, 200)
    assert window == Window(22, 22, 96, 96)
    at_corner = find_window([(0, 0, 50, 50)], 0.2, 300, 200)
    assert at_corner == Window(0, 0, 70, 70)
    full = find_window([(60, 0, 240, 200)], 0.3, 300, 200)
    assert full == Window(50, 0, 200, 200)


def test_a_head_wider_than_the_picture_is_high_is_seen_whole() -> None:
    window = find_window([(10, 0, 290, 200)], 0.1, 300, 200)
    assert window == Window(10, -40, 280, 280)
    picture = np.ones((200, 300, 3), np.float32)
    part = cut(picture, window)
    assert part.shape == (280, 280, 3)
    assert (part[:40] == 0).all()
    assert (part[40:240] == 1).all()
    assert (part[240:] == 0).all()


def test_a_window_grows_as_far_as_the_picture_goes() -> None:
    assert Window(10, 20, 30, 40).grown(15, 50, 100) == Window(0, 5, 50, 70)
    assert Window(10, 20, 30, 40).within(Window(0, 5, 50, 70)) == Window(10, 15, 30, 40)


def test_cubic_enlarging_stays_in_range() -> None:
    edge = np.zeros((20, 20), np.float32)
    edge[:, 10:] = 1
    found = resize_straight(np.repeat(edge[..., None], 3, 2), edge, 75, 75)
    assert found[..., 3].min() == 0
    assert found[..., 3].max() == 255
    smooth = cv2.resize(edge, (75, 75), interpolation=cv2.INTER_CUBIC)
    np.testing.assert_allclose(found[..., 3] / 255, smooth.clip(0, 1), atol=0.003)
