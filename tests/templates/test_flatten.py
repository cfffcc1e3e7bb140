"""Flattening: no folds, the whole rectangle, room where it is wanted."""

from __future__ import annotations

import numpy as np
import pytest

from rgbavatar.errors import TemplateError
from rgbavatar.templates.flatten import find_loops, flatten, measure_stretch

SIDE = 13


def cap(depth: float) -> tuple[np.ndarray, np.ndarray]:
    """A square of SIDE x SIDE vertices, pushed out in the middle; normals along z."""
    y, x = np.meshgrid(np.linspace(-1, 1, SIDE), np.linspace(-1, 1, SIDE), indexing="ij")
    points = np.stack((x, y, depth * np.exp(-4 * (x**2 + y**2))), -1).reshape(-1, 3)
    grid = np.arange(SIDE * SIDE).reshape(SIDE, SIDE)
    a, b, c, d = grid[:-1, :-1].ravel(), grid[:-1, 1:].ravel(), grid[1:, 1:].ravel(), grid[1:, :-1].ravel()
    return points, np.concatenate((np.stack((a, b, c), 1), np.stack((a, c, d), 1)))


def areas(uv: np.ndarray, faces: np.ndarray) -> np.ndarray:
    p, q, r = uv[faces].transpose(1, 0, 2)
    return ((q - p)[:, 0] * (r - p)[:, 1] - (r - p)[:, 0] * (q - p)[:, 1]) / 2


def corner_pins(height: float) -> list[tuple[int, float]]:
    last = SIDE * SIDE - 1
    return [(0, 0.0), (SIDE - 1, 1.0), (last, 1 + height), (last - SIDE + 1, 2 + height)]


@pytest.mark.parametrize("hole", [False, True])
def test_the_map_fills_the_rectangle_without_folds(hole: bool) -> None:
    points, faces = cap(2.0)
    middle = SIDE * SIDE // 2
    kept = faces[(faces != middle).all(1)] if hole else faces
    used = np.unique(kept)
    uv = flatten(
        points[used],
        np.searchsorted(used, kept),
        [(p if p < middle else p - hole, s) for p, s in corner_pins(0.7)],
        np.ones(len(used)),
        0.7,
    )
    assert (areas(uv, np.searchsorted(used, kept)) > 0).all()
    np.testing.assert_allclose([*uv.min(0), *uv.max(0)], [0, 0, 1, 0.7], atol=1e-12)
    if not hole:
        assert areas(uv, kept).sum() == pytest.approx(0.7, abs=1e-12)


def test_a_flat_square_stays_as_it_is() -> None:
    points, faces = cap(0.0)
    uv = flatten(points, faces, corner_pins(1.0), np.ones(len(points)), 1.0)
    np.testing.assert_allclose(uv, (points[:, :2] + 1) / 2, atol=1e-9)


def test_between_pins_the_border_goes_by_length() -> None:
    points, faces = cap(0.0)
    uv = flatten(points, faces, [(0, 0.0), (SIDE * SIDE - 1, 1.0)], np.ones(len(points)), 0.5)
    np.testing.assert_allclose(
        uv[[SIDE - 1, SIDE * SIDE - 1, SIDE * (SIDE - 1)]], [[0.5, 0], [1, 0], [0.5, 0.5]], atol=1e-9
    )


def test_a_bulge_gets_the_room_that_its_surface_needs() -> None:
    points, faces = cap(2.0)
    uv = flatten(points, faces, corner_pins(1.0), np.ones(len(points)), 1.0)
    first = np.stack(((points[:, 0] + 1) / 2, (points[:, 1] + 1) / 2), 1)
    ones = np.ones(len(points))
    assert measure_stretch(points, uv, faces, ones).std() < 0.5 * measure_stretch(points, first, faces, ones).std()


def test_where_more_is_wanted_there_is_more() -> None:
    points, faces = cap(0.5)
    inner = np.linalg.norm(points[:, :2], axis=1) < 0.5
    mine = inner[faces].all(1)
    plain, asked = (
        areas(flatten(points, faces, corner_pins(1.0), np.where(inner, more, 1.0), 1.0), faces)[mine].sum()
        for more in (1.0, 2.0)
    )
    assert asked > 1.7 * plain


def test_loops_have_the_surface_to_their_left_and_the_longest_comes_first() -> None:
    _, faces = cap(0.0)
    middle = SIDE * SIDE // 2
    outer, hole = find_loops(faces[(faces != middle).all(1)])
    assert len(outer) == 4 * (SIDE - 1)
    assert outer[(np.flatnonzero(outer == 0)[0] + 1) % len(outer)] == 1
    assert len(hole) == 6
    assert middle + 1 in hole


def test_a_closed_surface_and_pins_inside_are_refused() -> None:
    points, faces = cap(0.0)
    with pytest.raises(TemplateError, match="found 1 borders of the surface, none with all pinned vertices"):
        flatten(points, faces, [(0, 0.0), (SIDE + 1, 1.0)], np.ones(len(points)), 1.0)
    tetrahedron = np.array([[0, 1, 2], [0, 2, 3], [0, 3, 1], [1, 3, 2]])
    with pytest.raises(TemplateError, match="found 0 borders"):
        flatten(np.eye(4)[:, :3], tetrahedron, [(0, 0.0)], np.ones(4), 1.0)


def test_a_border_that_meets_itself_is_refused() -> None:
    with pytest.raises(TemplateError, match="a border that meets itself at vertex"):
        find_loops(np.array([[0, 1, 2], [0, 3, 4]]))
