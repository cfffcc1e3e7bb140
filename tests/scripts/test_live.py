"""train_online.py beside a tracker: what comes is trained on, and whatever happens to the tracker, the avatar is saved."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.io.checkpoint import load_checkpoint
from tests.scripts.conftest import FRAMES, Script, Workspace, start_program

# A tracker: copies a subject's pairs, images in two halves. argv: from, to, seconds between frames.
TRACKER = """
import shutil, sys, time
from pathlib import Path
here, there, pause = Path(sys.argv[1]), Path(sys.argv[2]), float(sys.argv[3])
for image in sorted((here / "images").iterdir()):
    data = image.read_bytes()
    with (there / "images" / image.name).open("wb", buffering=0) as file:
        file.write(data[: len(data) // 2])
        time.sleep(pause / 2)
        file.write(data[len(data) // 2 :])
    shutil.copy(here / "checkpoint" / f"{image.stem}.frame", there / "checkpoint")
    time.sleep(pause / 2)
(there / "end").touch()
"""


@pytest.fixture
def live(workspace: Workspace) -> Path:
    folder = workspace.folder / "live"
    for part in ("images", "checkpoint"):
        (folder / part).mkdir(parents=True)
    return folder


def start_tracker(workspace: Workspace, live: Path, pause: float) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", TRACKER, str(workspace.subject), str(live), str(pause)])


def watching(workspace: Workspace, live: Path, *settings: str) -> list[str]:
    arguments = workspace.training("online.broken_seconds=0.3", *settings)
    return [*arguments, "--config", "config/online.yaml", "--source", f"watch:{live}"]


def speed_of(workspace: Workspace) -> dict[str, str]:
    lines = (workspace.run / "speed.txt").read_text().splitlines()
    return dict(line.split(": ", 1) for line in lines)


def test_the_frames_of_a_tracker_are_trained_on_as_they_come(script: Script, workspace: Workspace, live: Path) -> None:
    tracker = start_tracker(workspace, live, 0.1)
    ended = script("train_online", *watching(workspace, live), "--view")
    assert tracker.wait(30) == 0
    assert ended.code == 0, ended.err
    speed = speed_of(workspace)
    assert (speed["frames_arrived"], speed["frames_dropped"], speed["frames_skipped"]) == (str(FRAMES), "0", "0")
    quality = [json.loads(line) for line in (workspace.run / "quality.jsonl").read_text().splitlines()]
    assert quality[-1]["frame"] == FRAMES - 1
    samples = np.load(workspace.run / "samples.npy")
    assert len(samples) == int(speed["images"]) // 4
    assert samples.max() <= FRAMES - 1
    assert script("calculate_metrics", *workspace.common).code == 0
    again = script("train_online", *watching(workspace, live), "--overwrite")
    assert again.code == 0, again.err


def test_a_tracker_that_is_killed_leaves_an_avatar(script: Script, workspace: Workspace, live: Path) -> None:
    tracker = start_tracker(workspace, live, 0.4)
    while len(list((live / "checkpoint").iterdir())) < 4:
        time.sleep(0.01)
    tracker.kill()
    tracker.wait(30)
    (live / "images" / "00009.png").write_bytes(b"\x89PNG")  # and something half-written
    ended = script("train_online", *watching(workspace, live, "online.stall_seconds=1.0"))
    assert ended.code == 0, ended.err
    assert int(speed_of(workspace)["frames_arrived"]) >= 4
    assert load_checkpoint(workspace.run / "checkpoint.pt").images_seen > 0
    assert (workspace.run / "model.ply").exists()


def test_a_broken_frame_is_told_of_and_the_rest_is_trained_on(script: Script, workspace: Workspace, live: Path) -> None:
    shutil.copytree(workspace.subject, live, dirs_exist_ok=True)
    damaged = live / "images" / "00003.png"
    damaged.write_bytes(damaged.read_bytes()[:-100])
    (live / "end").touch()
    ended = script("train_online", *watching(workspace, live))
    assert ended.code == 0, ended.err
    assert "warning: skipped a frame:" in ended.err
    assert "00003.png" in ended.err
    assert (speed_of(workspace)["frames_arrived"], speed_of(workspace)["frames_skipped"]) == (str(FRAMES - 1), "1")


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_a_stream_and_saves(number: int, code: int, workspace: Workspace, live: Path) -> None:
    shutil.copytree(workspace.subject, live, dirs_exist_ok=True)
    process = start_program("train_online", *watching(workspace, live, "online.checkpoint_seconds=0.2"))
    limit = time.monotonic() + 60
    while not (workspace.run / "checkpoint.pt").exists() and time.monotonic() < limit:
        time.sleep(0.05)
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    assert re.search(r"stopped after \d+ frames of the stream", err), err
    assert (workspace.run / "model.ply").exists()


@pytest.mark.parametrize(
    ("source", "parts"),
    [
        ("camera", ("--source camera", "replay, watch:DIR, camera:0 or video:FILE")),
        ("watch:", ("--source watch:", "replay, watch:DIR, camera:0 or video:FILE")),
        ("watch:nowhere", ("nowhere", "found no such folder")),
    ],
)
def test_a_source_that_is_none_is_an_error(
    script: Script, workspace: Workspace, source: str, parts: tuple[str, ...]
) -> None:
    ended = script("train_online", *workspace.training(), "--source", source)
    assert ended.code == 2
    assert all(part in ended.error_line for part in parts)
    assert not workspace.run.exists()


def test_several_processes_are_refused(script: Script, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    ended = script("train_online", *workspace.training())
    assert ended.code == 2
    assert "torchrun started 2 processes" in ended.error_line
    assert not workspace.run.exists()


def test_a_stream_that_never_begins_is_an_error(script: Script, workspace: Workspace, live: Path) -> None:
    ended = script("train_online", *watching(workspace, live, "online.stall_seconds=0.3"))
    assert ended.code == 2
    assert "live: no frame came" in ended.error_line
