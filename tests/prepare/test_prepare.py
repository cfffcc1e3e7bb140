"""`python -m rgbavatar.prepare` from a raw folder to a subject that trains."""

from __future__ import annotations

import json
import runpy
import shutil
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.datasets.frame_file import read_frame_file
from rgbavatar.datasets.recorded import load_recorded
from rgbavatar.geometry.camera import Camera
from rgbavatar.io.video import write_video
from rgbavatar.prepare.resize import Window, cut
from tests.prepare.conftest import (
    FRAMES,
    SIZE,
    Command,
    Demo,
    before_background,
    make_raw,
    read_rgba,
    results,
    save,
)

ROOT = Path(__file__).parents[2]


def plan_of(folder: Path) -> dict[str, object]:
    content = json.loads((folder / "prepared.json").read_text())
    assert isinstance(content, dict)
    return content


def window_of(folder: Path) -> Window:
    return Window(**plan_of(folder)["window"])  # type: ignore[arg-type]


def project(points: torch.Tensor, camera: Camera) -> torch.Tensor:
    """Where world points [m, 3] land, the centre of the top-left pixel at (0.5, 0.5). [m, 2]."""
    seen = points @ camera.world_to_camera[0, :, :3].T + camera.world_to_camera[0, :, 3]
    return seen[:, :2] / seen[:, 2:] * camera.intrinsics[0, :2] + camera.intrinsics[0, 2:]


def test_a_raw_folder_becomes_a_subject_that_loads(demo: Demo, raw: Path, prepare: Command, one: Path) -> None:
    ended = prepare(raw, "--size", 96, "--margin", 0.05)
    assert ended.code == 0, ended.err
    assert sorted(results(one)) == sorted(
        name for n in range(FRAMES) for name in (f"images/{n:05d}.png", f"checkpoint/{n:05d}.frame")
    )
    assert f"6 frames; {window_of(one).width}x{window_of(one).width} pixels" in ended.out
    assert "became 96x96" in ended.out
    assert "next: python train_offline.py --subject one" in ended.out
    ours = load_recorded(one, demo.template, preload=True, pin_memory=False)
    theirs = load_recorded(demo.folder, demo.template, preload=False, pin_memory=False)
    assert (ours.camera.width, ours.camera.height) == (96, 96)
    assert torch.equal(ours.vertices, theirs.vertices)
    assert torch.equal(ours.codes, theirs.codes)


def test_alpha_and_colours_are_those_of_the_head(demo: Demo, raw: Path, prepare: Command, one: Path) -> None:
    assert prepare(raw).code == 0
    window = window_of(one)
    for number in range(FRAMES):
        found, truth = read_rgba(one / "images" / f"{number:05d}.png"), cut(demo.picture(number), window)
        band = cv2.dilate(((truth[..., 3] > 0) & (truth[..., 3] < 1)).astype(np.uint8), np.ones((5, 5))) == 1
        mask = truth[..., 3] > 0.5
        errors = [np.square(alpha - truth[..., 3])[band].mean() for alpha in (found[..., 3], mask)]
        assert errors[0] < 0.5 * errors[1]  # of squares: the root is below 0.7
        inside = cv2.erode(mask.astype(np.uint8), np.ones((7, 7))) == 1
        np.testing.assert_allclose(found[inside], truth[inside], atol=1e-3)


@pytest.mark.parametrize("size", [None, 60, 150])
def test_vertices_lie_on_the_content_that_they_lay_on(
    demo: Demo, tmp_path: Path, prepare: Command, one: Path, size: int | None
) -> None:
    """A dot is drawn where a vertex is seen in the raw picture, and looked for where the prepared camera sees the vertex."""
    theirs = load_recorded(demo.folder, demo.template, preload=False, pin_memory=False)
    raw = make_raw(tmp_path / "raw", demo)
    nose = int(theirs.vertices[0, :, 2].argmax())  # what is nearest to the camera; the world's z points to its back
    y, x = np.indices((SIZE, SIZE)) + 0.5
    for number in range(FRAMES):
        px, py = project(theirs.vertices[number, [nose]], theirs.camera)[0].tolist()
        dot = np.exp(-((x - px) ** 2 + (y - py) ** 2) / (2 * 2.5**2)).astype(np.float32)
        save(raw / "input" / f"{number:05d}.png", np.repeat(dot[..., None], 3, 2))
    ended = prepare(raw, *(["--size", size] if size else []))
    assert ended.code == 0, ended.err
    ours = load_recorded(one, demo.template, preload=True, pin_memory=False)
    pixels = ours.images.read(torch.arange(FRAMES))[..., 0].double().numpy()
    scale = ours.camera.width / window_of(one).width
    y, x = np.indices(pixels.shape[1:]) + 0.5
    for number in range(FRAMES):
        at = project(ours.vertices[number, [nose]], ours.camera)[0].numpy()
        weight = pixels[number] * ((x - at[0]) ** 2 + (y - at[1]) ** 2 < (8 * scale) ** 2)
        found = np.array([(x * weight).sum(), (y * weight).sum()]) / weight.sum()
        assert np.abs(found - at).max() < 0.1


