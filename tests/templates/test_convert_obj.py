"""From a folder of OBJ files to a template: names, units, axes, groups, eyes, UVs, and what is wrong with a folder."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.errors import RgbAvatarError, TemplateError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.templates import convert_obj
from rgbavatar.templates.base import HeadParameters, neutral_parameters
from rgbavatar.templates.blendshape import BlendshapeTemplate, load_blendshape
from rgbavatar.templates.convert_obj import ConvertSettings, convert_folder, fit_sphere

ROWS, COLUMNS = 9, 16
HEAD = (ROWS + 1) * (COLUMNS + 1)  # vertices of a ball
EYE_RADIUS = 1.2  # centimetres
EYES = np.array([[3.1, 2.0, 7.0], [-3.1, 2.0, 7.0]])
UP = np.array([0.0, 1.0, 0.0])
LABELS = ("M_Face", "M_EyeLeft", "M_EyeRight")
EYE_NAMES = (("M_EyeLeft",), ("M_EyeRight",))
PRECISE = {"atol": 1e-7, "rtol": 0.0}  # metres: float32 deltas, six digits of text


def ball(center: Sequence[float], radii: Sequence[float]) -> np.ndarray:
    """A sphere, stretched; poles up and down. [HEAD, 3], the first and the last column in the same places."""
    polar, turn = np.meshgrid(np.linspace(0.05, 3.09, ROWS + 1), np.linspace(0, 2 * np.pi, COLUMNS + 1), indexing="ij")
    points = np.stack((np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)), -1)
    return np.array(center) + points.reshape(-1, 3) * radii


def head(scale: float = 1.0) -> np.ndarray:
    """A head of 24 cm and two eyeballs, centimetres. [3 HEAD, 3]."""
    eyes = [ball(center, [EYE_RADIUS] * 3) for center in EYES]
    return scale * np.concatenate((ball((0, 0, 0), (8, 12, 9)), *eyes))


def quads() -> np.ndarray:
    grid = np.arange(HEAD).reshape(ROWS + 1, COLUMNS + 1)
    return np.stack((grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]), -1).reshape(-1, 4)


def write_obj(path: Path, vertices: np.ndarray, has_uv: bool) -> None:
    """A mesh of quads; all three balls have the same UV vertices."""
    lines = ["# made by hand", *(f"v {x:.9f} {y:.9f} {z:.9f}" for x, y, z in vertices)]
    v, u = np.meshgrid(np.linspace(1, 0, ROWS + 1), np.linspace(0, 1, COLUMNS + 1), indexing="ij")
    if has_uv:
        lines += [f"vt {a:.9f} {b:.9f}" for a, b in zip(u.ravel(), v.ravel(), strict=True)]
    for part, label in enumerate(LABELS):
        lines.append(f"usemtl {label}")
        for quad in quads():
            corners = [f"{i + 1 + part * HEAD}/{i + 1}" if has_uv else f"{i + 1 + part * HEAD}" for i in quad.tolist()]
            lines.append("f " + " ".join(corners))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def smile(vertices: np.ndarray) -> np.ndarray:
    moved = vertices.copy()
    moved[:HEAD] += np.exp(-((vertices[:HEAD] - [4, -5, 7]) ** 2).sum(1, keepdims=True) / 8) * [0.5, 0.7, -0.2]
    return moved


def jaw_open(vertices: np.ndarray) -> np.ndarray:
    moved = vertices.copy()
    moved[:HEAD, 1] -= 1.5 * (vertices[:HEAD, 1] < -4)
    return moved


@pytest.fixture
def ict(tmp_path: Path) -> Path:
    """A folder with ICT-FaceKit's names."""
    folder = tmp_path / "FaceXModel"
    write_obj(folder / "generic_neutral_mesh.obj", head(), has_uv=True)
    write_obj(folder / "mouthSmile_L.obj", smile(head()), has_uv=False)
    write_obj(folder / "jawOpen.obj", jaw_open(head()), has_uv=False)
    write_obj(folder / "identity000.obj", head(1.1), has_uv=False)
    write_obj(folder / "identity001.obj", head() + UP * 0.3, has_uv=False)
    (folder / "vertex_indices.json").write_text("{}")
    return folder


