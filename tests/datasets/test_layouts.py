"""The same heads in the same pictures, whatever layout they were written in; and what is said where one is wrong."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.layouts import LAYOUTS, find_layout
from rgbavatar.datasets.recorded import load_recorded, load_tracking
from rgbavatar.errors import ConfigError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.templates.flame import FlameTemplate
from tests.datasets.subjects import HEIGHT, WIDTH, noise, one_line_error, small_template, write_subject
from tests.helpers.layouts import (
    MONO,
    View,
    project,
    read_insta,
    write_insta_transforms,
    write_pixel3dmm,
    write_vhap,
)

FRAMES = 5


def head_template() -> FlameTemplate:
    """All of it hangs on the neck, so that no layout leaves a part behind; and eyelids do nothing, as VHAP has none."""
    template = small_template()
    template.data.weights[:] = np.eye(5)[1]
    return template


@pytest.fixture
def insta(tmp_path: Path) -> Path:
    return write_subject(tmp_path / "insta", range(FRAMES))


Writer = Callable[[Path, Path], Path]


def as_pixel3dmm(insta: Path, folder: Path) -> Path:
    return write_pixel3dmm(folder, *read_insta(insta))


def as_transforms(insta: Path, folder: Path) -> Path:
    return write_insta_transforms(folder, *read_insta(insta))


def as_transforms_with_frames(insta: Path, folder: Path) -> Path:
    """Cameras in the JSON file, parameters in `.frame` files whose own cameras are wrong."""
    write_insta_transforms(folder, *read_insta(insta))
    shutil.rmtree(folder / "flame")
    shutil.copytree(insta / "checkpoint", folder / "checkpoint")
    content = json.loads((folder / "transforms.json").read_text())
    for frame in content["frames"]:
        del frame["exp_path"]
    (folder / "transforms.json").write_text(json.dumps(content))
    return folder


def as_vhap(insta: Path, folder: Path) -> Path:
    return write_vhap(folder, *read_insta(insta), head_template())


def as_vhap_lying(insta: Path, folder: Path) -> Path:
    """In a world whose z axis points up."""
    lying = View(cv2.Rodrigues(np.array([1.5, 0.1, 0.0]))[0], MONO.translation, MONO.intrinsics)
    return write_vhap(folder, *read_insta(insta), head_template(), world=lying)


WRITERS = {
    "pixel3dmm": as_pixel3dmm,
    "insta_transforms": as_transforms,
    "insta_transforms_with_frames": as_transforms_with_frames,
    "vhap": as_vhap,
    "vhap_lying": as_vhap_lying,
}


def load(folder: Path, split: Split = Split.ALL, test_frames: int = 0) -> HeadDataset:
    return load_recorded(folder, head_template(), preload=True, pin_memory=False, split=split, test_frames=test_frames)


def pixels(dataset: HeadDataset, i: int) -> torch.Tensor:
    camera = dataset.camera.at(i if len(dataset.camera) > 1 else 0)
    return project(dataset.vertices[i], camera.world_to_camera[0], camera.intrinsics[0])


@pytest.mark.parametrize("name", WRITERS)
def test_every_layout_shows_the_head_where_insta_does(name: str, insta: Path, tmp_path: Path) -> None:
    expected, dataset = load(insta), load(WRITERS[name](insta, tmp_path / "other"))
    assert len(dataset) == FRAMES
    for i in range(FRAMES):
        # 20 pixels of focal length at 1 m: float32 of the files is some 1e-6 pixels
        torch.testing.assert_close(pixels(dataset, i), pixels(expected, i), rtol=0, atol=1e-4)
        assert torch.equal(dataset.images.read(torch.tensor([i])), expected.images.read(torch.tensor([i])))
    assert (dataset.camera.width, dataset.camera.height) == (WIDTH, HEIGHT)
    np.testing.assert_allclose(dataset.codes[:, :100], expected.codes[:, :100], atol=1e-6)


@pytest.mark.parametrize("name", WRITERS)
def test_the_layout_is_found_by_looking(name: str, insta: Path, tmp_path: Path) -> None:
    folder = WRITERS[name](insta, tmp_path / "other")
    assert find_layout(folder).name == {"insta_transforms_with_frames": "insta_transforms", "vhap_lying": "vhap"}.get(
        name, name
    )
    assert find_layout(insta).name == "insta"


def test_a_named_layout_is_taken_and_an_unknown_one_is_named(insta: Path) -> None:
    assert find_layout(insta, "vhap").name == "vhap"
    with pytest.raises(ConfigError, match=r"dataset\.layout is 'nerf', expected auto, .*vhap"):
        find_layout(insta, "nerf")


def test_a_folder_of_nothing_known_is_told_what_is_known(tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "notes.txt").touch()
    with one_line_error("no layout that is known", "notes.txt", *LAYOUTS):
        find_layout(tmp_path / "s")


@pytest.mark.parametrize("name", WRITERS)
def test_the_tracking_alone_is_enough_to_drive(name: str, insta: Path, tmp_path: Path) -> None:
    folder = WRITERS[name](insta, tmp_path / "other")
    shutil.rmtree(folder / "images")
    tracking = load_tracking(folder, head_template())
    assert tracking.numbers == list(range(FRAMES))
    assert tracking.motion.expression.shape == (FRAMES, 100)


@pytest.mark.parametrize("name", ["transforms", "vhap"])
def test_splits_are_those_of_the_files(name: str, insta: Path, tmp_path: Path) -> None:
    write = {
        "transforms": lambda folder, *parts: write_insta_transforms(folder, *parts, test_frames=2),
        "vhap": lambda folder, *parts: write_vhap(folder, *parts, head_template(), test_frames=2),
    }[name]
    folder = write(tmp_path / "other", *read_insta(insta))
    assert load(folder, Split.TRAIN, test_frames=350).numbers.tolist() == [0, 1, 2]
    assert load(folder, Split.TEST).numbers.tolist() == [3, 4]
    assert len(load(folder)) == FRAMES
    with one_line_error("no frames of the split val", "one of test, train"):
        load(folder, Split.VAL)


def test_an_upright_world_is_left_as_it_is(insta: Path, tmp_path: Path) -> None:
    upright, lying = load(as_vhap(insta, tmp_path / "a")), load(as_vhap_lying(insta, tmp_path / "b"))
    turn = torch.tensor(MONO.rotation, dtype=torch.float32)
    torch.testing.assert_close(upright.camera.world_to_camera[0, :, :3], turn, rtol=0, atol=1e-6)
    for dataset in (upright, lying):  # faces z, top towards y: rotations of an upright head are small
        necks = dataset.codes[:, 100:106].unflatten(1, (2, 3))
        assert (necks[:, 1, 1] > 0.7).all()


def test_pixel3dmm_composes_the_neck_with_the_head(insta: Path, tmp_path: Path) -> None:
    folder = as_pixel3dmm(insta, tmp_path / "other")
    path = folder / "checkpoint" / "00001.frame"
    content = torch.load(path, weights_only=False)
    bend = axis_angle_to_rotation(torch.tensor([0.3, 0.0, 0.0], dtype=torch.float64))
    content["flame"]["neck"] = bend[:2].reshape(1, 6).numpy()
    torch.save(content, path)
    plain, bent = load(insta), load(folder)
    motion = load_tracking(insta, head_template()).motion.select(slice(1, 2))
    posed = head_template().pose(dataclasses.replace(motion, neck=bend[None]))[0]
    expected = project(posed, plain.camera.world_to_camera[0], plain.camera.intrinsics[0])
    torch.testing.assert_close(pixels(bent, 1), expected, rtol=0, atol=1e-4)
    assert not torch.allclose(expected, pixels(plain, 1), atol=0.1)


def change_json(path: Path, change: Callable[[dict[str, object]], object]) -> None:
    content = json.loads(path.read_text())
    change(content["frames"][1])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("change", "parts"),
    [
        (lambda f: f.update(transform_matrix=[[1.0]]), ("transforms.json", "transform_matrix", "no 4x4 matrix")),
        (lambda f: f.update(transform_matrix=(2 * np.eye(4)).tolist()), ("off a rotation",)),
        (lambda f: f.update(file_path="images/00009.png"), ("00009.png", "no such picture")),
        (lambda f: f.update(fl_x=0), ("focal length is 0",)),
        (lambda f: f.update(w=99), ("99x10", "12x10")),
        (lambda f: f.update(fl_x="long"), ("fl_x is 'long'",)),
        (lambda f: f.pop("timestep_index"), ("timestep_index is None",)),
        (lambda f: f.update(timestep_index=0), ("a second time",)),
        (lambda f: f.pop("flame_param_path"), ("no flame_param_path",)),
    ],
)
def test_what_is_wrong_with_a_camera_file_is_named(
    change: Callable[[dict[str, object]], object], parts: tuple[str, ...], insta: Path, tmp_path: Path
) -> None:
    folder = as_vhap(insta, tmp_path / "other")
    change_json(folder / "transforms.json", change)
    with one_line_error("transforms.json" if "00009.png" not in parts else "00009.png", *parts):
        load(folder)


@pytest.mark.parametrize(
    ("name", "array", "parts"),
    [
        ("rotation", None, ("no key rotation",)),
        ("jaw_pose", np.zeros((1, 6)), ("jaw_pose", "expected 3")),
        ("expr", np.full((1, 100), np.nan), ("expr has entries that are NaN",)),
        ("shape", np.full(300, 2.0), ("shape differs", "one identity")),
    ],
)
def test_what_is_wrong_with_flames_parameters_is_named(
    name: str, array: np.ndarray | None, parts: tuple[str, ...], insta: Path, tmp_path: Path
) -> None:
    folder = as_vhap(insta, tmp_path / "other")
    path = folder / "flame_param" / "00002.npz"
    with np.load(path) as archive:
        arrays = {key: archive[key] for key in archive.files}
    arrays.pop(name)
    np.savez(path, **(arrays | ({} if array is None else {name: array})))
    with one_line_error("00002.npz", *parts):
        load(folder)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        (None, ("cannot be read",)),
        ("1 2 x", ("something else than numbers",)),
        ("1 2", ("found 2 numbers", "expected 6")),
    ],
)
def test_what_is_wrong_with_a_text_is_named(
    text: str | None, parts: tuple[str, ...], insta: Path, tmp_path: Path
) -> None:
    folder = as_transforms(insta, tmp_path / "other")
    path = folder / "flame" / "jaw" / "00003.txt"
    path.unlink()
    if text is not None:
        path.write_text(text)
    with one_line_error("jaw/00003.txt", *parts):
        load(folder)


def test_a_focal_length_in_pixels_is_named_where_widths_are_expected(insta: Path, tmp_path: Path) -> None:
    folder = as_pixel3dmm(insta, tmp_path / "other")
    path = folder / "checkpoint" / "00004.frame"
    content = torch.load(path, weights_only=False)
    content["camera"]["fl"][:] = 1500.0
    torch.save(content, path)
    with one_line_error("00004.frame", "camera.fl is 1500", "in pixels?"):
        load(folder)


def test_offsets_of_a_tracker_move_the_vertices_that_it_knows(insta: Path, tmp_path: Path) -> None:
    folder = as_vhap(insta, tmp_path / "other")
    plain = load(folder)
    offset = np.zeros((1, 12, 3), np.float32)  # three more vertices than the template: the tracker's teeth
    offset[0, :, 1] = 0.01
    for path in (folder / "flame_param").iterdir():
        with np.load(path) as archive:
            arrays = {key: archive[key] for key in archive.files}
        np.savez(path, **(arrays | {"static_offset": offset}))
    moved = load(folder)
    lengths = (moved.vertices - plain.vertices).norm(dim=2)
    assert (lengths > 0.005).all()
    assert moved.vertices.shape == plain.vertices.shape


def test_a_mask_apart_of_another_size_is_named(insta: Path, tmp_path: Path) -> None:
    folder = as_vhap(insta, tmp_path / "other")
    path = folder / "fg_masks" / "00003_00.png"
    cv2.imwrite(str(path), noise(3)[:5, :5, 0])
    with one_line_error("00003_00.png", "5x5", "12x10"):
        load(folder)


def test_jpegs_are_read_and_a_cut_off_one_is_named(insta: Path, tmp_path: Path) -> None:
    folder = as_vhap(insta, tmp_path / "other")
    content = json.loads((folder / "transforms.json").read_text())
    for frame in content["frames"]:
        picture = folder / frame["file_path"]
        frame["file_path"] = frame["file_path"].replace(".png", ".jpg")
        cv2.imwrite(str(folder / frame["file_path"]), cv2.imread(str(picture)), [cv2.IMWRITE_JPEG_QUALITY, 100])
    (folder / "transforms.json").write_text(json.dumps(content))
    assert load(folder).images.read(torch.tensor([0])).shape == (1, HEIGHT, WIDTH, 4)
    path = folder / "images" / "00001_00.jpg"
    path.write_bytes(path.read_bytes()[:-40])
    with one_line_error("00001_00.jpg", "neither a PNG nor a whole JPEG"):
        load(folder)
