"""Alpha and foreground colours, against a head whose own are known."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from rgbavatar.prepare.matting import BLUR_EDGES, estimate_foreground, refine_alpha
from tests.prepare.conftest import FRAMES, SIZE, Demo, background, before_background

EDGE = 2


def rms(error: np.ndarray, where: np.ndarray) -> float:
    return float(np.sqrt((error[where] ** 2).mean()))


def edge_band(alpha: np.ndarray) -> np.ndarray:
    """The pixels at the head's edge, and two around them."""
    mixed = ((alpha > 0) & (alpha < 1)).astype(np.uint8)
    return cv2.dilate(mixed, np.ones((5, 5), np.uint8)) == 1


@pytest.mark.parametrize("number", range(0, FRAMES, 2))
def test_alpha_is_much_nearer_to_the_true_one_than_the_mask_is(demo: Demo, number: int) -> None:
    truth = demo.picture(number)
    alpha, seen = truth[..., 3], before_background(truth)
    mask = (alpha > 0.5).astype(np.float32)
    found = refine_alpha(seen, mask, EDGE)
    blurred = cv2.GaussianBlur(mask, (0, 0), BLUR_EDGES * EDGE)
    band = edge_band(alpha)
    assert rms(found - alpha, band) < 0.7 * rms(mask - alpha, band)
    assert rms(found - alpha, band) < 0.9 * rms(blurred - alpha, band)  # the colours tell more than a blur


def test_a_mask_that_is_too_wide_is_drawn_in(demo: Demo) -> None:
    truth = demo.picture(0)
    alpha, seen = truth[..., 3], before_background(truth)
    wide = cv2.dilate((alpha > 0.5).astype(np.float32), np.ones((3, 3), np.uint8))
    found = refine_alpha(seen, wide, EDGE)
    assert rms(found - alpha, edge_band(alpha)) < 0.75 * rms(wide - alpha, edge_band(alpha))


def test_nothing_changes_beyond_the_edge(demo: Demo) -> None:
    truth = demo.picture(1)
    mask = (truth[..., 3] > 0.5).astype(np.uint8)
    found = refine_alpha(before_background(truth), mask.astype(np.float32), EDGE)
    wide = np.ones((2 * EDGE + 1, 2 * EDGE + 1), np.uint8)
    assert (found[cv2.erode(mask, wide) == 1] == 1).all()
    assert (found[cv2.dilate(mask, wide) == 0] == 0).all()
    assert found.min() >= 0
    assert found.max() <= 1


def test_where_colours_say_nothing_the_masks_own_edge_is_blurred() -> None:
    mask = np.zeros((40, 40), np.float32)
    mask[:, :20] = 1
    found = refine_alpha(np.full((40, 40, 3), 0.5, np.float32), mask, EDGE)
    ramp = found[20, 17:23]
    assert (np.diff(ramp) < 0).all()
    np.testing.assert_allclose(found[20, 19] + found[20, 20], 1, atol=1e-5)
    assert found[20, 19] > 0.6


def test_a_straight_edge_of_two_colours_is_found_to_a_fraction_of_a_pixel() -> None:
    coverage = np.clip(20.3 - np.arange(40), 0, 1).astype(np.float32)  # the edge is 0.3 into pixel 20
    alpha = np.repeat(coverage[None], 40, 0)
    front, back = np.float32([0.9, 0.6, 0.5]), np.float32([0.1, 0.3, 0.2])
    seen = alpha[..., None] * front + (1 - alpha[..., None]) * back
    found = refine_alpha(seen, (alpha > 0.5).astype(np.float32), EDGE)
    np.testing.assert_allclose(found, alpha, atol=0.05)
    colors = estimate_foreground(seen, found, EDGE)
    np.testing.assert_allclose(colors[:, :21], np.broadcast_to(front, (40, 21, 3)), atol=0.05)


def test_colours_at_the_edge_lose_the_background(demo: Demo) -> None:
    truth = demo.picture(2)
    alpha, seen = truth[..., 3], before_background(truth)
    visible = (alpha > 0.1) & (alpha < 0.95)
    found = estimate_foreground(seen, alpha, EDGE)
    assert rms(found - truth[..., :3], visible) < 0.6 * rms(seen - truth[..., :3], visible)
    inside = alpha == 1
    np.testing.assert_allclose(found[inside], seen[inside], atol=1e-5)


@pytest.mark.parametrize("backdrop", [0.0, 1.0])
def test_the_result_before_another_background_is_nearer_to_the_truth(demo: Demo, backdrop: float) -> None:
    truth = demo.picture(3)
    alpha, seen = truth[..., 3], before_background(truth)
    mask = (alpha > 0.5).astype(np.float32)
    found = refine_alpha(seen, mask, EDGE)
    clean = estimate_foreground(seen, found, EDGE)
    band = edge_band(alpha)

    def error(colors: np.ndarray, opacity: np.ndarray) -> float:
        ours = colors * opacity[..., None] + backdrop * (1 - opacity[..., None])
        true = truth[..., :3] * truth[..., 3:] + backdrop * (1 - truth[..., 3:])
        return rms(ours - true, band)

    assert error(clean, found) < 0.7 * error(seen, mask)
    assert error(clean, found) < error(seen, found)


def test_a_head_that_the_border_cuts_is_whole_there() -> None:
    mask = np.zeros((SIZE, SIZE), np.float32)
    mask[SIZE // 2 :, 30:90] = 1  # the lower border cuts it
    head = np.where(mask[..., None] == 1, np.float32([0.8, 0.6, 0.5]), background())
    found = refine_alpha(head.astype(np.float32), mask, EDGE)
    assert (found[-1, 36:84] == 1).all()
