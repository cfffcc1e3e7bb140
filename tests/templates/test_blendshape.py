"""Blendshape templates: their file, and pose and code against a plain loop over vertices."""

from __future__ import annotations

import itertools
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rgbavatar.config import Config, TemplateConfig
from rgbavatar.datasets.features import WORLD_TO_OPENCV, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.errors import ConfigError, DataError, TemplateError
from rgbavatar.geometry.rotation import axis_angle_to_rotation, rotation_to_rot6d
from rgbavatar.subject import load_template
from rgbavatar.templates import blendshape
from rgbavatar.templates.base import HeadParameters, HeadTemplate, neutral_parameters
from rgbavatar.templates.blendshape import BlendshapeTemplate, load_blendshape
from rgbavatar.templates.blendshape_data import BlendshapeData, load_blendshape_data, write_blendshape_data
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.templates.flame_data import FlameData
from rgbavatar.templates.procedural_head import write_flame
from tests.helpers.blendshape_head import make_blendshape_head, to_blendshapes

EXACT = {"atol": 1e-12, "rtol": 1e-12}  # sums of a dozen float64 products of numbers near 1
VERTICES, EXPRESSIONS, MODES = 7, 4, 3
Arrays = dict[str, Any]


def written_by_hand() -> Arrays:
    """The arrays of a template as the module's head lists them, random and dense, so that no term can hide."""
    random = np.random.default_rng(0)
    weights = random.random((VERTICES, 2)) * 0.4
    weights[0], weights[1] = (1, 0), (0, 1)
    return {
        "format": "rgbavatar blendshape template",
        "version": 1,
        "neutral": random.normal(size=(VERTICES, 3)) * 0.1,
        "faces": np.array([[0, 1, 2], [2, 3, 4], [4, 5, 6]]),
        "uv": random.random((5, 2)),
        "uv_faces": np.array([[0, 1, 2], [2, 3, 4], [4, 3, 0]]),
        "expression": random.normal(size=(EXPRESSIONS, VERTICES, 3)) * 0.01,
        "expression_names": np.array(["jawOpen", "browDown_L", "browDown_R", "mouthPucker"]),
        "identity": (random.normal(size=(MODES, VERTICES, 3)) * 0.01).astype(np.float32),
        "identity_names": np.array(["wide", "long", "deep"]),
        "eye_centers": np.array([[0.03, 0.01, 0.02], [-0.03, 0.01, 0.02]]),
        "eye_centers_identity": random.normal(size=(MODES, 2, 3)) * 0.001,
        "eye_weights": weights,
        "pivot": np.array([0.0, -0.1, -0.02]),
        "head_weights": np.array([1, 1, 1, 1, 0.6, 0.2, 0.0]),
    }


def save(path: Path, arrays: Arrays) -> Path:
    np.savez_compressed(path, **arrays)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "head.npz", written_by_hand())


def make_parameters(n: int, seed: int = 0) -> HeadParameters:
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, generator=random, dtype=torch.float64)

    return replace(
        neutral_parameters(n, 0, 0),
        shape=normal(MODES),
        expression=normal(n, EXPRESSIONS),
        eyes=axis_angle_to_rotation(0.5 * normal(n, 2, 3)),
        root=axis_angle_to_rotation(0.5 * normal(n, 3)),
        translation=normal(n, 3),
        offset=0.01 * normal(VERTICES, 3),
    )


def pose_by_loop(arrays: Arrays, p: HeadParameters, frame: int) -> np.ndarray:
    """The equations of the module's head, one vertex at a time."""
    shape, expression, offset = p.shape.numpy(), p.expression[frame].numpy(), p.offset.numpy()
    posed = []
    centers = []
    for eye in range(2):
        weights = arrays["eye_weights"][:, eye]
        center = arrays["eye_centers"][eye] + sum(
            shape[s] * arrays["eye_centers_identity"][s, eye] for s in range(MODES)
        )
        centers.append(center + sum(weights[i] * offset[i] for i in range(VERTICES)) / weights.sum())
    for i in range(VERTICES):
        person = arrays["neutral"][i] + sum(shape[s] * arrays["identity"][s, i] for s in range(MODES)) + offset[i]
        face = person + sum(expression[e] * arrays["expression"][e, i] for e in range(EXPRESSIONS))
        turns = [p.eyes[frame, eye].numpy() - np.eye(3) for eye in range(2)]
        eyes = sum(arrays["eye_weights"][i, eye] * turns[eye] @ (face - centers[eye]) for eye in range(2))
        turned, pivot = p.root[frame].numpy() @ (face + eyes), arrays["pivot"]
        stayed = face + eyes - pivot + p.root[frame].numpy() @ pivot
        share = arrays["head_weights"][i]
        posed.append(share * turned + (1 - share) * stayed + p.translation[frame].numpy())
    return np.stack(posed)


