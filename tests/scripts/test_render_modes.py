"""render.py: turntables, reenactment, ways between frames, backgrounds, sizes, kinds of video."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject
from rgbavatar.templates.flame import load_flame
from tests.scripts.conftest import FRAMES, Script, Workspace

DRIVER_FRAMES = 5


@pytest.fixture
def trained(script: Script, workspace: Workspace) -> Workspace:
    ended = script("train_offline", *workspace.training("training.images=60"), "--preload")
    assert ended.code == 0, ended.err
    return workspace


@pytest.fixture
def driver(workspace: Workspace) -> Path:
    """Another person's subject: other face, other motion, other camera."""
    template = load_flame(workspace.folder / "template" / "generic_model.pkl")
    settings = DemoSettings(frames=DRIVER_FRAMES, size=48, samples=1, seed=7, focal=2.5)
    folder = workspace.folder / "subjects" / "other"
    make_demo_subject(folder, template, settings, overwrite=False)
    return folder


def pictures(script: Script, workspace: Workspace, *arguments: str) -> list[np.ndarray]:
    """What a call of render.py leaves, as BGR(A)."""
    mode = arguments[arguments.index("--mode") + 1] if "--mode" in arguments else "frames"
    folder = workspace.run / "images" / ("" if mode == "frames" else mode)
    if folder.exists():
        shutil.rmtree(folder)
    ended = script("render", *workspace.common, *arguments)
    assert ended.code == 0, ended.err
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.glob("*.png"))]


def distance(a: np.ndarray, b: np.ndarray) -> float:
    """Mean difference in levels."""
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_a_subject_that_drives_itself_looks_as_it_did(script: Script, trained: Workspace) -> None:
    frames = pictures(script, trained)
    again = pictures(script, trained, "--mode", "reenact", "--driver", "small")
    assert len(again) == FRAMES
    assert all(np.abs(a.astype(int) - b.astype(int)).max() <= 1 for a, b in zip(frames, again, strict=True))


def test_another_drives_by_name_or_by_folder_without_its_images(
    script: Script, trained: Workspace, driver: Path
) -> None:
    by_name = pictures(script, trained, "--mode", "reenact", "--driver", "other")
    shutil.rmtree(driver / "images")
    by_folder = pictures(script, trained, "--mode", "reenact", "--driver", str(driver))
    assert len(by_name) == DRIVER_FRAMES
    assert all(np.array_equal(a, b) for a, b in zip(by_name, by_folder, strict=True))
    assert distance(by_name[0], by_name[-1]) > 0.5


def test_the_neutral_frames_look_alike_on_both_sides(script: Script, trained: Workspace, driver: Path) -> None:
    frames = pictures(script, trained)
    moved = pictures(
        script, trained, "--mode", "reenact", "--driver", "other", "--neutral", "2", "--driver_neutral", "3"
    )
    assert np.abs(moved[3].astype(int) - frames[2].astype(int)).max() <= 1
    assert distance(moved[0], frames[2]) > 0.5


def test_the_drivers_camera_and_smoothing_change_the_picture(script: Script, trained: Workspace, driver: Path) -> None:
    plain = pictures(script, trained, "--mode", "reenact", "--driver", "other")
    theirs = pictures(script, trained, "--mode", "reenact", "--driver", "other", "--driver_camera")
    calm = pictures(script, trained, "--mode", "reenact", "--driver", "other", "--smooth", "10")
    assert distance(plain[0], theirs[0]) > 1.0
    assert theirs[0].max() > 30
    assert distance(calm[0], calm[-1]) < 0.2 * distance(plain[0], plain[-1])


def test_ways_between_frames_begin_and_end_at_them(script: Script, trained: Workspace) -> None:
    frames = pictures(script, trained)
    way = pictures(script, trained, "--mode", "interpolate", "--between", "1", "8", "4", "--leg_frames", "3")
    assert len(way) == 7
    for step, frame in ((0, 1), (3, 8), (6, 4)):
        assert np.abs(way[step].astype(int) - frames[frame].astype(int)).max() <= 1
    assert distance(way[1], way[0]) < distance(way[3], way[0])


