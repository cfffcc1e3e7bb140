"""Subjects in the layout `blendshape`: found, posed where the tracker saw them, watched, and read with their own template."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.config import Config, DatasetConfig, OnlineConfig, TemplateConfig
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.layouts import BLENDSHAPE, INSTA, find_layout
from rgbavatar.datasets.recorded import load_recorded, load_tracking
from rgbavatar.datasets.stream import StreamFrame
from rgbavatar.datasets.watch import END_FILE
from rgbavatar.errors import ConfigError, DataError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.subject import open_source
from rgbavatar.templates.blendshape import BlendshapeTemplate, load_blendshape
from tests.datasets.subjects import HEIGHT, WIDTH, noise, one_line_error, small_template, write_png, write_subject

VERTICES, EXPRESSIONS, MODES, FRAMES = 6, 4, 2, 3


@pytest.fixture
def template_path(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    np.savez(
        tmp_path / "head.npz",
        format="rgbavatar blendshape template",
        version=1,
        neutral=0.1 * random.normal(size=(VERTICES, 3)),
        faces=[[0, 1, 2], [3, 4, 5]],
        uv=random.random((VERTICES, 2)),
        uv_faces=[[0, 1, 2], [3, 4, 5]],
        expression=0.01 * random.normal(size=(EXPRESSIONS, VERTICES, 3)),
        expression_names=["a", "b", "c", "d"],
        identity=0.01 * random.normal(size=(MODES, VERTICES, 3)),
    )
    return tmp_path / "head.npz"


@pytest.fixture
def template(template_path: Path) -> BlendshapeTemplate:
    return load_blendshape(template_path)


def parameters(number: int) -> dict[str, Any]:
    """What a tracker finds of a frame; OpenCV's axes are the template's, turned by half a turn about x."""
    angle = torch.tensor([np.pi, 0.0, 0.1 * number], dtype=torch.float64)
    return {
        "expression": np.random.default_rng(number).random(EXPRESSIONS),
        "identity": np.array([0.5, -1.0]),
        "rotation": axis_angle_to_rotation(angle).numpy(),
        "translation": np.array([0.01 * number, 0.02, 1.0]),
        "intrinsics": np.array([20.0, 21.0, 6.0, 5.0]),
        "width": WIDTH,
        "height": HEIGHT,
    }


def write_frame(folder: Path, number: int, **changes: Any) -> None:
    for part in ("images", "parameters"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    write_png(folder / "images" / f"{number:05d}.png", cv2.cvtColor(noise(number), cv2.COLOR_RGBA2BGRA))
    np.savez(folder / "parameters" / f"{number:05d}.npz", **(parameters(number) | changes))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number in range(FRAMES):
        write_frame(tmp_path / "subjects" / "someone", number)
    return tmp_path / "subjects" / "someone"


def load(folder: Path, template: BlendshapeTemplate) -> HeadDataset:
    return load_recorded(folder, template, preload=True, pin_memory=False)


def test_the_layout_is_found_by_looking(folder: Path, tmp_path: Path) -> None:
    assert find_layout(folder) is BLENDSHAPE
    assert find_layout(write_subject(tmp_path / "other")) is INSTA
    with one_line_error("other/parameters", "no such folder", "images/ and parameters/"):
        find_layout(tmp_path / "other", "blendshape").list_frames(tmp_path / "other")


def test_the_camera_sees_the_mesh_where_the_tracker_did(folder: Path, template: BlendshapeTemplate) -> None:
    dataset, data = load(folder, template), template.data
    assert dataset.numbers.tolist() == [0, 1, 2]
    for number in range(FRAMES):
        p = parameters(number)
        face = data.neutral + np.tensordot(p["identity"], data.identity, 1)
        face = face + np.tensordot(p["expression"], data.expression, 1)
        expected = face @ p["rotation"].T + p["translation"]
        seen = dataset.vertices[number] @ dataset.camera.world_to_camera[0, :, :3].T
        np.testing.assert_allclose(seen, expected, atol=1e-6)  # float32 of coordinates near 1 m
        np.testing.assert_allclose(dataset.codes[number, :EXPRESSIONS], p["expression"], atol=1e-7)
    assert dataset.camera.intrinsics.tolist() == [[20, 21, 6, 5]]
    assert dataset.codes.shape == (FRAMES, EXPRESSIONS + 6 + 3)
    assert torch.equal(dataset.images.read(torch.tensor([1]))[0], torch.from_numpy(noise(1)))


def test_a_head_that_faces_the_camera_upright_is_not_turned(folder: Path, template: BlendshapeTemplate) -> None:
    code = load(folder, template).codes[0, template.code_layout["root"]]
    np.testing.assert_allclose(code, [1, 0, 0, 0, 1, 0], atol=1e-6)


def test_a_template_of_one_person_needs_no_identity(folder: Path, template_path: Path) -> None:
    arrays = {key: value for key, value in np.load(template_path).items() if key != "identity"}
    np.savez(template_path, **arrays)
    for number in range(FRAMES):
        np.savez(folder / f"parameters/{number:05d}.npz", **(parameters(number) | {"identity": np.zeros(0)}))
    assert len(load(folder, load_blendshape(template_path))) == FRAMES


def test_the_motion_alone_drives(folder: Path, template: BlendshapeTemplate) -> None:
    for path in (folder / "images").iterdir():
        path.unlink()
    tracking = load_tracking(folder, template)
    assert tracking.numbers == [0, 1, 2]
    assert (tracking.camera.width, tracking.camera.height) == (WIDTH, HEIGHT)


def test_coefficients_of_another_template_are_refused(
    folder: Path, template: BlendshapeTemplate, tmp_path: Path
) -> None:
    """Four coefficients would be taken for the first four of FLAME's, and FLAME's hundred for nobody's."""
    for call in (load_tracking, lambda f, t: load_recorded(f, t, preload=False, pin_memory=False)):
        with one_line_error("someone/parameters", "of a blendshape template", "template.path"):
            call(folder, small_template())
    with one_line_error("00000.frame", "template.path"):
        load_recorded(write_subject(tmp_path / "flame"), template, preload=False, pin_memory=False)


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        ({"expression": np.zeros(EXPRESSIONS + 1)}, ("has 5 coefficients",)),
        ({"identity": np.array([0.5, 1.0])}, ("differs by 2",)),
        ({"identity": np.zeros(0)}, ("has 0 coefficients",)),
        ({"width": HEIGHT, "height": WIDTH}, ("(12, 10)", "(10, 12)")),
    ],
)
def test_a_frame_that_does_not_fit_the_others_is_named(
    folder: Path, template: BlendshapeTemplate, change: dict[str, Any], parts: tuple[str, ...]
) -> None:
    write_frame(folder, 2, **change)
    with one_line_error("00002.npz", *parts):
        load(folder, template)