def test_it_fits_the_protocol(path: Path) -> None:
    template: HeadTemplate = load_blendshape(path)
    assert template.num_vertices == VERTICES
    assert template.faces.dtype == template.uv_faces.dtype == torch.int64
    assert template.uv.shape == (5, 2)


def test_a_file_written_by_hand_poses_as_a_loop_over_vertices_says(path: Path) -> None:
    arrays, p = written_by_hand(), make_parameters(3)
    posed = load_blendshape(path).pose(p)
    assert posed.dtype == torch.float64
    for frame in range(3):
        expected = torch.from_numpy(pose_by_loop(arrays, p, frame))
        torch.testing.assert_close(posed[frame], expected, **EXACT)


def test_frames_do_not_depend_on_how_they_are_chunked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    template, p = load_blendshape(path), make_parameters(5)
    whole = template.pose(p)
    monkeypatch.setattr(blendshape, "_CHUNK_VERTICES", 15)
    torch.testing.assert_close(template.pose(p), whole, **EXACT)


def test_posing_leaves_the_template_and_the_parameters_as_they_were(path: Path) -> None:
    template, p = load_blendshape(path), make_parameters(2)
    first = template.pose(p)
    assert torch.equal(template.pose(p), first)
    at_rest = replace(neutral_parameters(1, MODES, EXPRESSIONS))
    np.testing.assert_allclose(template.pose(at_rest)[0], written_by_hand()["neutral"], atol=1e-15)


def test_no_frames_give_no_meshes(path: Path) -> None:
    template, p = load_blendshape(path), neutral_parameters(0, MODES, EXPRESSIONS)
    assert template.pose(p).shape == (0, VERTICES, 3)
    assert template.encode(p).shape == (0, template.code_width)


def test_the_code_has_a_named_place_for_each_part(path: Path) -> None:
    template, p = load_blendshape(path), make_parameters(4)
    code, layout = template.encode(p), template.code_layout
    ends = [(part.start, part.stop) for part in layout.values()]
    assert ends[0][0] == 0
    assert all(a[1] == b[0] for a, b in itertools.pairwise(ends))
    assert code.shape == (4, template.code_width) == (4, EXPRESSIONS + 6 + 12 + 3)
    assert torch.equal(code[:, layout["expression"]], p.expression)
    assert torch.equal(code[:, layout["root"]], rotation_to_rot6d(p.root))
    assert torch.equal(code[:, layout["eyes"]], torch.cat([rotation_to_rot6d(p.eyes[:, i]) for i in (0, 1)], 1))
    pivot = torch.tensor([0.0, -0.1, -0.02], dtype=torch.float64)
    torch.testing.assert_close(code[:, layout["translation"]], p.root @ pivot + p.translation - pivot, **EXACT)


def test_a_template_without_eye_joints_has_a_shorter_code_and_eyes_that_look_ahead(path: Path) -> None:
    arrays = {key: value for key, value in written_by_hand().items() if not key.startswith("eye")}
    template, p = load_blendshape(save(path, arrays)), make_parameters(2)
    assert template.code_width == EXPRESSIONS + 6 + 3
    assert "eyes" not in template.code_layout
    ahead = replace(p, eyes=torch.eye(3, dtype=torch.float64).repeat(2, 2, 1, 1))
    assert torch.equal(template.pose(p), template.pose(ahead))
    assert torch.equal(template.encode(p), template.encode(ahead))
    with pytest.raises(DataError, match="no eye joints"):
        template.eye_centers(p)


def test_eye_centers_follow_the_identity_and_the_offsets_of_their_eyeballs(path: Path) -> None:
    template, arrays = load_blendshape(path), written_by_hand()
    p = replace(make_parameters(1), offset=None)
    expected = arrays["eye_centers"] + np.tensordot(p.shape.numpy(), arrays["eye_centers_identity"], 1)
    np.testing.assert_allclose(template.eye_centers(p), expected, atol=1e-15)
    moved = replace(p, offset=torch.tensor([[0.0, 0.002, 0.0]], dtype=torch.float64).repeat(VERTICES, 1))
    np.testing.assert_allclose(template.eye_centers(moved), expected + np.array([0, 0.002, 0]), atol=1e-15)


def test_retargeting_moves_nothing(path: Path) -> None:
    p = make_parameters(2)
    assert load_blendshape(path).retarget(p) is p


def test_identity_coefficients_that_a_tracker_lacks_count_as_zero(path: Path) -> None:
    template, p = load_blendshape(path), make_parameters(2)
    padded = replace(p, shape=p.shape * torch.tensor([1.0, 0.0, 0.0]))
    assert torch.equal(template.pose(replace(p, shape=p.shape[:1])), template.pose(padded))
    with pytest.raises(DataError, match="shape has 5 coefficients, expected at most 3"):
        template.pose(replace(p, shape=torch.zeros(5)))