def test_a_turntable_shows_a_frame_from_above_or_all_in_turn(script: Script, trained: Workspace) -> None:
    frames = pictures(script, trained)
    still = pictures(script, trained, "--mode", "turntable", "--turntable_frames", "4", "--frame", "6")
    assert np.abs(still[0].astype(int) - frames[6].astype(int)).max() <= 1
    above = pictures(
        script, trained, "--mode", "turntable", "--turntable_frames", "4", "--frame", "6", "--elevation", "30"
    )
    assert distance(above[0], still[0]) > 1.0
    playing = pictures(script, trained, "--mode", "turntable", "--turntable_frames", "4", "--play")
    assert len(playing) == FRAMES
    assert np.abs(playing[0].astype(int) - frames[0].astype(int)).max() <= 1
    assert np.abs(playing[4].astype(int) - frames[4].astype(int)).max() <= 1  # a full turn later
    assert distance(playing[2], frames[2]) > 1.0


@pytest.mark.parametrize("mode", ["frames", "compare", "turntable"])
def test_the_background_is_the_colour_that_was_asked_for(script: Script, trained: Workspace, mode: str) -> None:
    [first, *_] = pictures(script, trained, "--mode", mode, "--bg", "#ff8000", "--turntable_frames", "2")
    assert first[40 if mode == "compare" else 0, 0].tolist() == [0, 128, 255]


def test_a_picture_of_another_size_shows_the_same(script: Script, trained: Workspace) -> None:
    [small, *_] = pictures(script, trained)
    [large, *_] = pictures(script, trained, "--size", "96")
    assert large.shape == (96, 96, 3)
    shrunk = cv2.resize(large, (48, 48), interpolation=cv2.INTER_AREA)
    assert distance(shrunk, small) < 0.5 * distance(np.roll(small, 2, axis=1), small)


def test_alpha_goes_with_every_mode_that_has_no_truth(script: Script, trained: Workspace) -> None:
    [first, *_] = pictures(script, trained, "--mode", "turntable", "--turntable_frames", "2", "--alpha")
    assert first.shape == (48, 48, 4)
    assert first[0, 0, 3] == 0
    assert first[..., 3].max() == 255


@pytest.mark.parametrize("kind", ["mp4", "webm", "gif"])
def test_videos_come_in_three_kinds(script: Script, trained: Workspace, kind: str) -> None:
    ended = script(
        "render", *trained.common, "--mode", "interpolate", "--between", "0", "5", "--leg_frames", "4", "--video", kind
    )
    assert ended.code == 0, ended.err
    video = cv2.VideoCapture(str(trained.run / f"interpolate.{kind}"))
    frames = 0
    while video.read()[0]:
        frames += 1
    assert frames == 5


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--mode", "reenact"], ("--driver",)),
        (["--mode", "reenact", "--driver", "nobody"], ("nobody", "tracked sequence")),
        (["--mode", "reenact", "--driver", "small", "--neutral", "99"], ("--neutral: found no frame 99",)),
        (["--mode", "interpolate"], ("--between",)),
        (["--mode", "interpolate", "--between", "0", "77"], ("--between: found no frame 77",)),
        (["--mode", "turntable", "--frame", "50"], ("--frame: found no frame 50",)),
        (["--mode", "compare", "--size", "96"], ("--size", "compare")),
        (["--alpha", "--bg", "white"], ("--alpha", "--bg")),
    ],
)
def test_what_cannot_be_shown_is_one_line(
    script: Script, trained: Workspace, arguments: list[str], parts: tuple[str, ...]
) -> None:
    ended = script("render", *trained.common, *arguments)
    assert ended.code == 2
    assert all(part in ended.error_line for part in parts), ended.error_line


def test_a_colour_that_is_none_is_refused(script: Script, workspace: Workspace) -> None:
    ended = script("render", *workspace.common, "--bg", "mauve")
    assert ended.code == 2
    assert "mauve" in ended.err
