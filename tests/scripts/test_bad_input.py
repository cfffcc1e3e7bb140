"""Bad input gets one line that names the culprit, exit code 2, and costs nothing."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.io.checkpoint import load_checkpoint
from tests.scripts.conftest import Script, Workspace, start_program


def edit_frame(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    content = torch.load(path, weights_only=False)
    change(content)
    torch.save(content, path)


def remove_subject(subject: Path) -> None:
    shutil.rmtree(subject)


def empty_folder(subject: Path) -> None:
    for path in (subject / "images").iterdir():
        path.unlink()


def open_gap(subject: Path) -> None:
    (subject / "images" / "00004.png").unlink()
    (subject / "checkpoint" / "00004.frame").unlink()


def lose_partner(subject: Path) -> None:
    (subject / "checkpoint" / "00006.frame").unlink()


def truncate_image(subject: Path) -> None:
    path = subject / "images" / "00003.png"
    path.write_bytes(path.read_bytes()[:-200])


def drop_alpha(subject: Path) -> None:
    cv2.imwrite(str(subject / "images" / "00002.png"), np.zeros((48, 48, 3), np.uint8))


def change_size(subject: Path) -> None:
    cv2.imwrite(str(subject / "images" / "00005.png"), np.zeros((40, 48, 4), np.uint8))


def drop_key(subject: Path) -> None:
    edit_frame(subject / "checkpoint" / "00001.frame", lambda content: content["flame"].pop("jaw"))


def change_shape(subject: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["opencv"]["t"] = np.zeros((1, 4), np.float32)

    edit_frame(subject / "checkpoint" / "00002.frame", change)


def put_nan(subject: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["flame"]["exp"][0, 7] = np.nan

    edit_frame(subject / "checkpoint" / "00008.frame", change)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (remove_subject, "small"),
        (empty_folder, "images"),
        (open_gap, "4"),
        (lose_partner, "6"),
        (truncate_image, "00003.png"),
        (drop_alpha, "00002.png"),
        (change_size, "00005.png"),
        (drop_key, "00001.frame"),
        (change_shape, "00002.frame"),
        (put_nan, "00008.frame"),
    ],
)
def test_a_broken_subject_is_refused(
    spoil: Callable[[Path], None], named: str, script: Script, workspace: Workspace
) -> None:
    spoil(workspace.subject)
    ended = script("train_offline", *workspace.training())
    assert ended.code == 2
    assert named in ended.error_line
    assert not workspace.run.exists()


def test_fewer_frames_than_the_test_split_are_refused(script: Script, workspace: Workspace) -> None:
    ended = script("train_offline", *workspace.training("dataset.test_frames=350"))
    assert ended.code == 2
    assert "dataset.test_frames is 350 but the subject has 10 frames" in ended.error_line


def test_a_missing_template_is_refused(script: Script, workspace: Workspace) -> None:
    ended = script("train_offline", *workspace.training(f"template.path={workspace.folder}/nothing.pkl"))
    assert ended.code == 2
    assert "nothing.pkl" in ended.error_line


def test_a_template_of_another_kind_is_refused(script: Script, workspace: Workspace) -> None:
    other = workspace.folder / "other.pkl"
    other.write_text("this is no head")
    ended = script("train_offline", *workspace.training(f"template.path={other}"))
    assert ended.code == 2
    assert "other.pkl" in ended.error_line


def test_an_unknown_key_is_refused_with_the_nearest_one(script: Script, workspace: Workspace) -> None:
    ended = script("train_offline", *workspace.training("training.batchsize=5"))
    assert ended.code == 2
    assert "training.batchsize; did you mean training.batch_size?" in ended.error_line


def test_an_unknown_device_is_refused(script: Script, workspace: Workspace) -> None:
    for device in ("tpu", "cuda:99", "mps"):
        ended = script("train_offline", *workspace.training(), "--device", device)
        assert ended.code == 2
        assert f"--device {device}" in ended.error_line


def test_results_are_not_overwritten_unasked(script: Script, workspace: Workspace) -> None:
    assert script("train_offline", *workspace.training()).code == 0
    before = (workspace.run / "checkpoint.pt").read_bytes()
    ended = script("train_offline", *workspace.training())
    assert ended.code == 2
    assert "--overwrite" in ended.error_line
    assert (workspace.run / "checkpoint.pt").read_bytes() == before


def test_results_survive_an_overwrite_that_cannot_start(script: Script, workspace: Workspace) -> None:
    assert script("train_offline", *workspace.training()).code == 0
    before = (workspace.run / "checkpoint.pt").read_bytes()
    put_nan(workspace.subject)
    assert script("train_offline", *workspace.training(), "--overwrite").code == 2
    assert (workspace.run / "checkpoint.pt").read_bytes() == before


@pytest.mark.parametrize("name", ["calculate_metrics", "render"])
def test_written_metrics_and_pictures_are_not_overwritten_unasked(
    name: str, script: Script, workspace: Workspace
) -> None:
    assert script("train_offline", *workspace.training("training.images=8")).code == 0
    assert script(name, *workspace.common).code == 0
    ended = script(name, *workspace.common)
    assert ended.code == 2
    assert "--overwrite" in ended.error_line
    assert script(name, *workspace.common, "--overwrite").code == 0


@pytest.mark.parametrize("name", ["calculate_metrics", "render"])
def test_a_run_that_does_not_exist_is_named(name: str, script: Script, workspace: Workspace) -> None:
    ended = script(name, *workspace.common)
    assert ended.code == 2
    assert "checkpoint.pt" in ended.error_line


def test_another_template_than_the_avatars_is_refused(script: Script, workspace: Workspace) -> None:
    assert script("train_offline", *workspace.training("training.images=8")).code == 0
    ended = script("render", *workspace.common, "--set", "template.mouth_interior=true")
    assert ended.code == 2
    assert "template" in ended.error_line


@pytest.mark.parametrize("argument", [["--turntable_frames", "0"], ["--fps", "-1"], ["--mode", "nothing"]])
def test_an_argument_out_of_range_is_named(argument: list[str], script: Script, workspace: Workspace) -> None:
    ended = script("render", *workspace.common, *argument)
    assert ended.code == 2
    assert argument[0] in ended.err


def test_nothing_to_resume_is_an_error(script: Script, workspace: Workspace) -> None:
    ended = script("train_offline", *workspace.training(), "--resume")
    assert ended.code == 2
    assert "checkpoint.pt" in ended.error_line


def test_a_full_disk_keeps_the_last_checkpoint(
    script: Script, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk fills up after the first checkpoint: every later flush fails."""
    flush, calls = os.fsync, []

    def fail(descriptor: int) -> None:
        calls.append(descriptor)
        if load_seen(workspace.run / "checkpoint.pt") >= 8:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr(os, "fsync", fail)
    ended = script("train_offline", *workspace.training("training.checkpoint_every=8"))
    assert ended.code == 2
    assert "No space left on device" in ended.error_line
    assert load_checkpoint(workspace.run / "checkpoint.pt").images_seen == 8
    assert not list(workspace.run.glob(".*.partial*"))


