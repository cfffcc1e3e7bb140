"""Cutting meshes: what is left, and that it is still one mesh."""

from __future__ import annotations

import numpy as np
import pytest

from rgbavatar.templates.clip import cut_below
from rgbavatar.templates.flatten import find_loops


def grid(side: int) -> tuple[np.ndarray, np.ndarray]:
    """A unit square of side x side vertices, triangulated."""
    y, x = np.meshgrid(np.linspace(0, 1, side), np.linspace(0, 1, side), indexing="ij")
    at = np.arange(side * side).reshape(side, side)
    a, b, c, d = at[:-1, :-1].ravel(), at[:-1, 1:].ravel(), at[1:, 1:].ravel(), at[1:, :-1].ravel()
    return np.stack((x, y), -1).reshape(-1, 2), np.concatenate((np.stack((a, b, c), 1), np.stack((a, c, d), 1)))


def area(points: np.ndarray, faces: np.ndarray) -> np.ndarray:
    p, q, r = points[faces].transpose(1, 0, 2)
    return ((q - p)[:, 0] * (r - p)[:, 1] - (r - p)[:, 0] * (q - p)[:, 1]) / 2


@pytest.mark.parametrize(("normal", "offset"), [((0.3, 1.0), 0.42), ((1.0, -0.7), 0.1), ((0.0, 1.0), 0.5)])
def test_what_is_above_the_line_is_left_and_nothing_else(normal: tuple[float, float], offset: float) -> None:
    points, faces = grid(8)
    cut = cut_below(points @ normal - offset, faces, faces, slack=0.0)
    left = cut.vertices.carry(points)
    assert (left @ normal - offset).min() > -1e-12
    assert (area(left, cut.faces) > 0).all()
    inside = (np.random.default_rng(0).uniform(size=(200_000, 2)) @ normal > offset).mean()
    assert area(left, cut.faces).sum() == pytest.approx(inside, abs=0.005)  # four deviations of so many draws


def test_the_border_is_one_closed_walk_on_the_line() -> None:
    points, faces = grid(8)
    heights = points @ (0.3, 1.0) - 0.42
    cut = cut_below(heights, faces, faces, slack=0.0)
    [loop] = find_loops(cut.faces)
    low = np.abs(cut.vertices.carry(heights)[loop]) < 1e-12
    assert low.sum() > 8
    assert (low != np.roll(low, 1)).sum() == 2


def test_values_of_vertices_come_along() -> None:
    points, faces = grid(5)
    rng = np.random.default_rng(1)
    linear = rng.normal(size=(2, 3, 4))
    cut = cut_below(points[:, 1] - 0.3, faces, faces, slack=0.0)
    np.testing.assert_allclose(
        cut.vertices.carry(np.tensordot(points, linear, 1)),
        np.tensordot(cut.vertices.carry(points), linear, 1),
        atol=1e-12,
    )


def test_uv_vertices_are_cut_at_the_same_places_though_a_seam_has_two() -> None:
    points, faces = grid(5)
    right = points[faces][..., 0].mean(1) > 0.5
    uv = np.concatenate((points, points + np.array((5, 0))))
    uv_faces = np.where(right[:, None], faces + len(points), faces)
    cut = cut_below(points[:, 1] - 0.3, faces, uv_faces, slack=0.0)
    moved = cut.uv.carry(uv)[cut.uv_faces] - cut.vertices.carry(points)[cut.faces]
    np.testing.assert_allclose(
        moved, np.where(right[cut.sources], 5.0, 0.0)[:, None, None] * (1, 0) + np.zeros((3, 2)), atol=1e-12
    )
    assert len(cut.uv.ends) == len(cut.vertices.ends) + 4  # the seam twice: 3 of its vertices, and 1 cut


def test_vertices_near_the_line_count_as_on_it() -> None:
    points, faces = grid(5)
    heights = points[:, 1] - 0.26
    assert len(cut_below(heights, faces, faces, slack=0.0).faces) > len(
        cut_below(heights, faces, faces, slack=0.02).faces
    )
    cut = cut_below(heights, faces, faces, slack=0.02)
    assert len(cut.faces) == 24
    np.testing.assert_array_equal(cut.vertices.carry(points), points[5:])
