"""Saving an online run: at intervals of time, on a disk that may be full, and to be gone on with."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import OutputError
from rgbavatar.io import checkpoint_writer
from rgbavatar.io.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rgbavatar.training import monitor as monitor_module
from rgbavatar.training import timed_saver
from tests.helpers.online_run import SOON, Run, frames, online_config, wait_until


def refuse(path: Path, checkpoint: Checkpoint) -> None:
    raise OutputError(f"{path}: cannot be written: {os.strerror(errno.ENOSPC)}")


def test_a_disk_that_is_full_for_a_while_costs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run, failed = Run(tmp_path, online_config(checkpoint_seconds=0.1)), threading.Event()

    def fail(path: Path, checkpoint: Checkpoint) -> None:
        failed.set()
        refuse(path, checkpoint)

    def free_space() -> None:
        monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save_checkpoint)
        wait_until(run.dir.checkpoint.exists)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", fail)
    run.train([*frames(5), lambda: failed.wait(SOON) and None, lambda: run.wait_for_images(100), free_space])
    assert run.saved_images == run.trainer.images_seen >= 100
    assert "training goes on, the last checkpoint is kept" in capfd.readouterr().err


def test_a_disk_that_is_full_at_the_end_is_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run, attempts = Run(tmp_path, online_config()), []

    def fail_twice(path: Path, checkpoint: Checkpoint) -> None:
        attempts.append(checkpoint.images_seen)
        (refuse if len(attempts) < 3 else save_checkpoint)(path, checkpoint)

    monkeypatch.setattr(timed_saver, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(monitor_module, "save_checkpoint", fail_twice)
    run.train([*frames(5), lambda: run.wait_for_images(40)])
    assert len(attempts) == 3
    assert run.saved_images == run.trainer.images_seen
    assert capfd.readouterr().err.count("trying again") == 1


def test_a_disk_that_stays_full_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = Run(tmp_path, online_config(checkpoint_seconds=0.1, save_patience_seconds=0.05))
    monkeypatch.setattr(timed_saver, "RETRY_SECONDS", 0.01)
    monkeypatch.setattr(monitor_module, "save_checkpoint", refuse)
    with pytest.raises(OutputError, match="No space left"):
        run.train([*frames(5), lambda: wait_until(run.dir.checkpoint.exists)])
    assert run.saved_images > 0


def test_a_resumed_run_goes_on_and_keeps_its_records(tmp_path: Path) -> None:
    first = Run(tmp_path, online_config())
    first.train([*frames(5), lambda: first.wait_for_images(40)])
    lines, rows, images = len(first.quality), len(np.load(first.dir.samples)), first.trainer.images_seen
    second = Run(tmp_path, online_config())
    second.trainer.restore(load_checkpoint(first.dir.checkpoint))
    report = second.train([*frames(5), lambda: second.wait_for_images(images + 40)], resumes=True)
    assert second.trainer.images_seen == images + report.speed.images
    assert len(second.quality) > lines
    assert len(np.load(second.dir.samples)) == rows + report.speed.images // 4