def test_all_of_the_picture_is_kept_where_asked(raw: Path, prepare: Command, one: Path) -> None:
    assert prepare(raw, "--no_crop", "--matting", "binary").code == 0
    frame, before = (read_frame_file(f / "checkpoint" / "00000.frame") for f in (one, raw))
    assert torch.equal(frame.intrinsics, before.intrinsics)
    found = read_rgba(one / "images" / "00000.png")
    assert set(np.unique(found[..., 3])) == {0, 1}
    np.testing.assert_array_equal(found[..., 3], cv2.imread(str(raw / "masks" / "00000.png"), 0) / 255)


def test_gaps_and_numbers_from_1_become_consecutive(demo: Demo, tmp_path: Path, prepare: Command, one: Path) -> None:
    raw = make_raw(tmp_path / "raw", demo, first=1, picture_first=1, left_out=[0, 3])
    ended = prepare(raw)
    assert ended.code == 0, ended.err
    assert "the tracker's frames 2 to 6 are numbered 0 to 3 now" in ended.out
    frames = plan_of(one)["frames"]
    assert [(f["number"], f["tracked"]) for f in frames] == [(0, 2), (1, 3), (2, 5), (3, 6)]  # type: ignore[attr-defined]
    last = read_frame_file(one / "checkpoint" / "00003.frame")
    assert torch.equal(last.expression, read_frame_file(raw / "checkpoint" / "00006.frame").expression)
    found, truth = read_rgba(one / "images" / "00003.png"), cut(demo.picture(5), window_of(one))
    assert np.abs(found - truth)[truth[..., 3] == 1].mean() < 0.01


def test_a_shift_that_was_found_is_told(demo: Demo, tmp_path: Path, prepare: Command) -> None:
    ended = prepare(make_raw(tmp_path / "raw", demo, first=0, picture_first=1))
    assert "frame 0 was taken to be of picture 1 in" in ended.out


def test_a_video_gives_the_same_heads(demo: Demo, raw: Path, prepare: Command, one: Path) -> None:
    frames = [np.uint8(np.rint(before_background(demo.picture(n)) * 255)) for n in range(FRAMES)]
    write_video(raw / "talk.mp4", frames, 25)
    shutil.rmtree(raw / "input")
    ended = prepare(raw)
    assert ended.code == 0, ended.err
    for number in range(FRAMES):
        found, truth = read_rgba(one / "images" / f"{number:05d}.png"), cut(demo.picture(number), window_of(one))
        assert np.abs(found - truth)[truth[..., 3] == 1].mean() < 0.03  # the video loses some colour


def test_label_maps_give_the_same_as_binary_masks(raw: Path, prepare: Command, one: Path) -> None:
    assert prepare(raw).code == 0
    expected = results(one)
    for path in sorted((raw / "masks").iterdir()):
        mask = cv2.imread(str(path), 0) > 0
        levels = np.where(mask, np.where(np.indices(mask.shape)[0] < SIZE // 3, 17, 1), 16).astype(np.uint8)
        save(raw / "parsed" / path.name, levels)
    ended = prepare(raw, "--masks", raw / "parsed", "--classes", "bisenet", "--overwrite")
    assert ended.code == 0, ended.err
    assert results(one) == expected


def test_alpha_that_is_there_is_kept(demo: Demo, tmp_path: Path, prepare: Command, one: Path) -> None:
    ended = prepare(demo.folder, "--matting", "none", "--no_crop")
    assert ended.code == 0, ended.err
    for number in range(FRAMES):
        found, truth = read_rgba(one / "images" / f"{number:05d}.png"), demo.picture(number)
        np.testing.assert_array_equal(found[..., 3], truth[..., 3])
        shown = truth[..., 3] > 0
        np.testing.assert_array_equal(found[shown], truth[shown])


def test_what_is_prepared_trains(
    demo: Demo, raw: Path, prepare: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert prepare(raw, "--size", 48).code == 0
    settings = {
        "dataset.data_dir": tmp_path / "data",
        "dataset.test_frames": 2,
        "template.path": demo.model,
        "model.tex_size": 40,
        "model.initial_scale": 0.004,
        "training.images": 40,
        "training.batch_size": 4,
        "training.bases_after": 8,
    }
    given = [part for key, value in settings.items() for part in ("--set", f"{key}={value}")]
    names = ["--subject", "one", "--work_name", "w", "--output_dir", str(tmp_path / "output"), "--device", "cpu"]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", ["train_offline.py", *names, *given])
    runpy.run_path(str(ROOT / "train_offline.py"), run_name="__main__")
    assert (tmp_path / "output" / "w" / "one" / "checkpoint.pt").is_file()


def test_threads_do_not_change_the_bytes(raw: Path, prepare: Command, one: Path, tmp_path: Path) -> None:
    assert prepare(raw, "--workers", 1, "--data_dir", tmp_path, "--subject", "alone").code == 0
    assert prepare(raw, "--workers", 4).code == 0
    assert results(one) == results(tmp_path / "alone")
