"""The mesh lies where the picture shows what it carries."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rgbavatar.geometry.camera import Camera
from rgbavatar.viewer.frames import AS_RECORDED
from rgbavatar.viewer.overlay import Overlay, draw_overlay
from rgbavatar.viewer.painter import Look, best_painter
from tests.viewer.conftest import Small

# A square of 20 x 20 cm a metre before a camera of 100 pixels a metre there: 20 x 20 pixels from (40, 30) on.
CAMERA = Camera(torch.eye(3, 4)[None], torch.tensor([[100.0, 100.0, 50.0, 40.0]]), 100, 80)
SQUARE = torch.tensor([[-0.1, -0.1, 1.0], [0.1, -0.1, 1.0], [0.1, 0.1, 1.0], [-0.1, 0.1, 1.0]])
FACES = torch.tensor([[0, 1, 2], [0, 2, 3]])
GREY = np.full((80, 100, 3), 128, np.uint8)


def drawn(overlay: Overlay, vertices: torch.Tensor = SQUARE) -> np.ndarray:
    """Where the picture has changed."""
    picture = draw_overlay(GREY, overlay, vertices, FACES, CAMERA)
    assert (GREY == 128).all()
    return (picture != GREY).any(axis=2)


def test_a_shaded_mesh_covers_its_pixels_and_no_others() -> None:
    inside = np.zeros((80, 100), bool)
    inside[30:50, 40:60] = True
    assert np.array_equal(drawn(Overlay.SHADED), inside)


def test_a_wireframe_follows_the_edges() -> None:
    lines = drawn(Overlay.WIREFRAME)
    assert lines[30, 41:59].all()
    assert lines[31:49, 40].all()
    assert lines[35, 45]  # the diagonal
    assert not lines[33, 53]
    assert not lines[46, 44]


def test_off_is_off_and_a_mesh_behind_the_camera_is_not_drawn() -> None:
    assert not drawn(Overlay.NONE).any()
    behind = SQUARE * torch.tensor([1.0, 1.0, -1.0])
    assert not drawn(Overlay.SHADED, behind).any()
    assert not drawn(Overlay.WIREFRAME, behind).any()


@pytest.mark.parametrize("factor", [1, 4])
def test_the_mesh_is_in_register_with_the_avatar(small: Small, factor: int) -> None:
    pose, painter = small.poses.pose(0, AS_RECORDED), best_painter(small.avatar())
    camera = pose.camera.resized(48 * factor)
    head = painter.paint(pose, Look(), camera).max(axis=2) > 40
    mesh = painter.paint(pose, Look(scale=0.01, overlay=Overlay.SHADED), camera).max(axis=2) > 40
    assert (head & mesh).sum() / (head | mesh).sum() > 0.9