def test_another_number_of_expressions_is_an_error_that_names_those_of_the_template(path: Path) -> None:
    template, p = load_blendshape(path), make_parameters(2)
    for call in (template.pose, template.encode):
        with pytest.raises(DataError, match=r"expression has 3 .* expected 4 of the template: jawOpen ... mouthPucker"):
            call(replace(p, expression=p.expression[:, :3]))


@pytest.mark.parametrize("joint", ["neck", "jaw"])
def test_a_joint_that_is_not_there_may_not_turn(path: Path, joint: str) -> None:
    turned = axis_angle_to_rotation(torch.tensor([[0.1, 0.0, 0.0]], dtype=torch.float64))
    template, p = load_blendshape(path), make_parameters(1)
    for call in (template.pose, template.encode):
        with pytest.raises(DataError, match=f"{joint} is turned, .* no such joint"):
            call(replace(p, **{joint: turned}))
    rounded = replace(p, **{joint: getattr(p, joint) + 1e-7})
    torch.testing.assert_close(template.pose(rounded), template.pose(p))


def test_what_was_written_is_read_back(path: Path, tmp_path: Path) -> None:
    first = load_blendshape_data(path)
    write_blendshape_data(tmp_path / "again.npz", first)
    second = load_blendshape_data(tmp_path / "again.npz")
    for field in fields(BlendshapeData):
        a, b = getattr(first, field.name), getattr(second, field.name)
        if field.name == "eyes":
            np.testing.assert_array_equal(a.centers, b.centers)
            np.testing.assert_array_equal(a.identity, b.identity)
            np.testing.assert_allclose(a.weights, b.weights, atol=1e-7)  # stored as float32
        elif field.name == "head_weights":
            np.testing.assert_allclose(a, b, atol=1e-7)
        else:
            np.testing.assert_array_equal(a, b)
    assert second.identity.dtype == np.float32


def test_deltas_of_16_bits_pose_to_some_microns(path: Path) -> None:
    arrays = written_by_hand()
    p = replace(make_parameters(2), expression=torch.eye(2, EXPRESSIONS, dtype=torch.float64))
    exact = load_blendshape(path).pose(p)
    arrays["expression"] = arrays["expression"].astype(np.float16)
    rounded = load_blendshape(save(path, arrays)).pose(p)
    assert 0 < (rounded - exact).abs().max() < 20e-6  # deltas of up to 3 cm, of 11 bits


def test_unmoved_vertices_cost_no_space(tmp_path: Path) -> None:
    """52 expressions of 20 k vertices, each moving a tenth of them: 12 MB in memory, far less on the disk."""
    arrays, random = written_by_hand(), np.random.default_rng(0)
    expression = np.zeros((52, 20_000, 3), np.float32)
    expression[:, :2_000] = random.normal(size=(52, 2_000, 3)) * 0.01
    arrays |= {"neutral": random.normal(size=(20_000, 3)) * 0.05, "expression": expression}
    arrays |= {"expression_names": np.array([f"e{i}" for i in range(52)])}
    arrays = {key: value for key, value in arrays.items() if not key.startswith(("eye", "identity", "head"))}
    assert save(tmp_path / "large.npz", arrays).stat().st_size < 2e6
    assert load_blendshape(tmp_path / "large.npz").num_vertices == 20_000


def changed(key: str, value: object) -> Arrays:
    return written_by_hand() | {key: value}


def without(*keys: str) -> Arrays:
    return {key: value for key, value in written_by_hand().items() if key not in keys}


