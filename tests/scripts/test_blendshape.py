"""From a blendshape template and its sequence, written by hand from their documentation, to an avatar and what comes of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.geometry.triangle_raster import correct_perspective, rasterize_triangles
from rgbavatar.io.checkpoint import load_checkpoint
from tests.scripts.conftest import ROOT, Script, Workspace

FRAMES, TEST_FRAMES, SIZE, FOCAL = 12, 3, 48, 140.0
RINGS, SECTORS = 10, 16
SKIN = (RINGS + 1) * (SECTORS + 1)
EYES = np.array([[0.035, 0.03, 0.085], [-0.035, 0.03, 0.085]])
NAMES = ["mouthOpen", "browUp"]


def ball(center: np.ndarray, radii: tuple[float, float, float], corner: tuple[float, float], side: float) -> Any:
    """Vertices, triangles, and UV of a sphere, in a square of the UV map."""
    v, u = np.meshgrid(np.linspace(1, 0, RINGS + 1), np.linspace(0, 1, SECTORS + 1), indexing="ij")
    polar, turn = np.pi * (0.01 + 0.98 * (1 - v)), 2 * np.pi * u + np.pi  # the seam is behind
    points = np.stack((np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)), -1)
    grid = np.arange(SKIN).reshape(RINGS + 1, SECTORS + 1)
    a, b, c, d = grid[:-1, :-1], grid[1:, :-1], grid[1:, 1:], grid[:-1, 1:]
    faces = np.concatenate([np.stack(t, -1).reshape(-1, 3) for t in ((a, b, c), (a, c, d))])
    uv = np.array(corner) + side * (0.02 + 0.96 * np.stack((u, v), -1).reshape(-1, 2))
    return center + points.reshape(-1, 3) * radii, faces, uv


def write_template(path: Path) -> dict[str, Any]:
    """A head of 22 cm with two eyeballs that turn."""
    skin = ball(np.zeros(3), (0.08, 0.11, 0.09), (0, 0.25), 0.75)
    eyes = [ball(center, (0.018,) * 3, (0.25 * i, 0), 0.25) for i, center in enumerate(EYES)]
    neutral = np.concatenate([part[0] for part in (skin, *eyes)])
    faces = np.concatenate([part[1] + i * SKIN for i, part in enumerate((skin, *eyes))])
    front = np.exp(-(((neutral - [0, -0.05, 0.08]) / 0.04) ** 2).sum(1, keepdims=True))
    brow = np.exp(-(((neutral - [0, 0.07, 0.06]) / 0.03) ** 2).sum(1, keepdims=True))
    weights = np.zeros((3 * SKIN, 2))
    weights[SKIN : 2 * SKIN, 0] = weights[2 * SKIN :, 1] = 1
    weighted = np.arange(3 * SKIN)[:, None] < SKIN
    arrays = {
        "format": "rgbavatar blendshape template",
        "version": 1,
        "neutral": neutral.astype(np.float32),
        "faces": faces,
        "uv": np.concatenate([part[2] for part in (skin, *eyes)]),
        "uv_faces": faces,
        "expression": np.stack((weighted * front * [0, -0.02, 0.01], weighted * brow * [0, 0.01, 0.01])).astype("f2"),
        "expression_names": NAMES,
        "identity": (0.1 * neutral)[None],
        "eye_centers": EYES,
        "eye_centers_identity": (0.1 * EYES)[None],
        "eye_weights": weights,
    }
    path.parent.mkdir()
    np.savez_compressed(path, **arrays)
    return arrays


def about(axis: int, angle: float) -> np.ndarray:
    i, j = [(1, 2), (2, 0), (0, 1)][axis]
    rotation = np.eye(3)
    rotation[[i, j, i, j], [i, j, j, i]] = np.cos(angle), np.cos(angle), -np.sin(angle), np.sin(angle)
    return rotation


def parameters(frame: int) -> dict[str, Any]:
    t = 2 * np.pi * frame / FRAMES
    turned = about(0, np.pi) @ about(1, 0.4 * np.sin(t)) @ about(0, 0.1 * np.cos(t))
    return {
        "expression": np.array([0.5 + 0.5 * np.sin(2 * t), 0.5 + 0.5 * np.cos(t)]),
        "identity": np.array([0.3]),
        "rotation": turned,
        "translation": np.array([0.01 * np.sin(t), 0.0, 0.8]),
        "intrinsics": np.array([FOCAL, FOCAL, SIZE / 2, SIZE / 2]),
        "width": SIZE,
        "height": SIZE,
        "eyes": np.stack([about(1, 0.3 * np.cos(t))] * 2),
    }


def mesh_of(arrays: dict[str, Any], p: dict[str, Any]) -> np.ndarray:
    """The vertices in the camera's space: what the documentation says, with nothing of ours."""
    face = arrays["neutral"] + 0.3 * arrays["identity"][0] + np.tensordot(p["expression"], arrays["expression"], 1)
    for eye, center in enumerate(EYES * 1.03):
        mine = arrays["eye_weights"][:, eye] == 1
        face[mine] = center + (face[mine] - center) @ p["eyes"][eye].T
    return face @ p["rotation"].T + p["translation"]


