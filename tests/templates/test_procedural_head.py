"""The made-up head: shaped, skinned, charted and painted like one, as seen by a z-buffer where that is the point."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rgbavatar.errors import TemplateError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.geometry.triangle_raster import rasterize_triangles
from rgbavatar.templates.base import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT, neutral_parameters
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.templates.flame_data import NUM_SHAPE, FlameData
from rgbavatar.templates.mouth import boundary_loops
from rgbavatar.templates.procedural_head import (
    EXPRESSION_MODES,
    SHAPE_MODES,
    make_open_head,
    make_procedural_head,
    procedural_texture,
)

PIXELS = 400  # over 0.34 m


def pose(head: FlameData, jaw: float = 0.0, eyelids: float = 0.0, **expressions: float) -> np.ndarray:
    p = neutral_parameters(1, 300, 100)
    expression = p.expression.clone()
    for name, value in expressions.items():
        expression[0, EXPRESSION_MODES.index(name)] = value
    turn = axis_angle_to_rotation(torch.tensor([[jaw, 0.0, 0.0]]).double())
    lids = torch.full((1, 2), eyelids, dtype=torch.float64)
    return FlameTemplate(head).pose(replace(p, jaw=turn, eyelids=lids, expression=expression))[0].numpy()


def see_from_front(head: FlameData, vertices: np.ndarray) -> np.ndarray:
    """Face seen by each pixel of a parallel projection along z, -1 where none."""
    corners = torch.from_numpy(vertices)[torch.from_numpy(head.faces)]
    flat = torch.stack((corners[..., 0], -corners[..., 1]), -1) / 0.34 * PIXELS + PIXELS / 2
    return rasterize_triangles(flat, PIXELS, PIXELS, orders=-corners[..., 2]).face_ids.numpy()


def count_seen(head: FlameData, vertices: np.ndarray, faces: np.ndarray) -> int:
    """Pixels that see one of the chosen faces. faces [F]: truth."""
    seen = see_from_front(head, vertices)
    return int(faces[seen[seen >= 0]].sum())


def eyeball_faces(head: FlameData) -> np.ndarray:
    return (head.weights[head.faces][..., [LEFT_EYE, RIGHT_EYE]].sum(-1) == 1).all(1)


def interior_faces(head: FlameData) -> np.ndarray:
    return np.arange(len(head.faces)) >= len(make_open_head(80).faces)


def test_it_is_as_large_as_a_head_and_as_fine_as_flame(head: FlameData) -> None:
    assert 2000 <= len(head.v_template) <= 6000
    low, high = head.v_template.min(0), head.v_template.max(0)
    assert 0.14 < high[0] - low[0] < 0.19
    assert 0.27 < high[1] - low[1] < 0.33  # with its neck
    assert 0.19 < high[2] - low[2] < 0.24


def test_nose_points_along_z_and_crown_along_y(head: FlameData) -> None:
    nose, crown = head.v_template[head.v_template[:, 2].argmax()], head.v_template[head.v_template[:, 1].argmax()]
    assert abs(nose[0]) < 0.002
    assert -0.03 < nose[1] < 0.0
    assert abs(crown[0]) < 0.002


def test_it_is_its_own_mirror_image(coarse_head: FlameData) -> None:
    points = coarse_head.v_template
    mirrored = points * (-1, 1, 1)
    distance = np.linalg.norm(points[:, None] - mirrored[None], axis=-1)
    assert distance.min(1).max() < 1e-9


def test_faces_look_outwards(head: FlameData) -> None:
    seen = np.unique(see_from_front(head, head.v_template))
    a, b, c = np.moveaxis(head.v_template[head.faces[seen[seen >= 0]]], 1, 0)
    assert (np.cross(b - a, c - a)[:, 2] > 0).mean() > 0.999


def test_only_the_neck_and_the_backs_of_the_eyes_are_open(head: FlameData) -> None:
    loops = boundary_loops(head.faces)
    on = sorted(head.weights[loop].sum(0).argmax() for loop in loops)
    assert on == [ROOT, LEFT_EYE, RIGHT_EYE]


def test_joints_lie_where_they_turn(head: FlameData) -> None:
    joints = head.joint_regressor @ head.v_template
    for eye in (LEFT_EYE, RIGHT_EYE):
        ball = head.v_template[head.weights[:, eye] == 1]
        radii = np.linalg.norm(ball - joints[eye], axis=1)
        np.testing.assert_allclose(radii, radii[0], rtol=1e-9)
    np.testing.assert_allclose(joints[[ROOT, NECK, JAW], 0], 0, atol=1e-9)
    assert joints[ROOT, 1] < joints[NECK, 1] < joints[JAW, 1] < joints[LEFT_EYE, 1]
    np.testing.assert_allclose(head.joint_regressor.sum(1), 1, atol=1e-9)


def test_weights_are_shares(head: FlameData) -> None:
    np.testing.assert_allclose(head.weights.sum(1), 1, atol=1e-12)
    assert (head.weights >= 0).all()


def test_uv_map_is_covered_once_and_nearly_wholly(head: FlameData) -> None:
    a, b, c = np.moveaxis(head.uv[head.uv_faces], 1, 0)
    areas = ((b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]) / 2
    assert (areas > 0).all()  # none is mirrored
    size = 512
    covered = rasterize_triangles(torch.from_numpy(head.uv[head.uv_faces]) * size - 0.5, size, size).face_ids >= 0
    assert covered.double().mean() > 0.85
    assert areas.sum() == pytest.approx(covered.double().mean().item(), abs=0.003)  # edges: about 3 texels of 512


def test_uv_faces_are_the_faces_corner_by_corner(head: FlameData) -> None:
    positions = np.zeros((len(head.uv), 3))
    positions[head.uv_faces] = head.v_template[head.faces]
    np.testing.assert_array_equal(positions[head.uv_faces], head.v_template[head.faces])


def test_mouth_opens_with_the_jaw_and_shows_its_inside(head: FlameData) -> None:
    inside = interior_faces(head)
    assert count_seen(head, pose(head), inside) == 0
    assert count_seen(head, pose(head, jaw=0.15), inside) > 300
    assert count_seen(head, pose(head, jaw=0.3), inside) > 900


def test_lids_close_over_the_eyeballs(head: FlameData) -> None:
    balls = eyeball_faces(head)
    openness = [count_seen(head, pose(head, eyelids=lid), balls) for lid in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert openness[0] > 300
    assert openness == sorted(openness, reverse=True)
    assert openness[-1] <= 2


def test_every_mode_moves_what_a_face_moves(head: FlameData) -> None:
    modes = np.linalg.norm(head.shapedirs, axis=1).max(0)
    shape, expression = modes[:NUM_SHAPE], modes[NUM_SHAPE:]
    assert len(SHAPE_MODES) >= 10
    assert len(EXPRESSION_MODES) >= 10
    assert ((shape > 0) == (np.arange(NUM_SHAPE) < len(SHAPE_MODES))).all()
    assert ((expression > 0) == (np.arange(100) < len(EXPRESSION_MODES))).all()
    assert (expression[: len(EXPRESSION_MODES)] > 0.001).all()
    assert modes.max() < 0.015


def test_smile_lifts_the_corners_and_half_a_smile_one_of_them(head: FlameData) -> None:
    rest, smile, half = pose(head), pose(head, smile=1.0), pose(head, smile_left=1.0)
    corner = np.abs(np.abs(rest[:, 0]) - 0.025) + np.abs(rest[:, 1] + 0.05) < 0.004
    corner &= np.isin(np.arange(len(rest)), head.faces[~interior_faces(head)]) & (rest[:, 2] > 0)
    left, right = corner & (rest[:, 0] > 0), corner & (rest[:, 0] < 0)
    assert (smile - rest)[left, 1].min() > 0.004
    assert (smile - rest)[right, 1].min() > 0.004
    assert (half - rest)[left, 1].min() > 0.004
    assert np.abs(half - rest)[right].max() < 1e-9


def test_cheeks_go_in_as_the_jaw_opens(head: FlameData) -> None:
    blind = replace(head, posedirs=np.zeros_like(head.posedirs))
    difference = pose(head, jaw=0.3) - pose(blind, jaw=0.3)
    inward = difference[:, 0] * np.sign(head.v_template[:, 0])
    assert inward.min() < -0.001
    assert inward.max() < 1e-9
    np.testing.assert_allclose(pose(head), pose(blind), atol=1e-12)


def test_finer_heads_have_the_same_shape() -> None:
    coarse, fine = make_open_head(48), make_open_head(96)
    assert len(fine.v_template) > 2.5 * len(coarse.v_template)
    np.testing.assert_allclose(coarse.v_template.min(0), fine.v_template.min(0), atol=0.003)
    np.testing.assert_allclose(coarse.v_template.max(0), fine.v_template.max(0), atol=0.003)


@pytest.mark.parametrize("resolution", [0, 22, 41])
def test_resolution_that_makes_no_head_is_an_error(resolution: int) -> None:
    with pytest.raises(TemplateError, match=f"resolution is {resolution}, expected an even number from 24"):
        make_procedural_head(resolution)


def test_texture_is_deterministic() -> None:
    first, second = procedural_texture(128), procedural_texture(128)
    assert torch.equal(first, second)
    assert first.shape == (128, 128, 3)
    assert first.dtype == torch.float32
    assert first.min() >= 0
    assert first.max() <= 1


@pytest.fixture(scope="module")
def texture() -> torch.Tensor:
    return procedural_texture(512)


def test_texture_has_detail_at_the_scale_of_its_texels(texture: torch.Tensor) -> None:
    face = texture[200:420, 130:380].mean(-1)
    neighbours = (face[:-2, 1:-1] + face[2:, 1:-1] + face[1:-1, :-2] + face[1:-1, 2:]) / 4
    assert (face[1:-1, 1:-1] - neighbours).std() > 0.01  # 2.5 of 255 levels; a smooth picture has a hundredth of it
    assert face.std() > 0.05


def test_texture_is_dark_on_pupils_and_red_on_lips(head: FlameData, texture: torch.Tensor) -> None:
    def color_at(point: tuple[float, float]) -> torch.Tensor:
        corners = head.v_template[head.faces].mean(1)
        nearest = np.where(corners[:, 2] > 0.05, np.linalg.norm(corners[:, :2] - point, axis=1), np.inf).argmin()
        u, v = head.uv[head.uv_faces[nearest]].mean(0)
        return texture[int(v * 512), int(u * 512)]

    for eye in (LEFT_EYE, RIGHT_EYE):
        disc = head.uv_faces[(head.weights[head.faces][..., eye] == 1).all(1)]
        u, v = head.uv[disc].reshape(-1, 2).mean(0)
        assert texture[int(v * 512), int(u * 512)].max() < 0.1
    lip, cheek = color_at((0.004, -0.056)), color_at((0.05, -0.06))
    assert lip[0] - lip[1] > cheek[0] - cheek[1] + 0.1
    assert color_at((0.0, 0.12)).max() < 0.35  # hair
