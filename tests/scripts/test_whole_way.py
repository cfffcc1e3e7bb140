"""From a subject to an avatar, its metrics and its pictures, through the four scripts."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.config import load_config
from rgbavatar.io.avatar_ply import read_avatar_ply
from rgbavatar.io.checkpoint import load_checkpoint
from tests.scripts.conftest import FRAMES, TEST_FRAMES, Script, Workspace, start_program


def train(script: Script, workspace: Workspace, *arguments: str, settings: tuple[str, ...] = ()) -> None:
    ended = script("train_offline", *workspace.training(*settings), *arguments)
    assert ended.code == 0, ended.err


def read_images(folder: Path) -> list[np.ndarray]:
    return [cv2.imread(str(path), cv2.IMREAD_UNCHANGED) for path in sorted(folder.glob("*.png"))]


def test_training_leaves_the_documented_files(script: Script, workspace: Workspace) -> None:
    train(script, workspace, "--preload", "--log", "--seed", "5")
    assert {path.name for path in workspace.run.iterdir()} == {
        "config.yaml",
        "checkpoint.pt",
        "model.ply",
        "speed.txt",
        "tensorboard",
    }
    config = load_config(workspace.run / "config.yaml")
    assert (config.seed, config.training.images) == (5, 24)
    checkpoint = load_checkpoint(workspace.run / "checkpoint.pt")
    assert checkpoint.images_seen == 24
    assert len(read_avatar_ply(workspace.run / "model.ply").mean) == int(checkpoint.model["seen"].sum())
    assert "images_per_second" in (workspace.run / "speed.txt").read_text()
    assert list((workspace.run / "tensorboard").glob("events.out.tfevents.*"))


def test_preloading_and_streaming_train_the_same_avatar(script: Script, workspace: Workspace) -> None:
    train(script, workspace, "--preload")
    first = load_checkpoint(workspace.run / "checkpoint.pt").model
    train(script, workspace, "--overwrite")
    second = load_checkpoint(workspace.run / "checkpoint.pt").model
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_metrics_of_both_splits_are_written(script: Script, workspace: Workspace) -> None:
    train(script, workspace, settings=("training.images=80",))
    ended = script("calculate_metrics", *workspace.common)
    assert ended.code == 0, ended.err
    for split, count in (("train", FRAMES - TEST_FRAMES), ("test", TEST_FRAMES)):
        folder = workspace.run / "metrics" / split
        table = np.load(folder / "metrics.npz")
        assert len(table["psnr"]) == count
        summary = json.loads((folder / "metrics.json").read_text())
        assert summary["metrics"]["psnr"]["mean"] == pytest.approx(float(table["psnr"].mean()), rel=1e-5)
        assert summary["metrics"]["psnr"]["mean"] > 17.0
        assert summary["protocol"]["background"] == "black"
        assert summary["protocol"]["resolution"] == "48x48"
    assert np.load(workspace.run / "metrics" / "test" / "metrics.npz")["frame_numbers"].tolist() == [7, 8, 9]


def test_the_split_of_the_metrics_can_be_given(script: Script, workspace: Workspace) -> None:
    train(script, workspace)
    assert script("calculate_metrics", *workspace.common, "--split", "-4").code == 0
    assert len(np.load(workspace.run / "metrics" / "test" / "metrics.npz")["psnr"]) == 4


def test_all_frames_are_rendered_over_black_or_white_or_with_alpha(script: Script, workspace: Workspace) -> None:
    train(script, workspace)
    corners = {}
    for name, option in (("black", []), ("white", ["--white_bg"]), ("alpha", ["--alpha"])):
        ended = script("render", *workspace.common, *option, "--overwrite")
        assert ended.code == 0, ended.err
        images = read_images(workspace.run / "images")
        assert len(images) == FRAMES
        corners[name] = images[0][0, 0].tolist()
    assert corners == {"black": [0, 0, 0], "white": [255, 255, 255], "alpha": [0, 0, 0, 0]}


def test_videos_of_test_frames_and_a_turntable_play(script: Script, workspace: Workspace) -> None:
    train(script, workspace)
    for mode, extra, count in (
        ("compare", ["--split", "test"], TEST_FRAMES),
        ("turntable", ["--turntable_frames", "6"], 6),
    ):
        ended = script("render", *workspace.common, "--mode", mode, "--video", *extra)
        assert ended.code == 0, ended.err
        video = cv2.VideoCapture(str(workspace.run / f"{mode}.mp4"))
        frames = 0
        while video.read()[0]:
            frames += 1
        assert frames == count


def test_a_turntable_starts_as_the_camera_sees_and_shows_other_sides(script: Script, workspace: Workspace) -> None:
    train(script, workspace, settings=("training.images=60",))
    assert script("render", *workspace.common).code == 0
    assert script("render", *workspace.common, "--mode", "turntable", "--turntable_frames", "4").code == 0
    turns = [image.astype(int) for image in read_images(workspace.run / "images" / "turntable")]
    first = read_images(workspace.run / "images")[0].astype(int)
    assert np.abs(turns[0] - first).max() <= 1
    assert all(np.abs(turn - first).mean() > 5.0 for turn in turns[1:])
    assert all(turn.max() > 30 for turn in turns)


def test_online_training_ends_with_its_stream(script: Script, workspace: Workspace) -> None:
    ended = script("train_online", *workspace.training(), "--video_fps", "20", "--config", "config/online.yaml")
    assert ended.code == 0, ended.err
    assert load_checkpoint(workspace.run / "checkpoint.pt").images_seen >= 4
    assert script("calculate_metrics", *workspace.common).code == 0


def test_a_finished_run_can_be_resumed_for_more_images(script: Script, workspace: Workspace) -> None:
    train(script, workspace)
    train(script, workspace, "--resume", settings=("training.images=40",))
    resumed = load_checkpoint(workspace.run / "checkpoint.pt").model
    train(script, workspace, "--overwrite", settings=("training.images=40",))
    straight = load_checkpoint(workspace.run / "checkpoint.pt").model
    assert all(torch.equal(resumed[name], straight[name]) for name in straight)


@pytest.mark.parametrize("name", ["train_offline", "train_online", "calculate_metrics", "render"])
def test_every_script_explains_its_arguments(name: str, script: Script) -> None:
    ended = script(name, "--help")
    assert ended.code == 0
    for argument in ("--subject", "--work_name", "--output_dir", "--device", "--set", "--overwrite"):
        assert argument in ended.out


def test_the_published_defaults_hold(script: Script) -> None:
    assert "default: bala" in script("train_offline", "--help").out
    assert "default: config/offline.yaml" in script("train_offline", "--help").out
    online = script("train_online", "--help").out
    assert "default: config/online.yaml" in online
    assert "default: 25.0" in online


def test_scripts_run_as_programs(workspace: Workspace) -> None:
    process = start_program("train_offline", *workspace.training("training.images=8"))
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert "images/s" in out
    assert "small" in err  # the progress bar