def colors_of(arrays: dict[str, Any]) -> np.ndarray:
    """Skin that changes from place to place; eyes with a dark pupil."""
    rest = arrays["neutral"]
    colors = 0.5 + np.stack([2.0 * rest[:, 0], 1.5 * rest[:, 1], 1.0 * rest[:, 2]], 1)
    for eye, center in enumerate(EYES):
        mine = arrays["eye_weights"][:, eye] == 1
        colors[mine] = 0.95 - 0.9 * (rest[mine, 2:] > center[2] + 0.015)
    return colors


def paint(arrays: dict[str, Any], p: dict[str, Any]) -> np.ndarray:
    """RGBA [SIZE, SIZE, 4] of a frame, four times as fine and averaged."""
    fine = 4 * SIZE
    vertices, faces = torch.from_numpy(mesh_of(arrays, p)), torch.from_numpy(arrays["faces"])
    pixels = (vertices[:, :2] / vertices[:, 2:] * FOCAL + SIZE / 2) * 4 - 0.5
    raster = rasterize_triangles(pixels[faces], fine, fine, (-1 / vertices[:, 2])[faces])
    seen = raster.face_ids.clamp_min(0)
    weights = correct_perspective(raster.barycentrics, vertices[:, 2][faces[seen]])
    colors = (weights[..., None] * torch.from_numpy(colors_of(arrays))[faces[seen]]).sum(2)
    alpha = (raster.face_ids >= 0).double()[..., None]
    rgba = torch.cat((torch.nan_to_num(colors) * alpha, alpha), 2).numpy()
    small = cv2.resize(rgba, (SIZE, SIZE), interpolation=cv2.INTER_AREA)
    small[..., :3] /= np.maximum(small[..., 3:], 1e-6)
    return (255 * small.clip(0, 1)).round().astype(np.uint8)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    arrays = write_template(tmp_path / "template" / "head.npz")
    for part in ("images", "parameters"):
        (tmp_path / "subjects" / "small" / part).mkdir(parents=True)
    for frame in range(FRAMES):
        picture = cv2.cvtColor(paint(arrays, parameters(frame)), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(tmp_path / "subjects" / "small" / "images" / f"{frame:05d}.png"), picture)
        np.savez(tmp_path / "subjects" / "small" / "parameters" / f"{frame:05d}.npz", **parameters(frame))
    return Workspace(tmp_path)


def train(script: Script, workspace: Workspace, *settings: str) -> None:
    ended = script("train_offline", *training(workspace, *settings), "--preload")
    assert ended.code == 0, ended.err


