"""The mouth's interior: found where it must be, closed, half of it rigid with the head and half with the jaw."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.errors import TemplateError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.geometry.triangle_raster import rasterize_triangles
from rgbavatar.templates.base import JAW, NECK, neutral_parameters
from rgbavatar.templates.flame import FlameTemplate, load_flame
from rgbavatar.templates.flame_data import NUM_SHAPE, FlameData
from rgbavatar.templates.mouth import UvSquare, add_mouth_interior, boundary_loops, find_unused_square
from rgbavatar.templates.procedural_head import make_open_head, write_flame


@pytest.fixture(scope="module", params=[32, 44])
def pair(request: pytest.FixtureRequest) -> tuple[FlameData, FlameData]:
    """A head without the interior, and with it."""
    head = make_open_head(request.param)
    return head, add_mouth_interior(head)


def directed_edges(faces: np.ndarray) -> Counter:
    return Counter((int(a), int(b)) for face in faces for a, b in zip(face, np.roll(face, -1), strict=True))


def covered_texels(uv: np.ndarray, faces: np.ndarray, size: int = 256) -> np.ndarray:
    corners = torch.from_numpy(uv[faces]) * size - 0.5
    return rasterize_triangles(corners, size, size).face_ids.numpy() >= 0


def test_loops_of_a_lone_triangle_and_of_a_closed_mesh() -> None:
    (loop,) = boundary_loops(np.array([[0, 1, 2]]))
    assert len(loop) == 3
    assert tuple(np.roll(loop, -int(loop.argmin()))) == (0, 2, 1)  # against the triangle
    assert boundary_loops(np.array([[0, 2, 1], [0, 1, 3], [1, 2, 3], [2, 0, 3]])) == []


def test_interior_closes_one_hole_and_leaves_the_others(pair: tuple[FlameData, FlameData]) -> None:
    before, after = pair
    assert len(boundary_loops(after.faces)) == len(boundary_loops(before.faces)) - 1
    edges = directed_edges(after.faces)
    assert set(edges.values()) == {1}  # every neighbour is wound the same way
    np.testing.assert_array_equal(after.faces[: len(before.faces)], before.faces)
    np.testing.assert_array_equal(after.v_template[: len(before.v_template)], before.v_template)


def test_interior_lies_behind_the_lips_inside_the_head(pair: tuple[FlameData, FlameData]) -> None:
    before, after = pair
    new = after.v_template[len(before.v_template) :]
    assert len(new) > 50
    assert (new[:, 2] < before.v_template[:, 2].max() - 0.02).all()
    assert (new[:, 2] > 0).all()
    assert np.ptp(new[:, 0]) < 0.06


def test_halves_move_rigidly_with_head_and_jaw(pair: tuple[FlameData, FlameData]) -> None:
    before, after = pair
    template = FlameTemplate(after)
    p = neutral_parameters(1, 300, 100)
    jaw = axis_angle_to_rotation(torch.tensor([[0.3, 0.1, 0.0]]).double())
    posed = template.pose(replace(p, jaw=jaw))[0].numpy()
    joint = template.joints(p)[JAW].numpy()
    turned = (after.v_template - joint) @ jaw[0].numpy().T + joint
    new = np.arange(len(after.v_template)) >= len(before.v_template)
    upper, lower = new & (after.weights[:, NECK] == 1), new & (after.weights[:, JAW] == 1)
    assert upper.sum() > 30
    assert lower.sum() > 30
    np.testing.assert_allclose(posed[upper], after.v_template[upper], atol=1e-12)
    np.testing.assert_allclose(posed[lower], turned[lower], atol=1e-12)


def test_teeth_follow_identity_and_no_expression(pair: tuple[FlameData, FlameData]) -> None:
    before, after = pair
    new = after.shapedirs[len(before.v_template) :]
    assert not new[..., NUM_SHAPE:].any()
    lips = before.shapedirs[np.concatenate(list(boundary_loops(before.faces)))][..., :4]
    assert (np.abs(new[..., :4]).max((0, 1)) > 1e-4).all()
    assert (new[..., :4].max(0) <= lips.max(0) + 1e-12).all()
    np.testing.assert_allclose(after.joint_regressor @ after.v_template, before.joint_regressor @ before.v_template)


def test_interior_takes_unused_texels_alone(pair: tuple[FlameData, FlameData]) -> None:
    before, after = pair
    old = covered_texels(before.uv, before.uv_faces)
    new = covered_texels(after.uv, after.uv_faces[len(before.uv_faces) :])
    assert new.sum() > 500
    assert not (old & new).any()


def test_interior_takes_the_square_it_is_given() -> None:
    head = make_open_head(32)
    after = add_mouth_interior(head, UvSquare(0.5, 0.01, 0.1))
    new = after.uv[len(head.uv) :]
    assert (new.min(0) >= (0.5, 0.01)).all()
    assert (new.max(0) <= (0.6, 0.11)).all()


def test_largest_unused_square_is_found() -> None:
    uv = np.array([[0.0, 0.0], [0.25, 0.0], [0.25, 1.0], [0.0, 1.0], [1.0, 0.0], [1.0, 0.25]])
    square = find_unused_square(uv, np.array([[0, 1, 2], [0, 2, 3], [1, 4, 5]]))
    assert square.u > 0.25
    assert square.v > 0.25
    assert square.side == pytest.approx(0.74, abs=0.02)


def test_full_uv_map_is_an_error() -> None:
    uv = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(TemplateError, match="no unused square"):
        find_unused_square(uv, np.array([[0, 1, 2], [0, 2, 3]]))


def test_mesh_without_a_mouth_is_an_error_that_says_what_to_do(coarse_head: FlameData) -> None:
    with pytest.raises(TemplateError, match=r"found 0 boundary loops .* turn the mouth interior off"):
        add_mouth_interior(coarse_head)


def test_neck_that_moves_with_the_jaw_is_no_mouth(probe_path: Path) -> None:
    with pytest.raises(TemplateError, match="found 0 boundary loops"):
        load_flame(probe_path, mouth_interior=True)


def test_loading_with_the_interior_closes_the_mouth(tmp_path: Path) -> None:
    path = write_flame(make_open_head(32), tmp_path)
    closed, hole = load_flame(path, mouth_interior=True), load_flame(path)
    assert closed.num_vertices > hole.num_vertices
    assert len(boundary_loops(closed.data.faces)) == len(boundary_loops(hole.data.faces)) - 1
