"""Coverage by runs of pixels, against the rasterizer that finds the triangles."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from rgbavatar.geometry.coverage import cover_pixels
from rgbavatar.geometry.triangle_raster import rasterize_triangles

WIDTH, HEIGHT = 33, 21


def random_points(meshes: int, count: int, spread: float = 1.4) -> Tensor:
    random = torch.Generator().manual_seed(count)
    size = torch.tensor([WIDTH, HEIGHT])
    return (torch.rand(meshes, count, 2, generator=random, dtype=torch.float64) - 0.5) * spread * size + size / 2


@pytest.mark.parametrize("triangles", [1, 7, 400])
def test_it_covers_what_the_exact_rasterizer_covers(triangles: int) -> None:
    """In float32 a centre next to an edge may fall on its other side: not more than one in a thousand here."""
    points = random_points(3, 60)
    faces = torch.randint(0, 60, (triangles, 3), generator=torch.Generator().manual_seed(triangles))
    covered = cover_pixels(points, faces, WIDTH, HEIGHT)
    for one, mesh in zip(covered, points, strict=True):
        exact = rasterize_triangles(mesh[faces], WIDTH, HEIGHT).face_ids >= 0
        assert (one != exact).sum() <= 1 + 0.001 * exact.numel()


def test_each_mesh_stays_in_its_own_picture() -> None:
    points = torch.tensor(
        [[[-50.0, -50.0], [200.0, -50.0], [-50.0, 200.0]], [[-9.0, -9.0], [-2.0, -9.0], [-9.0, -2.0]]]
    )
    covered = cover_pixels(points, torch.tensor([[0, 1, 2]]), WIDTH, HEIGHT)
    assert covered[0].all()
    assert not covered[1].any()


def test_pixel_centres_are_whole_numbers_and_edges_are_closed() -> None:
    points = torch.tensor([[[2.0, 3.0], [6.0, 3.0], [6.0, 7.0], [2.0, 7.0]]])
    covered = cover_pixels(points, torch.tensor([[0, 1, 2], [0, 2, 3]]), WIDTH, HEIGHT)[0]
    expected = torch.zeros(HEIGHT, WIDTH, dtype=torch.bool)
    expected[3:8, 2:7] = True
    assert torch.equal(covered, expected)


def test_a_triangle_with_a_corner_nowhere_covers_nothing() -> None:
    points = torch.tensor([[[2.0, 3.0], [20.0, 3.0], [float("nan"), 15.0], [12.0, float("inf")]]])
    assert not cover_pixels(points, torch.tensor([[0, 1, 2], [0, 1, 3]]), WIDTH, HEIGHT).any()


def test_neither_faces_nor_meshes_is_fine() -> None:
    assert cover_pixels(torch.zeros(2, 3, 2), torch.zeros(0, 3, dtype=torch.int64), WIDTH, HEIGHT).shape == (
        2,
        HEIGHT,
        WIDTH,
    )
    assert cover_pixels(torch.zeros(0, 3, 2), torch.tensor([[0, 1, 2]]), WIDTH, HEIGHT).shape == (0, HEIGHT, WIDTH)
