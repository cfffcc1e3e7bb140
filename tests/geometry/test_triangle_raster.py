"""The rasterizer against exact rational arithmetic, one pixel and one triangle at a time."""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import pytest
import torch
from torch import Tensor

from rgbavatar.geometry import triangle_raster
from rgbavatar.geometry.triangle_raster import NO_FACE, correct_perspective, rasterize_triangles

Point = tuple[Fraction, Fraction]


def exact_weights(corners: list[Point], x: int, y: int) -> list[Fraction] | None:
    """Barycentric coordinates of (x, y), or None where the triangle has no area or does not hold the point."""
    (ax, ay), (bx, by), (cx, cy) = corners
    area = (bx - ax) * (cy - ay) - (by - ay) * (cx - ax)
    if area == 0:
        return None
    b = ((x - ax) * (cy - ay) - (y - ay) * (cx - ax)) / area
    c = ((bx - ax) * (y - ay) - (by - ay) * (x - ax)) / area
    return [1 - b - c, b, c] if min(b, c, 1 - b - c) >= 0 else None


def brute_force(corners: Tensor, width: int, height: int, orders: Tensor | None = None) -> tuple[Tensor, Tensor]:
    faces, weights = torch.full((height, width), NO_FACE), torch.zeros(height, width, 3, dtype=torch.float64)
    triangles = [[(Fraction(x), Fraction(y)) for x, y in t] for t in corners.tolist()]
    ranks = [
        [Fraction(o) for o in t] for t in (torch.zeros_like(corners[..., 0]) if orders is None else orders).tolist()
    ]
    for row, col in product(range(height), range(width)):
        hits = [(exact_weights(t, col, row), face) for face, t in enumerate(triangles)]
        seen = [(sum(w * o for w, o in zip(ws, ranks[f], strict=True)), f, ws) for ws, f in hits if ws is not None]
        if seen:
            _, faces[row, col], best = min(seen)
            weights[row, col] = torch.tensor([float(w) for w in best], dtype=torch.float64)
    return faces, weights


def random_corners(seed: int, grid: float, count: int = 40) -> Tensor:
    """Triangles about a 16 x 12 image, partly outside, corners on multiples of `grid`: edges go through centres."""
    points = torch.rand(count, 3, 2, generator=torch.Generator().manual_seed(seed)) * torch.tensor([22.0, 18.0]) - 3
    return (points / grid).round() * grid


@pytest.mark.parametrize("grid", [1.0, 0.5, 2.0**-12])
@pytest.mark.parametrize("seed", range(4))
def test_it_matches_exact_arithmetic_with_closed_edges_and_the_lowest_face(seed: int, grid: float) -> None:
    corners = random_corners(seed, grid, count=12)
    found = rasterize_triangles(corners, 16, 12)
    faces, weights = brute_force(corners, 16, 12)
    assert torch.equal(found.face_ids, faces)
    torch.testing.assert_close(found.barycentrics, weights, rtol=0, atol=1e-9)  # slivers divide by small areas


@pytest.mark.parametrize("seed", range(4))
def test_the_least_order_wins(seed: int) -> None:
    corners = random_corners(seed, 2.0**-6)
    orders = torch.rand(len(corners), 3, generator=torch.Generator().manual_seed(seed + 100), dtype=torch.float64)
    assert torch.equal(rasterize_triangles(corners, 16, 12, orders).face_ids, brute_force(corners, 16, 12, orders)[0])


def test_equal_orders_go_to_the_lowest_face() -> None:
    corners = random_corners(1, 0.5)
    with_orders = rasterize_triangles(corners, 16, 12, torch.ones(len(corners), 3))
    assert torch.equal(with_orders.face_ids, rasterize_triangles(corners, 16, 12).face_ids)


def test_small_chunks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    corners, orders = random_corners(2, 0.25), torch.rand(40, 3, generator=torch.Generator().manual_seed(0))
    whole = [rasterize_triangles(corners, 16, 12, o).face_ids for o in (None, orders)]
    monkeypatch.setattr(triangle_raster, "MAX_CHUNK_PIXELS", 7)
    parts = [rasterize_triangles(corners, 16, 12, o).face_ids for o in (None, orders)]
    assert all(torch.equal(a, b) for a, b in zip(whole, parts, strict=True))


def test_a_jittered_mesh_has_no_cracks() -> None:
    n = 60
    lines = torch.linspace(-3, 130, n, dtype=torch.float64)
    points = torch.cartesian_prod(lines, lines)
    points += torch.rand(n * n, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64) - 0.5
    at = torch.arange(n * n).view(n, n)
    a, b, c, d = (at[i:j, k:m].flatten() for i, j in ((0, -1), (1, n)) for k, m in ((0, -1), (1, n)))
    faces = torch.cat((torch.stack((a, b, c), -1), torch.stack((b, c, d), -1)))
    raster = rasterize_triangles(points[faces], 128, 128)
    assert (raster.face_ids >= 0).all()
    rebuilt = (raster.barycentrics[..., None] * points[faces][raster.face_ids]).sum(-2)
    centres = torch.stack(torch.meshgrid(torch.arange(128.0), torch.arange(128.0), indexing="xy"), -1).double()
    torch.testing.assert_close(rebuilt, centres, rtol=0, atol=1e-9)


def test_triangles_without_area_or_with_nan_cover_nothing() -> None:
    line = [[0.0, 0.0], [3.0, 3.0], [6.0, 6.0]]
    point = [[2.0, 2.0]] * 3
    broken = [[0.0, 0.0], [float("nan"), 5.0], [5.0, 0.0]]
    endless = [[0.0, 0.0], [float("inf"), 5.0], [5.0, 0.0]]
    assert (rasterize_triangles(torch.tensor([line, point, broken, endless]), 8, 8).face_ids == NO_FACE).all()


def test_an_empty_mesh_and_one_out_of_sight_cover_nothing() -> None:
    assert (rasterize_triangles(torch.zeros(0, 3, 2), 4, 3).face_ids == NO_FACE).all()
    far = torch.tensor([[[100.0, 100.0], [120.0, 100.0], [100.0, 120.0]]])
    assert (rasterize_triangles(far, 4, 3, torch.zeros(1, 3)).face_ids == NO_FACE).all()


def test_perspective_weights_find_the_point_on_the_triangle_in_space() -> None:
    points = torch.tensor([[-1.0, -1.0, 2.0], [3.0, -1.0, 5.0], [0.0, 4.0, 9.0]], dtype=torch.float64)
    wanted = torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)
    seen = wanted @ points
    in_plane = points[:, :2] / points[:, 2:]
    system = torch.cat((in_plane.T, torch.ones(1, 3, dtype=torch.float64)))
    flat = torch.linalg.solve(system, torch.cat((seen[:2] / seen[2], torch.ones(1, dtype=torch.float64))))
    torch.testing.assert_close(correct_perspective(flat, points[:, 2]), wanted)
