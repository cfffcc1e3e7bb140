"""Faults of masks are named; soft, whole, calm masks are not."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from rgbavatar.check.findings import Finding
from rgbavatar.check.masks import judge_flicker, judge_masks, survey_images
from rgbavatar.check.scene import Pose, Scene
from rgbavatar.datasets.images import PreloadedImages

COUNT, HEIGHT, WIDTH = 6, 60, 80
NUMBERS = list(range(100, 100 + COUNT))


def soft_disc(center: tuple[int, int] = (40, 30), radius: int = 18) -> np.ndarray:
    return cv2.GaussianBlur(cv2.circle(np.zeros((HEIGHT, WIDTH), np.uint8), center, radius, 255, -1), (0, 0), 1.0)


def judge(masks: list[np.ndarray]) -> list[Finding]:
    pixels = torch.full((len(masks), HEIGHT, WIDTH, 4), 120, dtype=torch.uint8)
    pixels[..., 3] = torch.from_numpy(np.stack(masks))
    pictures, stats = survey_images(PreloadedImages(pixels), torch.arange(len(masks)))
    assert torch.equal(pictures, pixels)  # smaller than a small picture: as they are
    return judge_masks(stats, NUMBERS)


def with_hole(mask: np.ndarray) -> np.ndarray:
    return cv2.circle(mask.copy(), (40, 30), 4, 0, -1)


def with_island(mask: np.ndarray) -> np.ndarray:
    return cv2.circle(mask.copy(), (8, 8), 5, 255, -1)


GOOD = soft_disc()
FAULTS = {
    "mask-missing": [np.full((HEIGHT, WIDTH), 255, np.uint8)] * COUNT,
    "mask-empty": [GOOD] * 4 + [np.zeros_like(GOOD)] * 2,
    "mask-full": [GOOD] * 5 + [np.full_like(GOOD, 255)],
    "mask-hard-edge": [((GOOD > 127) * 255).astype(np.uint8)] * COUNT,
    "mask-holes": [with_hole(GOOD)] * 3 + [GOOD] * 3,
    "mask-islands": [with_island(GOOD)] * 3 + [GOOD] * 3,
}


def test_good_masks_have_no_fault() -> None:
    assert judge([GOOD] * COUNT) == []


def test_a_head_cut_by_the_pictures_edge_has_no_hole() -> None:
    assert judge([soft_disc((40, 52))] * COUNT) == []


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named(name: str) -> None:
    assert [finding.name for finding in judge(FAULTS[name])] == [name]


def test_the_frames_are_named_by_their_numbers() -> None:
    assert "frames 104, 105" in judge(FAULTS["mask-empty"])[0].found
    assert "all frames" in judge([np.zeros_like(GOOD)] * COUNT)[0].found


def disc_scene(masks: list[np.ndarray], centers: list[tuple[int, int]]) -> Scene:
    """A flat mesh that covers the good disc around each centre."""
    count = len(masks)
    pictures = torch.zeros(count, HEIGHT, WIDTH, 4, dtype=torch.uint8)
    pictures[..., 3] = torch.from_numpy(np.stack(masks))
    angle = torch.arange(24, dtype=torch.float64) * (2 * torch.pi / 24)
    ring = torch.stack([18 * angle.cos(), 18 * angle.sin(), torch.full_like(angle, 100.0)], 1)
    local = torch.cat([torch.tensor([[0.0, 0.0, 100.0]], dtype=torch.float64), ring])
    faces = torch.tensor([[0, i + 1, (i + 1) % 24 + 1] for i in range(24)])
    still = Pose(torch.eye(3, dtype=torch.float64).repeat(count, 1, 1), torch.zeros(count, 3, dtype=torch.float64))
    k = torch.tensor([[100.0, 100.0, x + 0.5, y + 0.5] for x, y in centers], dtype=torch.float64)
    points, normals = torch.zeros(1, dtype=torch.int64), torch.zeros(count, 1, 3, dtype=torch.float64)
    size = (WIDTH, HEIGHT)
    return Scene(local.repeat(count, 1, 1), faces, points, normals, still, still, k, *size, pictures, size)


def flicker(before: list[np.ndarray], after: list[np.ndarray], moved: Tensor) -> list[Finding]:
    first = disc_scene(before, [(40, 30)] * len(before))
    second = disc_scene(after, [(40, 30)] * len(after))
    second = replace(second, intrinsics=second.intrinsics + torch.nn.functional.pad(moved, (2, 0)))
    return judge_flicker(first, second, NUMBERS)


def test_masks_that_move_with_the_head_do_not_flicker() -> None:
    moved = [soft_disc((40 + 3 * i, 30)) for i in range(COUNT)]
    shift = torch.tensor([[3.0 * i, 0.0] for i in range(COUNT)])
    assert flicker([GOOD] * COUNT, moved, shift) == []


def test_masks_that_change_over_a_still_head_flicker_and_the_frames_are_named() -> None:
    ragged = [GOOD, soft_disc(radius=21), GOOD, soft_disc(radius=15), GOOD, GOOD]
    findings = flicker([GOOD] * COUNT, ragged, torch.zeros(COUNT, 2))
    assert [finding.name for finding in findings] == ["mask-flicker"]
    assert "frames 101, 103" in findings[0].found
