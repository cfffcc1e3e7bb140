"""Heads cut out in few pixels have soft edges in many, and no colour of what was behind them."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rgbavatar.live.matting import cut_out

SIDE, SMALL = 256, 64
FRONT, BEHIND = (200, 60, 40), (30, 90, 220)


@pytest.fixture(scope="module")
def disk() -> tuple[np.ndarray, np.ndarray]:
    """The true alpha of a disk, and its picture."""
    rows, columns = np.mgrid[:SIDE, :SIDE] + 0.5
    away = np.hypot(rows - 128, columns - 128) - 70
    alpha = np.clip(0.5 - away / 3, 0, 1)
    picture = alpha[..., None] * FRONT + (1 - alpha[..., None]) * BEHIND
    return alpha, np.rint(picture).astype(np.uint8)


def rough_mask(alpha: np.ndarray) -> np.ndarray:
    """What a mask of few pixels knows of an alpha."""
    return cv2.GaussianBlur(cv2.resize(alpha, (SMALL, SMALL), interpolation=cv2.INTER_AREA), (0, 0), 1.0)


def cut(picture: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    small = cv2.resize(picture, (SMALL, SMALL), interpolation=cv2.INTER_AREA)
    return cut_out(picture, small, rough_mask(alpha))


def test_the_edge_is_found_again_in_full(disk: tuple[np.ndarray, np.ndarray]) -> None:
    alpha, picture = disk
    found = cut(picture, alpha)[..., 3] / 255
    rough = cv2.resize(rough_mask(alpha), (SIDE, SIDE))
    edge = (alpha > 0.05) & (alpha < 0.95)
    assert np.abs(found - alpha).mean() < 0.5 * np.abs(rough - alpha).mean()
    assert np.abs(found - alpha)[edge].mean() < 0.4 * np.abs(rough - alpha)[edge].mean()


def test_inside_it_is_the_picture_and_outside_it_is_nothing(disk: tuple[np.ndarray, np.ndarray]) -> None:
    _, picture = disk
    found = cut(picture, disk[0])
    assert (found[100:150, 100:150, 3] == 255).all()
    np.testing.assert_array_equal(found[100:150, 100:150, :3], picture[100:150, 100:150])
    assert not found[:40].any()


def test_the_edge_has_the_colour_of_what_is_before(disk: tuple[np.ndarray, np.ndarray]) -> None:
    alpha, picture = disk
    found = cut(picture, alpha)
    band = (found[..., 3] > 60) & (found[..., 3] < 200)
    assert band.sum() > 100
    off = np.abs(found[band][:, :3].astype(float) - FRONT).max(1)
    raw = np.abs(picture[band].astype(float) - FRONT).max(1)
    assert off.mean() < 0.5 * raw.mean()


def test_a_picture_without_a_head_is_empty(disk: tuple[np.ndarray, np.ndarray]) -> None:
    assert not cut(disk[1], np.zeros((SIDE, SIDE)))[..., 3].any()