BAD = {
    "another format": (changed("format", "something"), ("'something'", "rgbavatar blendshape template")),
    "a later version": (changed("version", 2), ("and 2", "and 1")),
    "no format": (without("format"), ("'nothing'",)),
    "no neutral": (without("neutral"), ("no neutral",)),
    "a flat neutral": (changed("neutral", np.zeros((7, 2))), ("neutral has shape (7, 2)", "(any, 3)")),
    "quads": (changed("faces", np.zeros((3, 4), int)), ("faces has shape (3, 4)", "(any, 3)")),
    "a face beyond": (changed("faces", np.full((3, 3), 7)), ("faces holds", "to 7", "0 to 6")),
    "faces of fractions": (changed("faces", np.zeros((3, 3))), ("faces holds float64",)),
    "fewer UV faces": (changed("uv_faces", np.zeros((2, 3), int)), ("uv_faces has shape (2, 3)", "(3, 3)")),
    "UV in pixels": (changed("uv", written_by_hand()["uv"] * 512), ("uv goes from", "[0, 1]")),
    "vertices last": (
        changed("expression", written_by_hand()["expression"].transpose(1, 2, 0)),
        ("expression has shape (7, 3, 4)", "(any, 7, 3)"),
    ),
    "NaN": (changed("expression", np.full((4, 7, 3), np.nan)), ("expression holds NaN",)),
    "fewer names": (changed("expression_names", np.array(["a"])), ("expression_names has shape (1,)", "(4)")),
    "names twice": (changed("expression_names", np.array(["a", "b", "b", "c"])), ("'b' twice",)),
    "names of bytes": (changed("expression_names", np.array([b"a"] * 4)), ("expression_names has entries of type",)),
    "millimetres": (changed("neutral", written_by_hand()["neutral"] * 1000), ("neutral is", "high", "in metres")),
    "half of the eyes": (without("eye_weights"), ("no eye_weights", "or neither")),
    "the right eye first": (
        changed("eye_centers", written_by_hand()["eye_centers"][::-1]),
        ("eye_centers", "the head's own left first"),
    ),
    "weights beyond 1": (
        changed("eye_weights", np.linspace(0.7, 1.7, 14).reshape(7, 2)),
        ("eye_weights goes from 0.7 to 1.7", "[0, 1]"),
    ),
    "weights of fewer": (changed("head_weights", np.ones(3)), ("head_weights has shape (3,)", "(7)")),
    "a table of objects": (changed("identity", np.array([None, None])), ("no numpy arrays", "Object arrays")),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_that_names_the_key(case: str, path: Path) -> None:
    arrays, parts = BAD[case]
    with pytest.raises(TemplateError) as caught:
        load_blendshape(save(path, arrays))
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message
    assert not [part for part in ("head.npz", *parts) if part not in message], message


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing", b"text"])
def test_what_is_no_archive_is_one_line(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with pytest.raises(TemplateError, match=r"head.npz: .*expected a blendshape template"):
        load_blendshape(path)
    with pytest.raises(TemplateError, match=r"nowhere.npz: cannot be read: No such file"):
        load_blendshape(path.with_name("nowhere.npz"))


def test_the_configuration_tells_the_kind_by_the_files_suffix(path: Path, random_model: FlameData) -> None:
    flame = write_flame(random_model, path.parent / "FLAME")
    assert isinstance(load_template(Config(template=TemplateConfig(str(path)))), BlendshapeTemplate)
    assert isinstance(load_template(Config(template=TemplateConfig(str(flame)))), FlameTemplate)
    with pytest.raises(ConfigError, match=r"template.mouth_interior is true, but .*head.npz is a blendshape template"):
        load_template(Config(template=TemplateConfig(str(path), mouth_interior=True)))


@pytest.mark.parametrize("moves", ["jaw", "eyelids", "eyes", "root"])
def test_the_demos_head_in_blendshapes_is_that_of_its_joints(coarse_head: FlameData, moves: str) -> None:
    """See tests.helpers.blendshape_head."""
    model = FlameTemplate(coarse_head)
    ours = BlendshapeTemplate(make_blendshape_head(model, torch.zeros(300, dtype=torch.float64)))
    random = torch.Generator().manual_seed(0)
    turn = axis_angle_to_rotation(torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64))
    turns = axis_angle_to_rotation(0.4 * torch.randn(3, 3, generator=random, dtype=torch.float64))
    frame = TrackedFrame(
        shape=torch.zeros(300, dtype=torch.float64),
        expression=torch.zeros(100, dtype=torch.float64),
        jaw=rotation_to_rot6d(turn if moves == "jaw" else torch.eye(3).double()),
        eyes=rotation_to_rot6d(turns[:2] if moves == "eyes" else torch.eye(3).double().repeat(2, 1, 1)).flatten(),
        eyelids=torch.tensor([0.3, 1.0] if moves == "eyelids" else [0.0, 0.0], dtype=torch.float64),
        rotation=WORLD_TO_OPENCV @ (turns[2] if moves == "root" else torch.eye(3).double()),
        translation=torch.tensor([0.1, 0.2, 0.9], dtype=torch.float64),
        intrinsics=torch.ones(4, dtype=torch.float64),
        height=1,
        width=1,
    )
    theirs, same = join_frames([frame]), join_frames([to_blendshapes(frame)])
    tolerance = 5e-4 if moves == "jaw" else 1e-8  # the cheek's corrective does not turn; deltas are stored as float32
    expected = model.pose(model.retarget(theirs))
    torch.testing.assert_close(ours.pose(same), expected, atol=tolerance, rtol=0.0)
    assert (expected - model.pose(neutral_parameters(1, 300, 100))).abs().max() > 0.001
    code = model.encode(model.retarget(theirs))[:, model.code_layout["translation"]]
    torch.testing.assert_close(ours.encode(same)[:, ours.code_layout["translation"]], code)
