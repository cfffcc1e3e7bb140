"""Texels of a UV map against a plain loop over texels and triangles."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import Tensor

from rgbavatar.binding.uv_raster import rasterize_uv
from rgbavatar.errors import TemplateError

SQUARE = torch.tensor([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
HALVES = torch.tensor([[0, 1, 2], [0, 2, 3]])


def first_face_over(uv: Tensor, uv_faces: Tensor, u: float, v: float) -> int | None:
    for face, (a, b, c) in enumerate(uv[uv_faces].tolist()):
        sides = [(q[0] - p[0]) * (v - p[1]) - (q[1] - p[1]) * (u - p[0]) for p, q in ((a, b), (b, c), (c, a))]
        if sum(sides) != 0 and (min(sides) >= 0 or max(sides) <= 0):
            return face
    return None


@pytest.mark.parametrize("seed", range(3))
def test_texels_are_those_a_loop_finds(seed: int) -> None:
    size, generator = 16, torch.Generator().manual_seed(seed)
    uv = torch.rand(20, 2, generator=generator)
    uv_faces = torch.randint(0, 20, (10, 3), generator=generator)  # overlapping, some degenerate, both windings
    found = rasterize_uv(uv, uv_faces, size)
    expected = {
        row * size + col: face
        for row, col in product(range(size), repeat=2)
        if (face := first_face_over(uv, uv_faces, (col + 0.5) / size, (row + 0.5) / size)) is not None
    }
    assert found.texels.tolist() == sorted(expected)
    assert found.face_ids.tolist() == [expected[t] for t in found.texels.tolist()]


def test_barycentrics_rebuild_the_texel_centre_with_v_up() -> None:
    texels = rasterize_uv(SQUARE, HALVES, 8)
    assert len(texels) == 64
    centres = (texels.barycentrics[..., None] * SQUARE[HALVES][texels.face_ids]).sum(1)
    expected = torch.stack((texels.texels % 8 + 0.5, texels.texels // 8 + 0.5), -1) / 8
    torch.testing.assert_close(centres, expected)
    assert texels.barycentrics.dtype == torch.float32
    assert (texels.barycentrics >= 0).all()


def test_a_centre_on_a_shared_edge_goes_to_the_lower_face() -> None:
    diagonal = torch.arange(8) * 9  # centres of the texels (i, i) lie on the edge of both halves
    for order in ([0, 1], [1, 0]):
        texels = rasterize_uv(SQUARE, HALVES[order], 8)
        assert (texels.face_ids[diagonal] == 0).all()


def test_a_degenerate_triangle_never_wins() -> None:
    flat_first = torch.cat((torch.tensor([[0, 2, 2], [0, 0, 0]]), HALVES))
    texels = rasterize_uv(SQUARE, flat_first, 8)
    assert len(texels) == 64
    assert (texels.face_ids >= 2).all()


def test_a_map_that_covers_nothing_is_refused() -> None:
    with pytest.raises(TemplateError, match="no triangle over any of 8x8 texels") as caught:
        rasterize_uv(SQUARE + 5, HALVES, 8)
    assert "\n" not in str(caught.value)
