"""Expressions under ARKit's names, and ICT-FaceKit's folder made a template with them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import TemplateError
from rgbavatar.templates import convert_ict
from rgbavatar.templates.arkit_names import to_arkit_name, with_arkit_names
from rgbavatar.templates.blendshape_data import BlendshapeData, load_blendshape_data

RING, BALL = 12, 12 * 7
CENTERS = np.array([[0.0, 0.0, 0.0], [3.0, 2.0, 7.0], [-3.0, 2.0, 7.0]])
RADII = (10.0, 1.2, 1.2)


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("browDown_L", "browDownLeft"),
        ("mouthUpperUp_R", "mouthUpperUpRight"),
        ("browInnerUp_R", "browInnerUp"),
        ("jawOpen", "jawOpen"),
        ("mouthLeft", "mouthLeft"),
    ],
)
def test_sides_are_written_out(theirs: str, ours: str) -> None:
    assert to_arkit_name(theirs) == ours


def template(names: tuple[str, ...]) -> BlendshapeData:
    deltas = np.random.default_rng(0).normal(size=(len(names), 3, 3)).astype(np.float32)
    faces = np.array([[0, 1, 2]])
    return BlendshapeData(
        np.eye(3), faces, np.eye(3)[:, :2], faces, deltas, names, deltas[:0], (), None, np.zeros(3), np.ones(3)
    )


def test_two_sides_of_what_arkit_has_once_are_added_up_and_names_are_sorted() -> None:
    before = template(("jawOpen", "cheekPuff_L", "eyeBlink_R", "cheekPuff_R"))
    after = with_arkit_names(before)
    assert after.expression_names == ("cheekPuff", "eyeBlinkRight", "jawOpen")
    np.testing.assert_array_equal(after.expression[0], before.expression[1] + before.expression[3])
    np.testing.assert_array_equal(after.expression[1], before.expression[2])
    np.testing.assert_array_equal(after.expression[2], before.expression[0])


def test_another_models_names_are_refused() -> None:
    with pytest.raises(TemplateError, match=r"found shape_1 ... shape_2, expected names of sides like browDown_L"):
        with_arkit_names(template(("shape_1", "shape_2")))


def write_balls(path: Path, lift: float) -> None:
    """A head, centimetres, and two eyeballs; with a corner of the head lifted."""
    polar, turn = np.meshgrid(np.linspace(0.1, 3.0, 7), 2 * np.pi * np.arange(RING) / RING, indexing="ij")
    ball = np.stack((np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)), -1).reshape(-1, 3)
    vertices = np.concatenate([center + radius * ball for center, radius in zip(CENTERS, RADII, strict=True)])
    vertices[5] += (0, lift, 0)
    lines = [f"v {x:.6f} {y:.6f} {z:.6f}" for x, y, z in vertices]
    lines += [f"vt {i / RING:.6f} {1 - j / 6:.6f}" for j in range(7) for i in range(RING + 1)]
    for start in (0, BALL, 2 * BALL):
        for j in range(6):
            for i in range(RING):
                corners = ((j, i), (j + 1, i), (j + 1, i + 1), (j, i + 1))
                lines.append(
                    "f " + " ".join(f"{start + a * RING + b % RING + 1}/{a * (RING + 1) + b + 1}" for a, b in corners)
                )
    path.write_text("\n".join(lines) + "\n")


def test_the_command_names_expressions_and_turns_eyeballs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "FaceXModel", tmp_path / "ict.npz"
    folder.mkdir()
    for name, lift in {
        "generic_neutral_mesh": 0,
        "browInnerUp_L": 1,
        "browInnerUp_R": 2,
        "eyeBlink_L": 3,
        "identity000": 4,
    }.items():
        write_balls(folder / f"{name}.obj", lift)
    ranges = ["--eye_left", f"{BALL}-{2 * BALL - 1}", "--eye_right", f"{2 * BALL}-{3 * BALL - 1}"]
    convert_ict.main([str(folder), "--out", str(out), *ranges])
    assert "2 expressions (browInnerUp ... eyeBlinkLeft), 1 identity modes, eye joints" in capsys.readouterr().out
    data = load_blendshape_data(out)
    np.testing.assert_allclose(data.expression[:, 5, 1], [0.03, 0.03], atol=1e-4)  # float16
    assert data.eyes is not None
    np.testing.assert_allclose(data.eyes.centers, 0.01 * CENTERS[1:], atol=1e-5)


def test_a_folder_without_the_models_eyeballs_is_told(tmp_path: Path) -> None:
    for name in ("generic_neutral_mesh", "eyeBlink_L"):
        write_balls(tmp_path / f"{name}.obj", 0)
    with pytest.raises(TemplateError, match="21451-23020: found 0 vertices in use, expected an eyeball"):
        convert_ict.main([str(tmp_path), "--out", str(tmp_path / "ict.npz")])
