"""The live demo through its scripts, on a video of the free head that plays as a camera would."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import yaml

from rgbavatar.errors import ConfigError
from rgbavatar.io.video import VideoWriter
from rgbavatar.templates.blendshape import load_blendshape
from rgbavatar.templates.free_head import cache_folder, free_head_path
from rgbavatar.track.mediapipe_faces import find_model
from rgbavatar.track.video import FileFrames
from tests.helpers.ended import Ended
from tests.helpers.free_subject import RATE, make_free_subject
from tests.scripts.conftest import ROOT, Script

FRAMES, ROUNDS, SIZE = 25, 5, 256  # pictures of a face, seen forwards and backwards in turn: eight seconds

Training = Callable[..., Ended]


@pytest.fixture(scope="module")
def clip(free_head_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A video of the free head, and a cache that holds what is needed to track it."""
    pytest.importorskip("mediapipe")
    path = tmp_path_factory.mktemp("clip") / "face.mp4"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RGBAVATAR_CACHE", str(free_head_cache))
        try:
            find_model(None, cache_folder())
        except ConfigError as error:
            pytest.skip(str(error))
        subject = make_free_subject(load_blendshape(free_head_path()), FRAMES, SIZE, seed=3)
        pictures = [picture for picture, _ in subject.video()]
        with VideoWriter(path, RATE) as video:
            for picture in [*pictures, *reversed(pictures)] * ROUNDS:
                video.write(picture)
        yield path


def arguments(folder: Path, *more: str) -> list[str]:
    shared = ["--subject", "me", "--work_name", "live", "--output_dir", str(folder / "output"), "--device", "cpu"]
    settings = [f"dataset.data_dir={folder / 'subjects'}", "model.tex_size=64", "model.initial_scale=0.003"]
    return [*shared, *(part for setting in settings for part in ("--set", setting)), *more]


@pytest.fixture
def train(script: Script, tmp_path: Path) -> Training:
    return lambda *more: script("train_online", *arguments(tmp_path, "--size", "160", *more))


@pytest.mark.slow
def test_a_face_trains_is_recorded_measured_and_drives(clip: Path, script: Script, tmp_path: Path) -> None:
    source = f"video:{clip}"
    trained = subprocess.run(
        [sys.executable, "train_online.py", *arguments(tmp_path, "--size", "160", "--source", source)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert trained.returncode == 0, trained.stderr
    used = re.search(r"pictures came, (\d+) trained on", trained.stdout)
    recorded = re.search(r"recorded: (\d+) frames in", trained.stdout)
    assert used, trained.stdout
    assert recorded, trained.stdout
    assert int(used.group(1)) == int(recorded.group(1)) > 5  # a busy machine misses most

    run, subject = tmp_path / "output" / "live" / "me", tmp_path / "subjects" / "me"
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["template"]["path"] == str(free_head_path())
    assert json.loads((subject / "tracked.json").read_text())["complete"]
    assert len(list((subject / "images").iterdir())) == int(recorded.group(1))

    measured = script("calculate_metrics", *arguments(tmp_path)[:8])
    assert measured.code == 0, measured.err
    metrics = json.loads((run / "metrics" / "train" / "metrics.json").read_text())
    assert "psnr" in json.dumps(metrics)

    again = script("train_online", *arguments(tmp_path, "--source", source))
    assert again.code == 2
    assert "exists already; give --overwrite" in again.error_line

    film = tmp_path / "film.mp4"
    driven = subprocess.run(
        [
            sys.executable,
            "-m",
            "rgbavatar.drive",
            str(run),
            "--source",
            source,
            "--record",
            str(film),
            "--device",
            "cpu",
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert driven.returncode == 0, driven.stderr
    frames = [frame.picture.astype(int) for frame in FileFrames(film)]
    assert len(frames) > 25
    middle = frames[len(frames) // 2]
    height, width = middle.shape[:2]
    assert middle[height // 3 : height // 2, width // 3 : -width // 3].mean() > 40  # a face
    assert middle[:4, :4].mean() < 10  # before nothing
    assert max(np.abs(frame - frames[0]).mean() for frame in frames[::10]) > 1  # that moves


def test_a_camera_that_is_not_there_is_told_before_anything_is_made(
    train: Training, clip: Path, tmp_path: Path
) -> None:
    ended = train("--source", "camera:97")
    assert ended.code == 2
    assert "camera:97: found no camera that can be opened" in ended.error_line
    assert not (tmp_path / "output").exists()
    assert not (tmp_path / "subjects").exists()


@pytest.mark.parametrize(
    ("more", "part"),
    [
        (("--source", "video:missing.mp4"), "missing.mp4: found no such file"),
        (("--source", "video:"), "video:: expected video: and a file"),
        (("--source", "camera:left"), "expected camera:0 for the first camera, or video:FILE"),
        (("--source", "camera:0", "--size", "5"), "--size 5: expected 64 to 2048 pixels"),
        (("--source", "camera:0", "--landmarker", "none.task"), "--landmarker none.task: found no such file"),
    ],
)
def test_what_is_wrong_is_one_line(
    train: Training, clip: Path, tmp_path: Path, more: tuple[str, ...], part: str
) -> None:
    ended = train(*more)
    assert ended.code == 2
    assert part in ended.error_line
    assert not (tmp_path / "output").exists()


def test_going_on_with_a_camera_needs_a_word_on_the_recording(
    script: Script, tmp_path: Path, clip: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = tmp_path / "output" / "live" / "me"
    run.mkdir(parents=True)
    (run / "checkpoint.pt").touch()
    (run / "config.yaml").write_text(f"template:\n  path: {free_head_path()}\n")
    ended = script("train_online", *arguments(tmp_path, "--source", "camera:0", "--resume"))
    assert ended.code == 2
    assert "--no_record" in ended.error_line
