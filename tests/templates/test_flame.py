"""FLAME's pose and code against a plain loop over vertices, and retargeting against the motion it moves."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import axis_angle_to_rotation, rotation_to_rot6d
from rgbavatar.templates import flame
from rgbavatar.templates.base import (
    JAW,
    JOINT_NAMES,
    LEFT_EYE,
    NECK,
    RIGHT_EYE,
    ROOT,
    HeadParameters,
    HeadTemplate,
    neutral_parameters,
)
from rgbavatar.templates.flame import FlameTemplate, load_flame
from rgbavatar.templates.flame_data import FlameData

EXACT = {"atol": 1e-10, "rtol": 1e-10}  # sums of some 400 float64 products


def make_parameters(n: int, turn: float = 0.5, seed: int = 0) -> HeadParameters:
    """Random frames; turn: scale of the axis-angle vectors of neck, jaw, eyes and root."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    turns = axis_angle_to_rotation(turn * normal(n, 5, 3))
    return HeadParameters(
        shape=0.3 * normal(300),
        expression=0.3 * normal(n, 100),
        neck=turns[:, 0],
        jaw=turns[:, 1],
        eyes=turns[:, 2:4],
        eyelids=normal(n, 2),
        root=turns[:, 4],
        translation=normal(n, 3),
    )


def pose_by_loop(data: FlameData, p: HeadParameters, frame: int) -> np.ndarray:
    """FLAME written out: one frame, one vertex at a time, 4 x 4 matrices."""
    shape, expression = p.shape.numpy(), p.expression[frame].numpy()
    local = [np.eye(3), *(r.numpy() for r in (p.neck[frame], p.jaw[frame], p.eyes[frame, 0], p.eyes[frame, 1]))]
    shaped = [data.v_template[i] + data.shapedirs[i, :, :300] @ shape for i in range(len(data.v_template))]
    joints = [sum(data.joint_regressor[j, i] * v for i, v in enumerate(shaped)) for j in range(5)]
    parents, world = (None, 0, 1, 1, 1), []
    for j in range(5):
        step = np.eye(4)
        step[:3, :3] = local[j]
        step[:3, 3] = joints[j] if parents[j] is None else joints[j] - joints[parents[j]]
        world.append(step if parents[j] is None else world[parents[j]] @ step)
    feature = np.concatenate([(local[j] - np.eye(3)).ravel() for j in range(1, 5)])
    posed = []
    for i, v in enumerate(shaped):
        v = v + data.shapedirs[i, :, 300:] @ expression + data.posedirs[i] @ feature
        v = v + data.eyelids[i, :, 0] * p.eyelids[frame, 0].item() + data.eyelids[i, :, 1] * p.eyelids[frame, 1].item()
        skinned = np.zeros(3)
        for j in range(5):
            to_joint = np.eye(4)
            to_joint[:3, 3] = -joints[j]
            skinned += data.weights[i, j] * (world[j] @ to_joint @ np.append(v, 1))[:3]
        posed.append(p.root[frame].numpy() @ skinned + p.translation[frame].numpy())
    return np.stack(posed)


def without_neck_corrective(data: FlameData) -> FlameData:
    """The same model, its corrective offsets blind to the neck."""
    posedirs = data.posedirs.copy()
    posedirs[..., :9] = 0
    return replace(data, posedirs=posedirs)


def test_template_fits_the_protocol(random_model: FlameData) -> None:
    template: HeadTemplate = FlameTemplate(random_model)
    assert template.num_vertices == 7
    assert template.faces.dtype == template.uv_faces.dtype == torch.int64
    assert template.uv.shape == (5, 2)


def test_pose_is_what_a_loop_over_vertices_gives(random_model: FlameData) -> None:
    p = make_parameters(3)
    posed = FlameTemplate(random_model).pose(p)
    assert posed.dtype == torch.float64
    for frame in range(3):
        expected = torch.from_numpy(pose_by_loop(random_model, p, frame))
        torch.testing.assert_close(posed[frame], expected, **EXACT)


def test_neutral_pose_is_the_template(random_model: FlameData) -> None:
    posed = FlameTemplate(random_model).pose(neutral_parameters(2, 300, 100))
    expected = torch.from_numpy(random_model.v_template).expand(2, -1, -1)
    torch.testing.assert_close(posed, expected, **EXACT)


def test_frames_do_not_depend_on_how_they_are_chunked(random_model: FlameData, monkeypatch: pytest.MonkeyPatch) -> None:
    template, p = FlameTemplate(random_model), make_parameters(5)
    whole = template.pose(p)
    monkeypatch.setattr(flame, "_CHUNK_VERTICES", 15)
    torch.testing.assert_close(template.pose(p), whole, **EXACT)


def test_no_frames_give_no_meshes(random_model: FlameData) -> None:
    p = neutral_parameters(0, 300, 100)
    template = FlameTemplate(random_model)
    assert template.pose(p).shape == (0, 7, 3)
    assert template.encode(p).shape == (0, 129)


def test_missing_coefficients_count_as_zero(random_model: FlameData) -> None:
    p = make_parameters(2)
    padded = replace(p, shape=p.shape * (torch.arange(300) < 10), expression=p.expression * (torch.arange(100) < 50))
    short = replace(p, shape=p.shape[:10], expression=p.expression[:, :50])
    template = FlameTemplate(random_model)
    torch.testing.assert_close(template.pose(short), template.pose(padded), **EXACT)
    assert torch.equal(template.encode(short), template.encode(padded))