def convert(folder: Path, told: list[str] | None = None, **settings: object) -> BlendshapeTemplate:
    lines = [] if told is None else told
    return BlendshapeTemplate(convert_folder(folder, ConvertSettings(**settings), lines.append))  # type: ignore[arg-type]


def one_hot(template: BlendshapeTemplate, expression: str = "", identity: str = "") -> HeadParameters:
    """A frame with a coefficient of 1."""
    data = template.data
    p = neutral_parameters(1, len(data.identity), len(data.expression))
    if expression:
        p.expression[0, data.expression_names.index(expression)] = 1
    if identity:
        p.shape[data.identity_names.index(identity)] = 1
    return p


def test_with_a_coefficient_of_one_the_mesh_is_that_of_the_file(ict: Path) -> None:
    template = convert(ict)
    assert template.data.expression_names == ("jawOpen", "mouthSmile_L")
    assert template.data.identity_names == ("identity000", "identity001")
    for names, mesh in (
        ({}, head()),
        ({"expression": "jawOpen"}, jaw_open(head())),
        ({"expression": "mouthSmile_L"}, smile(head())),
        ({"identity": "identity000"}, head(1.1)),
        ({"identity": "identity001"}, head() + UP * 0.3),
    ):
        np.testing.assert_allclose(template.pose(one_hot(template, **names))[0], 0.01 * mesh, **PRECISE)
    assert len(template.faces) == 3 * 2 * ROWS * COLUMNS
    assert template.data.expression.dtype == np.float32


def test_triangles_face_outwards_as_the_quads_did(ict: Path) -> None:
    template = convert(ict, keep=("M_Face",))
    a, b, c = template.pose(one_hot(template))[0][template.faces].unbind(1)
    assert ((torch.linalg.cross(b - a, c - a) * (a + b + c)).sum(1) > 0).all()


def test_facewarehouses_names_are_understood_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for i in range(12):
        write_obj(tmp_path / f"shape_{i}.obj", head() + UP * 0.1 * i, has_uv=i == 0)
    template = convert(tmp_path)
    assert template.data.expression_names == tuple(f"shape_{i}" for i in range(1, 12))
    lift = template.data.expression.mean(1)[:, 1]
    np.testing.assert_allclose(lift, 0.001 * np.arange(1, 12), **PRECISE)
    assert len(template.data.identity) == 0


def test_other_names_are_given(tmp_path: Path) -> None:
    for name in ("rest", "exp_a", "exp_b", "id_1", "scan"):
        write_obj(tmp_path / f"{name}.obj", head(), has_uv=name == "rest")
    with pytest.raises(TemplateError, match=r"expected one neutral mesh among them: name it with --neutral"):
        convert(tmp_path)
    template = convert(tmp_path, neutral="rest.obj", identity="id_*", expression="exp_*")
    assert template.data.expression_names == ("exp_a", "exp_b")
    assert template.data.identity_names == ("id_1",)
    (tmp_path / "rest.obj").rename(tmp_path / "My_Neutral.OBJ")
    assert convert(tmp_path, identity="id_*").data.expression_names == ("exp_a", "exp_b", "scan")


def test_expressions_come_in_the_order_that_is_asked_for(ict: Path) -> None:
    assert convert(ict, order=("mouthSmile_L", "jawOpen")).data.expression_names == ("mouthSmile_L", "jawOpen")
    with pytest.raises(TemplateError, match=r"--order: found no file of 'cheekPuff' \(1 such\)"):
        convert(ict, order=("mouthSmile_L", "jawOpen", "cheekPuff"))
    with pytest.raises(TemplateError, match=r"--order: found a file that it does not name: 'mouthSmile_L'"):
        convert(ict, order=("jawOpen",))