def load_seen(path: Path) -> int:
    return load_checkpoint(path).images_seen if path.exists() else 0


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_saves_and_the_run_resumes(number: int, code: int, script: Script, workspace: Workspace) -> None:
    process = start_program(
        "train_offline", *workspace.training("training.images=100000", "training.checkpoint_every=8")
    )
    wait_for(workspace.run / "checkpoint.pt")
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code, err
    assert "Traceback" not in err
    seen = load_seen(workspace.run / "checkpoint.pt")
    ended = script("train_offline", *workspace.training(f"training.images={seen + 8}"), "--resume")
    assert ended.code == 0, ended.err
    assert load_seen(workspace.run / "checkpoint.pt") == seen + 8


def test_a_killed_run_loses_at_most_the_steps_since_its_checkpoint(script: Script, workspace: Workspace) -> None:
    process = start_program(
        "train_offline", *workspace.training("training.images=100000", "training.checkpoint_every=8")
    )
    wait_for(workspace.run / "checkpoint.pt")
    process.kill()
    process.communicate(timeout=60)
    seen = load_seen(workspace.run / "checkpoint.pt")
    assert seen > 0
    assert seen % 8 == 0
    assert script("train_offline", *workspace.training(f"training.images={seen + 4}"), "--resume").code == 0


def wait_for(path: Path) -> None:
    for _ in range(600):
        if path.exists():
            return
        time.sleep(0.1)
    raise AssertionError(f"{path} did not come")
