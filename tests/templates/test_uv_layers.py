"""UV maps whose parts lie over each other: each part gets a place of its own, and a good map stays as it is."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from rgbavatar.binding.uv_raster import rasterize_uv
from rgbavatar.templates.uv_layers import UvLayers, find_islands, pack_squares, separate_uv

QUAD = np.array([[0, 1, 2], [0, 2, 3]])


def squares(*corners: tuple[float, float, float]) -> tuple[np.ndarray, np.ndarray]:
    """Square islands (u, v, side). Returns uv and faces, two for each."""
    unit = np.array([[0, 0], [1, 0], [1, 1], [0, 1.0]])
    uv = [np.array((u, v)) + side * unit for u, v, side in corners]
    return np.concatenate(uv), np.concatenate([QUAD + 4 * i for i in range(len(corners))])


def separate(uv: np.ndarray, faces: np.ndarray, areas: np.ndarray) -> UvLayers:
    """Of a mesh whose vertices are those of the UV map."""
    return separate_uv(uv, faces, faces, areas)


def texels_of_islands(uv: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """How many texels of a map of 256 x 256 each pair of faces gets."""
    seen = rasterize_uv(torch.from_numpy(uv), torch.from_numpy(faces), 256).face_ids
    return np.bincount(seen.numpy() // 2, minlength=len(faces) // 2)


def test_islands_are_the_connected_parts() -> None:
    faces = np.array([[5, 6, 7], [0, 1, 2], [2, 3, 4], [7, 8, 5]])
    assert find_islands(faces, 9).tolist() == [0] * 5 + [1] * 4


def test_a_strip_of_many_faces_is_one_island() -> None:
    faces = np.arange(3)[None] + np.arange(500)[:, None]
    shuffled = np.random.default_rng(0).permutation(502)[faces]
    assert not find_islands(shuffled, 502).any()


def test_a_map_without_overlap_stays_as_it_is() -> None:
    uv, faces = squares((0, 0, 0.5), (0.5, 0, 0.5), (0.25, 0.5, 0.5))  # they touch
    found = separate(uv, faces, np.ones(6))
    assert found.count == 1
    np.testing.assert_array_equal(found.uv[found.uv_faces], uv[faces])
    assert found.hidden < 0.02


def test_parts_over_each_other_get_places_of_their_own() -> None:
    uv, faces = squares((0, 0, 1), (0.1, 0.1, 0.4), (0.1, 0.1, 0.4))
    assert texels_of_islands(uv, faces).tolist()[1:] == [0, 0]
    found = separate(uv, faces, np.array([1.0, 1.0, 0.02, 0.02, 0.02, 0.02]))
    assert found.count == 3
    assert found.uv.min() >= 0
    assert found.uv.max() <= 1
    counts = texels_of_islands(found.uv, found.uv_faces)
    assert counts[0] > 0.4 * 256**2
    assert counts[1] == pytest.approx(counts[2], abs=40)
    assert counts[1] > 100
    sides = np.ptp(found.uv[found.uv_faces].reshape(3, 6, 2), axis=1)
    expected = 256**2 * sides.prod(1)
    np.testing.assert_allclose(counts, expected, rtol=0.15)  # none is hidden but for texels at the edges


def test_unit_squares_side_by_side_come_into_one() -> None:
    uv, faces = squares((0, 0, 1), (1, 0, 1), (-1, 2, 1))
    found = separate(uv, faces, np.ones(6))
    assert found.count == 3
    counts = texels_of_islands(found.uv, found.uv_faces)
    assert counts.min() > 0.2 * 256**2 / 1.1


def test_tiles_that_fit_beside_each_other_share_a_square() -> None:
    uv, faces = squares((0, 0, 0.5), (1.5, 0, 0.5))
    found = separate(uv, faces, np.ones(4))
    assert found.count == 1
    np.testing.assert_allclose(found.uv[found.uv_faces], (uv - np.repeat([[0, 0], [1, 0]], 4, axis=0))[faces])


def test_an_island_larger_than_the_unit_square_is_scaled_into_it() -> None:
    uv, faces = squares((-1, -2, 4))
    found = separate(uv, faces, np.ones(2))
    np.testing.assert_allclose(found.uv[found.uv_faces], squares((0, 0, 1))[0][faces])


def test_a_mirrored_half_gets_a_place_of_its_own() -> None:
    """Two halves of a face, left and right of the edge from vertex 0 to vertex 3, share their UV vertices."""
    uv, faces = squares((0, 0, 1))
    left = np.array([[0, 4, 5], [0, 5, 3]])[:, ::-1]
    found = separate_uv(uv, np.concatenate((faces, faces[:, ::-1])), np.concatenate((faces, left)), np.ones(4))
    assert found.count == 2
    assert found.hidden < 0.02
    counts = texels_of_islands(found.uv, found.uv_faces)
    assert counts.min() > 0.2 * 256**2


def test_parts_that_share_their_uv_vertices_are_told_apart_by_their_vertices() -> None:
    uv, faces = squares((0, 0, 1))
    found = separate_uv(uv, np.concatenate((faces, faces)), np.concatenate((faces, faces + 4)), np.ones(4))
    assert found.count == 2
    assert texels_of_islands(found.uv, found.uv_faces).min() > 0.2 * 256**2


def test_a_flipped_sliver_changes_nothing() -> None:
    uv, faces = squares((0, 0, 1))
    sliver = np.array([[0, 2, 1]])
    found = separate_uv(uv, np.concatenate((faces, sliver)), np.concatenate((faces, sliver)), np.array([1, 1, 1e-4]))
    assert found.count == 1
    np.testing.assert_array_equal(found.uv[found.uv_faces[:2]], uv[faces])


def test_what_lies_over_itself_is_told() -> None:
    """A spiral that goes around twice."""
    uv, faces = squares((0, 0, 1), (0, 0, 1))
    joined = np.concatenate((faces, [[2, 3, 4], [3, 4, 6]]))
    found = separate(uv, joined, np.ones(6))
    assert found.count == 1
    assert found.hidden > 0.4


def test_packed_squares_do_not_overlap() -> None:
    sides = np.random.default_rng(1).random(12) + 0.1
    corners, scale = pack_squares(sides)
    low, high = corners, corners + scale * sides[:, None]
    assert low.min() >= 0
    assert high.max() <= 1 + 1e-9
    for i in range(12):
        for j in range(i):
            assert ((low[i] >= high[j] - 1e-9) | (low[j] >= high[i] - 1e-9)).any()
    assert (scale * sides**2 * scale).sum() > 0.5