def training(workspace: Workspace, *settings: str) -> list[str]:
    template = workspace.folder / "template" / "head.npz"
    return workspace.training(f"template.path={template}", f"dataset.test_frames={TEST_FRAMES}", *settings)


def pictures(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path)).astype(int) for path in sorted(folder.glob("*.png"))]


def export(workspace: Workspace, what: str) -> None:
    command = [sys.executable, "-m", "rgbavatar.export", what, str(workspace.run), "--device", "cpu"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert ended.returncode == 0, ended.stderr


def test_it_trains_is_measured_and_shows_what_was_recorded(script: Script, workspace: Workspace) -> None:
    train(script, workspace, "model.tex_size=56", "training.images=600", "training.bases_after=100")
    assert load_checkpoint(workspace.run / "checkpoint.pt").model["avatar.network.layers.0.weight"].shape[1] == 23
    ended = script("calculate_metrics", *workspace.common)
    assert ended.code == 0, ended.err
    metrics = json.loads((workspace.run / "metrics" / "test" / "metrics.json").read_text())
    assert metrics["metrics"]["psnr"]["mean"] > 28.0
    assert script("render", *workspace.common).code == 0
    frames = pictures(workspace.run / "images")
    truth = [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(workspace.subject.glob("images/*.png"))]
    shown = [(image[..., :3] * (image[..., 3:] / 255.0)).round() for image in truth]
    assert len(frames) == FRAMES
    for i, frame in enumerate(frames):
        differences = [np.abs(frame - other).mean() for other in shown]
        assert int(np.argmin(differences)) == i  # also the eyes and the mouth are those of the frame


def test_it_is_driven_turned_and_exported(script: Script, workspace: Workspace) -> None:
    train(script, workspace)
    assert script("render", *workspace.common).code == 0
    frames = pictures(workspace.run / "images")
    for mode, arguments, places in (
        ("reenact", ["--driver", "small"], range(FRAMES)),
        ("interpolate", ["--between", "1", "8", "--leg_frames", "2"], [1, None, 8]),
        ("turntable", ["--turntable_frames", "2", "--frame", "4"], [4, None]),
    ):
        ended = script("render", *workspace.common, "--mode", mode, *arguments)
        assert ended.code == 0, ended.err
        shown = pictures(workspace.run / "images" / mode)
        assert len(shown) == len(places)
        for picture, place in zip(shown, places, strict=True):
            assert place is None or np.abs(picture - frames[place]).max() <= 1
    for what, made in (("bundle", "avatar.npz"), ("splats", "splats/00011.ply"), ("page", "page.html")):
        export(workspace, what)
        assert (workspace.run / made).stat().st_size > 10_000


def test_it_trains_online_from_a_replay_and_from_a_folder(script: Script, workspace: Workspace) -> None:
    (workspace.subject / "end").touch()
    for source in ("replay", f"watch:{workspace.subject}"):
        ended = script(
            "train_online", *training(workspace), "--config", "config/online.yaml", "--source", source, "--overwrite"
        )
        assert ended.code == 0, ended.err
        assert load_checkpoint(workspace.run / "checkpoint.pt").images_seen >= 4


def test_what_does_not_go_together_is_one_line(script: Script, workspace: Workspace, made_once: Path) -> None:
    flame = made_once / "template" / "generic_model.pkl"
    for setting, parts in (
        ("template.mouth_interior=true", ("template.mouth_interior is true", "head.npz", "blendshape")),
        (f"template.path={flame}", ("small/parameters", "of a blendshape template", "template.path")),
        ("dataset.layout=insta", ("small/checkpoint", "no such folder")),
        (f"template.path={workspace.folder / 'nowhere.npz'}", ("nowhere.npz", "No such file")),
    ):
        ended = script("train_offline", *training(workspace, setting))
        assert ended.code == 2
        assert not [part for part in parts if part not in ended.error_line], ended.error_line