@pytest.mark.parametrize(("unit", "scale"), [("metres", 1.0), ("decimetres", 0.1), ("millimetres", 0.001)])
def test_units_are_guessed_and_told(tmp_path: Path, unit: str, scale: float) -> None:
    for name in ("neutral", "smile"):
        write_obj(tmp_path / f"{name}.obj", 0.01 / scale * head(), has_uv=True)
    told: list[str] = []
    template = convert(tmp_path, told)
    np.testing.assert_allclose(template.data.neutral, 0.01 * head(), atol=2e-9 + 1e-9 * 0.01 / scale)
    assert unit in told[0]
    assert "0.240 m" in told[0]


def test_units_are_given_where_they_cannot_be_guessed(tmp_path: Path) -> None:
    for name in ("neutral", "smile"):
        write_obj(tmp_path / f"{name}.obj", 3 * head(), has_uv=True)
    with pytest.raises(TemplateError, match=r"neutral.obj: the mesh is 71.\d+ units high, .* give --scale"):
        convert(tmp_path)
    told: list[str] = []
    np.testing.assert_allclose(convert(tmp_path, told, scale=0.01 / 3).data.neutral, 0.01 * head(), **PRECISE)
    assert not any("units" in line for line in told)


@pytest.mark.parametrize(
    ("up", "front", "axes"), [("z", "-y", "x -z y"), ("y", "-z", "-x y -z"), ("-y", "z", "-x -y z")]
)
def test_axes_of_other_programs_are_turned(ict: Path, up: str, front: str, axes: str) -> None:
    """axes: what the file's x, y, z are of ours."""
    expected = convert(ict, eyes=EYE_NAMES)
    signs = {name: sign * np.eye(3)["xyz".index(name[-1])] for name in axes.split() for sign in [1 - 2 * ("-" in name)]}
    to_file = np.stack(list(signs.values()))
    for path in ict.glob("*.obj"):
        mesh = convert_obj.read_obj_vertices(path)
        write_obj(path, mesh @ to_file.T, has_uv="neutral" in path.name)
    turned = convert(ict, eyes=EYE_NAMES, up=up, front=front)
    np.testing.assert_allclose(turned.data.neutral, expected.data.neutral, **PRECISE)
    np.testing.assert_allclose(turned.data.expression, expected.data.expression, **PRECISE)
    assert turned.data.eyes is not None
    np.testing.assert_allclose(turned.data.eyes.centers, 0.01 * EYES, atol=1e-6)


def test_two_axes_cannot_be_one(ict: Path) -> None:
    with pytest.raises(TemplateError, match="--up y --front -y: found the same axis twice"):
        convert(ict, up="y", front="-y")


RANGES = ((f"{HEAD}-{2 * HEAD - 1}",), (f"{2 * HEAD}-{3 * HEAD - 1}",))


@pytest.mark.parametrize("eyes", [EYE_NAMES, RANGES])
def test_eyeballs_turn_about_their_centres(ict: Path, eyes: tuple[tuple[str, ...], tuple[str, ...]]) -> None:
    template = convert(ict, eyes=eyes)
    np.testing.assert_allclose(template.eye_centers(one_hot(template)), 0.01 * EYES, atol=1e-6)
    turn = axis_angle_to_rotation(torch.tensor([0.0, 0.4, 0.0], dtype=torch.float64))
    looking = replace(one_hot(template), eyes=torch.stack((turn, torch.eye(3, dtype=torch.float64)))[None])
    posed = template.pose(looking)[0].numpy()
    left = slice(HEAD, 2 * HEAD)
    expected = 0.01 * (EYES[0] + (head()[left] - EYES[0]) @ turn.numpy().T)
    np.testing.assert_allclose(posed[left], expected, atol=1e-6)
    others = np.r_[0:HEAD, 2 * HEAD : 3 * HEAD]
    np.testing.assert_allclose(posed[others], 0.01 * head()[others], **PRECISE)