def config(template_path: Path, layout: str = "auto") -> Config:
    return Config(
        template=TemplateConfig(str(template_path)),
        dataset=DatasetConfig(layout=layout),
        online=OnlineConfig(broken_seconds=0.1, stall_seconds=5.0),
    )


@pytest.mark.parametrize("layout", ["auto", "blendshape"])
def test_a_folder_that_a_tracker_is_writing_is_watched(
    folder: Path, template: BlendshapeTemplate, template_path: Path, layout: str
) -> None:
    (folder / END_FILE).touch()
    source = open_source(config(template_path, layout), f"watch:{folder}", "live", 25.0)
    frames = list(source.frames(threading.Event()))
    recorded = load(folder, template)
    assert [frame.number for frame in frames] == [0, 1, 2]
    for position, frame in enumerate(frames):
        assert isinstance(frame, StreamFrame)
        torch.testing.assert_close(frame.vertices, recorded.vertices[position], rtol=0, atol=1e-6)
        torch.testing.assert_close(frame.code, recorded.codes[position], rtol=0, atol=1e-6)


def test_a_stream_is_read_with_its_own_template(folder: Path, template_path: Path, tmp_path: Path) -> None:
    for layout in ("vhap", "insta_transforms"):
        with pytest.raises(ConfigError, match=f"dataset.layout is '{layout}', expected one with a file for each frame"):
            open_source(config(template_path, layout), f"watch:{folder}", "live", 25.0)
    with pytest.raises(ConfigError, match=r"dataset.layout is 'nonsense'"):
        open_source(config(template_path, "nonsense"), f"watch:{folder}", "live", 25.0)
    with pytest.raises(DataError, match="nowhere"):
        open_source(config(template_path), f"watch:{tmp_path / 'nowhere'}", "live", 25.0)
