"""Subjects in the INSTA layout: pairing, conventions, and each way in which a subject can be wrong."""

from __future__ import annotations

import dataclasses
import shutil
import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.datasets import layouts
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.recorded import load_recorded
from tests.datasets.subjects import (
    PROBE,
    change_frame,
    frame_content,
    needs_probe,
    noise,
    one_line_error,
    small_template,
    write_png,
    write_subject,
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_subject(tmp_path / "INSTA" / "someone", range(5))


def load(folder: Path, **options: Any) -> HeadDataset:
    return load_recorded(folder, small_template(), **({"preload": True, "pin_memory": False} | options))


def test_it_loads_frames_in_the_order_of_their_numbers(folder: Path) -> None:
    dataset = load(folder)
    assert dataset.subject == "someone"
    assert dataset.numbers.tolist() == [0, 1, 2, 3, 4]
    assert dataset.vertices.shape == (5, 9, 3)
    assert dataset.codes.shape == (5, 129)
    assert dataset.vertices.dtype == dataset.codes.dtype == dataset.camera.intrinsics.dtype == torch.float32
    np.testing.assert_array_equal(dataset.codes[3, :100], frame_content(3)["flame"]["exp"][0])


def test_the_camera_sees_the_mesh_where_the_tracker_did(tmp_path: Path) -> None:
    """A vertex that hangs on the neck lands at R x + t, whatever joint the rotation was moved to."""
    template = small_template()
    template.data.weights[:] = np.eye(5)[1]
    template.data.shapedirs[:] = 0
    dataset = load_recorded(write_subject(tmp_path / "s"), template, preload=False, pin_memory=False)
    for number in range(3):
        tracked = frame_content(number)["opencv"]
        expected = template.data.v_template @ tracked["R"][0].T + tracked["t"][0]
        seen = dataset.vertices[number] @ dataset.camera.world_to_camera[0, :, :3].T
        np.testing.assert_allclose(seen, expected, atol=1e-6)  # float32 of coordinates near 1 m
    assert dataset.camera.world_to_camera.tolist() == [[[1, 0, 0, 0], [0, -1, 0, 0], [0, 0, -1, 0]]]
    assert dataset.camera.intrinsics.tolist() == [[20, 20, 6, 5]]
    dataset.close()


def test_a_head_that_faces_the_camera_is_not_turned(tmp_path: Path) -> None:
    """Frame 0 of the made-up motion: the code's neck is the identity, and the mesh is the template, a metre away."""
    template = small_template()
    template.data.shapedirs[:] = 0
    dataset = load_recorded(write_subject(tmp_path / "s"), template, preload=False, pin_memory=False)
    assert dataset.codes[0, template.code_layout["neck"]].tolist() == [1, 0, 0, 0, 1, 0]
    expected = template.data.v_template - [0, 0, 1]
    np.testing.assert_allclose(dataset.vertices[0], expected, atol=1e-6)  # float32 of coordinates near 1 m
    dataset.close()


def test_images_and_frames_pair_by_number_not_by_position(tmp_path: Path) -> None:
    folder = write_subject(tmp_path / "s", range(98, 103))
    for part in ("images", "checkpoint"):  # unpadded names sort otherwise: 100, 101, 102, 98, 99
        for path in (folder / part).iterdir():
            path.rename(path.with_name(path.name.lstrip("0")))
    dataset = load(folder)
    assert dataset.numbers.tolist() == list(range(98, 103))
    for position, number in enumerate(range(98, 103)):
        np.testing.assert_array_equal(dataset.images.read(torch.tensor([position]))[0], noise(number))
        np.testing.assert_array_equal(dataset.codes[position, :100], frame_content(number)["flame"]["exp"][0])


def test_numbers_may_start_at_one(tmp_path: Path) -> None:
    assert load(write_subject(tmp_path / "s", range(1, 4))).numbers.tolist() == [1, 2, 3]


def test_streaming_equals_preloading(folder: Path) -> None:
    held, streamed = load(folder), load(folder, preload=False)
    everything = torch.arange(5)
    assert torch.equal(held.images.read(everything), streamed.images.read(everything))
    streamed.close()


def test_a_split_holds_its_frames_with_the_poses_they_have_in_the_whole(folder: Path) -> None:
    whole, test = load(folder), load(folder, split=Split.TEST, test_frames=2)
    assert test.numbers.tolist() == [3, 4]
    assert torch.equal(test.vertices, whole.vertices[3:])
    np.testing.assert_array_equal(test.images.read(torch.tensor([1]))[0], noise(4))
    with one_line_error("dataset.test_frames is 350", "5 frames"):
        load(folder, split=Split.TRAIN, test_frames=350)


def test_each_image_has_its_own_camera_where_intrinsics_differ(folder: Path) -> None:
    change_frame(folder / "checkpoint" / "00002.frame", lambda c: c["opencv"]["K"].__setitem__((0, 0, 0), 25))
    camera = load(folder).camera
    assert camera.intrinsics[:, 0].tolist() == [20, 20, 25, 20, 20]
    assert camera.world_to_camera.shape == (5, 3, 4)


def test_other_files_in_the_folders_are_ignored(folder: Path) -> None:
    (folder / "images" / ".DS_Store").write_text("x")
    (folder / "images" / "preview.png").write_text("x")
    (folder / "checkpoint" / "notes.txt").write_text("x")
    assert len(load(folder)) == 5


def test_a_missing_subject_is_named_with_near_ones(folder: Path) -> None:
    with one_line_error("somone", "no such subject", "did you mean someone?"):
        load(folder.parent / "somone")
    with one_line_error("xyz", "holds the subjects someone"):
        load(folder.parent / "xyz")
    with one_line_error("nowhere", "does not exist either", "dataset.data_dir"):
        load(folder.parent / "nowhere" / "someone")


@pytest.mark.parametrize("part", ["images", "checkpoint"])
def test_a_missing_folder_is_named(folder: Path, part: str) -> None:
    shutil.rmtree(folder / part)
    with one_line_error(f"someone/{part}", "no such folder"):
        load(folder)


@pytest.mark.parametrize(("part", "name"), [("images", "00000.png"), ("checkpoint", "00000.frame")])
def test_an_empty_folder_is_named(folder: Path, part: str, name: str) -> None:
    for path in (folder / part).iterdir():
        path.unlink()
    with one_line_error(f"someone/{part}", "found nothing", name):
        load(folder)


def test_a_folder_of_other_images_is_named(folder: Path) -> None:
    for path in (folder / "images").iterdir():
        path.rename(path.with_suffix(".jpg"))
    with one_line_error("someone/images", "found 00000.jpg, 00001.jpg, 00002.jpg", "00000.png"):
        load(folder)


def test_a_gap_is_named(folder: Path) -> None:
    (folder / "images" / "00002.png").unlink()
    (folder / "checkpoint" / "00002.frame").unlink()
    with one_line_error("00001.png", "found 00003", "expected 00002"):
        load(folder)


def test_an_image_without_a_frame_is_named_and_the_reverse(folder: Path) -> None:
    (folder / "checkpoint" / "00004.frame").unlink()
    with one_line_error("00004.png", "no 00004.frame", "numbers 0 to 3"):
        load(folder)
    (folder / "images" / "00004.png").unlink()
    (folder / "images" / "00001.png").unlink()
    with one_line_error("00001.frame", "no 00001.png"):
        load(folder)


def test_two_files_of_one_number_are_named(folder: Path) -> None:
    shutil.copy(folder / "images" / "00001.png", folder / "images" / "1.png")
    with one_line_error("1.png", "number 1 also as 00001.png"):
        load(folder)


def test_a_bad_image_or_frame_is_found_before_training_also_outside_the_split(folder: Path) -> None:
    image = folder / "images" / "00004.png"
    sound = image.read_bytes()
    image.write_bytes(sound[:100])
    with one_line_error("00004.png", "truncated at 100 bytes"):
        load(folder, split=Split.TRAIN, test_frames=2, preload=False)
    image.write_bytes(sound)
    change_frame(folder / "checkpoint" / "00004.frame", lambda c: c["flame"]["exp"].fill(np.nan))
    with one_line_error("00004.frame", "flame.exp"):
        load(folder, split=Split.TRAIN, test_frames=2, preload=False)


def test_a_bad_frame_ends_the_threads_and_is_named_before_a_bad_image(folder: Path) -> None:
    before = threading.active_count()
    image = folder / "images" / "00001.png"
    image.write_bytes(image.read_bytes().replace(b"IDAT", b"iDAT"))
    with one_line_error("00001.png", "damaged"):
        load(folder)
    change_frame(folder / "checkpoint" / "00004.frame", lambda c: c["flame"]["exp"].fill(np.nan))
    for preload in (True, False):
        with one_line_error("00004.frame", "flame.exp"):
            load(folder, preload=preload)
    assert threading.active_count() == before


def test_an_interrupt_while_frames_are_read_ends_the_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(layouts, "LAYOUTS", {"insta": dataclasses.replace(layouts.INSTA, read=interrupt)})
    before = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        load(folder)
    assert threading.active_count() == before


def test_images_of_another_size_than_the_tracked_ones_are_named(folder: Path) -> None:
    change_frame(folder / "checkpoint" / "00003.frame", lambda c: c.update(img_size=np.array([12, 10])))
    with one_line_error("00003.frame", "image size is (12, 10)", "expected (10, 12)"):
        load(folder)
    write_png(folder / "images" / "00001.png", cv2.resize(noise(0), (5, 5)))
    with one_line_error("00001.png", "5x5"):
        load(folder)


def test_coefficients_that_do_not_fit_the_template_are_named(folder: Path) -> None:
    for path in (folder / "checkpoint").iterdir():
        change_frame(path, lambda c: c["flame"].update(exp=np.zeros((1, 120), np.float32)))
    with one_line_error("00000.frame", "expression has 120", "at most 100", "template.path"):
        load(folder)


@pytest.mark.parametrize(("name", "key"), [("exp", "expression"), ("shape", "identity")])
def test_a_change_of_width_within_a_subject_is_named(folder: Path, name: str, key: str) -> None:
    change_frame(folder / "checkpoint" / "00003.frame", lambda c: c["flame"].update({name: np.zeros((1, 50))}))
    with one_line_error("00003.frame", f"{key} has 50"):
        load(folder)


def test_a_change_of_identity_within_a_subject_is_named_and_a_drift_is_not(folder: Path) -> None:
    path = folder / "checkpoint" / "00003.frame"
    change_frame(path, lambda c: c["flame"]["shape"].__iadd__(0.01))
    assert torch.isfinite(load(folder).vertices).all()
    change_frame(path, lambda c: c["flame"]["shape"].__iadd__(0.5))
    with one_line_error("00003.frame", "identity differs by 0.5", "one identity"):
        load(folder)


@needs_probe
def test_the_mesh_of_a_subject_made_by_another_program_lies_on_its_mask() -> None:
    from rgbavatar.templates.flame import load_flame
    from tests.datasets.silhouettes import mean_overlap

    template = load_flame(PROBE / "FLAME2020" / "generic_model.pkl")
    dataset = load_recorded(PROBE / "INSTA" / "probe", template, preload=False, pin_memory=False)
    assert len(dataset) == 80
    assert mean_overlap(dataset, torch.tensor([0, 27, 53, 79])) > 0.7
    dataset.close()