def test_the_centres_follow_the_identity(ict: Path) -> None:
    template = convert(ict, eyes=EYE_NAMES)
    larger = template.eye_centers(one_hot(template, identity="identity000"))
    np.testing.assert_allclose(larger, 0.011 * EYES, atol=1e-6)


def test_the_part_of_an_eyeball_that_is_seen_is_enough() -> None:
    random = np.random.default_rng(0)
    directions = random.normal(size=(200, 3))
    directions[:, 2] = np.abs(directions[:, 2]) + 1.0
    points = np.array([0.03, 0.02, 0.05]) + 0.012 * directions / np.linalg.norm(directions, axis=1, keepdims=True)
    np.testing.assert_allclose(fit_sphere(points, "eye"), [0.03, 0.02, 0.05], atol=1e-9)
    with pytest.raises(TemplateError, match="eye: found 200 vertices that lie on no sphere"):
        fit_sphere(random.normal(size=(200, 3)), "eye")
    with pytest.raises(TemplateError, match="no sphere"):
        fit_sphere(points * [1, 1, 0], "eye")


def test_groups_that_are_left_out_take_their_vertices_with_them(ict: Path) -> None:
    whole, face = convert(ict), convert(ict, keep=("M_Face",))
    assert face.num_vertices == HEAD
    np.testing.assert_array_equal(face.data.neutral, whole.data.neutral[:HEAD])
    np.testing.assert_array_equal(face.data.expression, whole.data.expression[:, :HEAD])
    one_eye = convert(ict, drop=("M_EyeLeft",))
    assert one_eye.num_vertices == 2 * HEAD
    posed = one_eye.pose(one_hot(one_eye, expression="jawOpen"))[0]
    np.testing.assert_allclose(posed[HEAD:], 0.01 * head()[2 * HEAD :], **PRECISE)
    assert int(one_eye.faces.max()) == 2 * HEAD - 1