def test_too_many_coefficients_are_an_error_that_says_how_many(random_model: FlameData) -> None:
    with pytest.raises(DataError, match="expression has 101 coefficients, expected at most 100"):
        FlameTemplate(random_model).pose(neutral_parameters(1, 300, 101))


def test_parameters_of_different_lengths_are_an_error_that_names_the_field() -> None:
    p = make_parameters(3)
    with pytest.raises(DataError, match=r"jaw is \[2, 3, 3\], expected \[3, 3, 3\]"):
        replace(p, jaw=p.jaw[:2])


def test_code_has_a_named_place_for_each_part(random_model: FlameData) -> None:
    template, p = FlameTemplate(random_model), make_parameters(4)
    code, layout = template.encode(p), template.code_layout
    ends = [(part.start, part.stop) for part in layout.values()]
    assert ends[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
    assert code.shape == (4, template.code_width) == (4, 129)
    assert ends[-1][1] == 129
    assert code.dtype == torch.float64
    assert torch.equal(code[:, layout["expression"]], p.expression)
    assert torch.equal(code[:, layout["neck"]], rotation_to_rot6d(p.neck))
    assert torch.equal(code[:, layout["jaw"]], rotation_to_rot6d(p.jaw))
    assert torch.equal(code[:, layout["eyes"]], torch.cat([rotation_to_rot6d(p.eyes[:, i]) for i in (0, 1)], 1))
    assert torch.equal(code[:, layout["eyelids"]], p.eyelids)
    assert torch.equal(code[:, layout["translation"]], p.translation)


def test_left_comes_before_right(coarse_head: FlameData) -> None:
    template = FlameTemplate(coarse_head)
    rest = template.pose(neutral_parameters(1, 300, 100))[0]
    joints = template.joints(neutral_parameters(1, 300, 100))
    assert len(JOINT_NAMES) == len(joints) == 5
    assert joints[LEFT_EYE, 0] > 0 > joints[RIGHT_EYE, 0]
    p = neutral_parameters(1, 300, 100)
    turned = torch.stack((axis_angle_to_rotation(torch.tensor([0.0, 0.3, 0.0]).double()), torch.eye(3).double()))
    moved = (template.pose(replace(p, eyes=turned[None]))[0] - rest).norm(dim=-1) > 1e-6
    assert moved.any()
    assert (rest[moved, 0] > 0).all()
    closed = (template.pose(replace(p, eyelids=torch.tensor([[1.0, 0.0]]).double()))[0] - rest).norm(dim=-1) > 1e-6
    assert closed.any()
    assert (rest[closed, 0] > 0).all()


def test_joints_follow_the_identity(random_model: FlameData) -> None:
    p = make_parameters(1)
    rest = random_model.v_template + random_model.shapedirs[..., :300] @ p.shape.numpy()
    expected = torch.from_numpy(random_model.joint_regressor @ rest)
    torch.testing.assert_close(FlameTemplate(random_model).joints(p), expected, **EXACT)


def test_retargeting_keeps_the_head_where_it_was(coarse_head: FlameData) -> None:
    template = FlameTemplate(coarse_head)
    p = make_parameters(3)
    moved = template.pose(p)
    retargeted = template.retarget(p)
    on_neck = torch.from_numpy(coarse_head.weights[:, ROOT] == 0)
    assert on_neck.sum() > 300
    torch.testing.assert_close(template.pose(retargeted)[:, on_neck], moved[:, on_neck], **EXACT)
    assert torch.equal(retargeted.root, torch.eye(3).double().expand(3, 3, 3))


def test_retargeting_a_neck_at_rest_follows_the_papers_equations(random_model: FlameData) -> None:
    template = FlameTemplate(random_model)
    p = replace(make_parameters(3), neck=torch.eye(3).double().repeat(3, 1, 1))
    still = replace(p, root=p.neck, translation=torch.zeros(3, 3).double())
    pure = replace(
        random_model, weights=np.eye(5)[[NECK, JAW, LEFT_EYE, RIGHT_EYE, NECK, JAW, NECK]]
    )  # none on the root
    pure = without_neck_corrective(pure)
    retargeted = template.retarget(p)
    expected = FlameTemplate(pure).pose(still) @ p.root.mT + p.translation[:, None]
    torch.testing.assert_close(FlameTemplate(pure).pose(retargeted), expected, **EXACT)
    joint = template.joints(p)[NECK]
    assert torch.equal(retargeted.neck, p.root)
    torch.testing.assert_close(retargeted.translation, p.root @ joint - joint + p.translation, **EXACT)


def test_retargeting_twice_is_the_same_as_once(random_model: FlameData) -> None:
    template = FlameTemplate(random_model)
    once = template.retarget(make_parameters(2))
    twice = template.retarget(once)
    torch.testing.assert_close(twice.neck, once.neck, **EXACT)
    torch.testing.assert_close(twice.translation, once.translation, **EXACT)


def test_a_model_of_another_program_poses_as_the_loop_says(probe_path: Path) -> None:
    template = load_flame(probe_path)
    p = make_parameters(1, turn=0.3)
    torch.testing.assert_close(template.pose(p)[0], torch.from_numpy(pose_by_loop(template.data, p, 0)), **EXACT)
    retargeted = template.pose(template.retarget(p))
    on_neck = torch.from_numpy(
        (template.data.weights[:, ROOT] == 0) & (np.abs(template.data.posedirs[..., :9]).max((1, 2)) == 0)
    )
    torch.testing.assert_close(retargeted[:, on_neck], template.pose(p)[:, on_neck], **EXACT)