def test_each_part_gets_gaussians_though_all_lie_over_each_other_in_the_file(ict: Path) -> None:
    told: list[str] = []
    template = convert(ict, told)
    assert "packed as 3 squares" in told[-1]
    counts = np.bincount(bind_template(template, 128).face_ids.numpy() // (2 * ROWS * COLUMNS), minlength=3)
    assert counts.min() > 300
    assert counts[1] == pytest.approx(counts[2], rel=0.1)
    assert not any("UV" in line for line in _told(ict, keep=("M_Face",)))


def _told(folder: Path, **settings: object) -> list[str]:
    told: list[str] = []
    convert(folder, told, **settings)
    return told


def test_the_pivot_is_given_in_the_files_units_and_axes(ict: Path) -> None:
    np.testing.assert_allclose(convert(ict, pivot=(0.0, -9.0, -2.0)).data.pivot, [0, -0.09, -0.02])
    assert not convert(ict).data.pivot.any()


def test_below_the_neck_nothing_turns(ict: Path) -> None:
    assert (convert(ict).data.head_weights == 1).all()
    template = convert(ict, pivot=(0.0, -9.0, -2.0), neck=(-6.0, -10.0))
    weights, heights = template.data.head_weights, head()[:, 1]
    assert (weights[heights < -10] == 0).all()
    assert (weights[heights > -6] == 1).all()
    between = (heights > -10) & (heights < -6)
    assert between.any()
    assert ((weights[between] > 0) & (weights[between] < 1)).all()
    turn = axis_angle_to_rotation(torch.tensor([[0.0, 0.5, 0.0]], dtype=torch.float64))
    posed = template.pose(replace(one_hot(template), root=turn))[0].numpy()
    np.testing.assert_allclose(posed[heights > -6], 0.01 * head()[heights > -6] @ turn[0].numpy().T, **PRECISE)
    shift = turn[0].numpy() @ template.data.pivot - template.data.pivot
    np.testing.assert_allclose(posed[heights < -10], 0.01 * head()[heights < -10] + shift, **PRECISE)
    with pytest.raises(TemplateError, match="--neck: found no --pivot"):
        convert(ict, neck=(-10.0, -6.0))


def test_defects_of_a_folder_are_one_line(ict: Path, tmp_path: Path) -> None:
    def fails(part: str, **settings: object) -> None:
        with pytest.raises(TemplateError) as caught:
            convert(ict, **settings)
        assert "\n" not in str(caught.value)
        assert part in str(caught.value), caught.value

    fails("no group, object or material 'M_Hair', expected one of: M_EyeLeft, M_EyeRight, M_Face", keep=("M_Hair",))
    fails("leave none of", drop=LABELS)
    fails("no group, object or material 'left'", eyes=(("left",), ("M_EyeRight",)))
    fails("expected both or neither", eyes=(("M_EyeLeft",), ()))
    fails("swap --eye_left and --eye_right", eyes=EYE_NAMES[::-1])
    fails("found 0 vertices in use, expected an eyeball", eyes=EYE_NAMES, keep=("M_Face",))
    fails("no scan.obj, expected the neutral mesh of --neutral", neutral="scan")
    fails("found no expression among 4 files, expected names like face_*", expression="face_*")
    smiling = ict / "mouthSmile_L.obj"
    write_obj(smiling, smile(head())[:-1], has_uv=False)
    fails(f"mouthSmile_L.obj: found {3 * HEAD - 1} vertices, expected {3 * HEAD} as in generic_neutral_mesh.obj")
    write_obj(smiling, np.random.default_rng(0).permutation(head()), has_uv=False)
    fails("mouthSmile_L.obj: half of its vertices lie")
    write_obj(smiling, smile(head()) - head(), has_uv=False)
    fails("whole faces, not differences?")
    smiling.write_text(smiling.read_text().replace("v ", "v a", 1))
    fails("mouthSmile_L.obj: line 2: found 'a")
    write_obj(ict / "generic_neutral_mesh.obj", head(), has_uv=False)
    fails("generic_neutral_mesh.obj: 864 of 864 triangles have no UV (of M_EyeLeft, M_EyeRight, M_Face)")
    with pytest.raises(TemplateError, match=r"found no .obj file"):
        convert(ict.parent)
    with pytest.raises(TemplateError, match="found no such folder"):
        convert(tmp_path / "nowhere")


def test_the_command_writes_what_it_says(ict: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, order = tmp_path / "heads" / "mine.npz", tmp_path / "order.txt"
    order.write_text("mouthSmile_L\njawOpen\n\n")
    eyes = ["--eye_left", "M_EyeLeft", "--eye_right", "M_EyeRight"]
    convert_obj.main([str(ict), "--out", str(out), "--order", str(order), *eyes, "--precision", "float16"])
    said = capsys.readouterr().out
    assert (
        f"{3 * HEAD} vertices, {6 * ROWS * COLUMNS} triangles, 2 expressions (mouthSmile_L ... jawOpen), 2 id" in said
    )
    template = load_blendshape(out)
    assert template.data.expression.dtype == np.float16
    assert template.code_width == 2 + 6 + 12 + 3
    np.testing.assert_allclose(
        template.pose(one_hot(template, expression="jawOpen"))[0], 0.01 * jaw_open(head()), atol=1e-5
    )
    with pytest.raises(RgbAvatarError, match="exists already"):
        convert_obj.main([str(ict), "--out", str(out)])
    convert_obj.main([str(ict), "--out", str(out), "--overwrite"])
    assert load_blendshape(out).data.expression.dtype == np.float32


def test_an_error_of_the_command_is_one_line(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "rgbavatar.templates.convert_obj", str(tmp_path), "--out", str(tmp_path / "a.npz")]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 2
    assert (
        ended.stderr == f"error: {tmp_path}: found no .obj file, expected a neutral mesh and one for each expression\n"
    )
