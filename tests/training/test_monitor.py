"""Saving beside training and at its end: the last state stands in the file, whatever is still being written."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.stream import ReplaySource
from rgbavatar.errors import OutputError, Stopped
from rgbavatar.io import checkpoint_writer
from rgbavatar.io.avatar_ply import read_avatar_ply
from rgbavatar.io.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.trained import load_trained
from rgbavatar.training import monitor as monitor_module
from rgbavatar.training.monitor import Monitor, save_run
from rgbavatar.training.offline import train_offline
from rgbavatar.training.online import train_online
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer


def step(trainer: Trainer, dataset: HeadDataset, monitor: Monitor, count: int = 1) -> None:
    for _ in range(count):
        positions = (torch.arange(4) + trainer.images_seen) % len(dataset)
        monitor.after_step(trainer.step(dataset.batch(positions, CPU)))


def weights(trainer: Trainer) -> dict[str, Tensor]:
    return {f"avatar.{name}": tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def assert_holds(checkpoint: Checkpoint, expected: dict[str, Tensor]) -> None:
    assert all(torch.equal(checkpoint.model[name], tensor) for name, tensor in expected.items())


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Iterator[threading.Event]:
    """Writes beside training wait until it is set."""
    opened = threading.Event()

    def save(path: Path, checkpoint: Checkpoint) -> None:
        assert opened.wait(60)
        save_checkpoint(path, checkpoint)

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save)
    yield opened
    opened.set()


def open_soon(gate: threading.Event) -> None:
    """Long after the steps that are left have been taken: a loop that waits for no write has ended by then."""
    threading.Timer(1.0, gate.set).start()


def test_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, gate: threading.Event) -> None:
    dataset, run = tiny_dataset(), RunDir(tmp_path)
    trainer = tiny_trainer(tiny_config(checkpoint_every=8), dataset)
    with Monitor(trainer, run, NullLog()) as monitor:
        step(trainer, dataset, monitor, 2)
        state = weights(trainer)
        step(trainer, dataset, monitor)
        existed = run.checkpoint.exists()
        gate.set()
    assert not existed
    saved = load_checkpoint(run.checkpoint)
    assert saved.images_seen == 8
    assert_holds(saved, state)


def test_a_checkpoint_written_beside_training_is_the_one_that_would_have_been_written_at_once(tmp_path: Path) -> None:
    dataset, run = tiny_dataset(), RunDir(tmp_path)
    trainer = tiny_trainer(tiny_config(checkpoint_every=16), dataset)
    with Monitor(trainer, run, NullLog()) as monitor:
        step(trainer, dataset, monitor, 4)
        save_checkpoint(tmp_path / "at_once.pt", trainer.checkpoint())
        step(trainer, dataset, monitor, 3)
    resumed, expected = (tiny_trainer(trainer.config, dataset) for _ in range(2))
    resumed.restore(load_checkpoint(run.checkpoint))
    expected.restore(load_checkpoint(tmp_path / "at_once.pt"))
    for other in (resumed, expected):
        assert other.images_seen == 16
        with Monitor(other, RunDir(tmp_path / "other"), NullLog()) as monitor:
            step(other, dataset, monitor, 3)
    assert_holds(resumed.checkpoint(), weights(expected))
    assert_holds(resumed.checkpoint(), weights(trainer))


def test_a_failed_checkpoint_ends_training_with_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = threading.Event()

    def fail(path: Path, checkpoint: Checkpoint) -> None:
        written.set()
        raise OutputError(f"{path}: cannot be written")

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", fail)
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(checkpoint_every=8), dataset)
    steps: list[int] = []

    def train() -> None:
        with Monitor(trainer, RunDir(tmp_path), NullLog()) as monitor:
            step(trainer, dataset, monitor, 2)
            assert written.wait(60)
            monitor._writer._pool.submit(lambda: None).result()  # comes after the write
            step(trainer, dataset, monitor)
            steps.append(trainer.images_seen)

    with pytest.raises(OutputError, match=r"checkpoint\.pt"):
        train()
    assert steps == []


def test_the_checkpoint_due_at_the_end_is_left_to_save_run(tmp_path: Path, gate: threading.Event) -> None:
    dataset, run = tiny_dataset(), RunDir(tmp_path)
    trainer = tiny_trainer(tiny_config(checkpoint_every=8), dataset)
    with Monitor(trainer, run, NullLog(), ends_at=8) as monitor:
        step(trainer, dataset, monitor, 2)
    assert not run.checkpoint.exists()
    save_run(trainer, run)
    assert load_checkpoint(run.checkpoint).images_seen == 8


def test_the_end_of_a_run_stands_in_the_file_though_an_earlier_write_is_late(
    tmp_path: Path, gate: threading.Event
) -> None:
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(images=40, checkpoint_every=36), dataset)
    open_soon(gate)
    train_offline(trainer, dataset, RunDir(tmp_path), NullLog(), CPU)
    assert gate.is_set()
    assert load_checkpoint(tmp_path / "checkpoint.pt").images_seen == 40


def test_so_does_the_end_of_an_online_run(tmp_path: Path, gate: threading.Event) -> None:
    dataset = tiny_dataset()
    config = tiny_config(bases_after=0)
    config = dataclasses.replace(config, online=dataclasses.replace(config.online, checkpoint_seconds=0.1))
    trainer = tiny_trainer(config, dataset)
    open_soon(gate)
    train_online(trainer, ReplaySource(dataset, 20.0), RunDir(tmp_path), NullLog())
    assert gate.is_set()
    assert load_checkpoint(tmp_path / "checkpoint.pt").images_seen == trainer.images_seen


def test_so_does_the_state_at_which_a_run_was_stopped(
    tmp_path: Path, gate: threading.Event, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(images=400, checkpoint_every=8), dataset)
    plain_step = Trainer.step

    def step_and_interrupt(self: Trainer, batch: object) -> object:
        report = plain_step(self, batch)  # type: ignore[arg-type]
        if self.images_seen == 12:
            os.kill(os.getpid(), signal.SIGINT)
        return report

    monkeypatch.setattr(Trainer, "step", step_and_interrupt)
    open_soon(gate)
    with pytest.raises(Stopped):
        train_offline(trainer, dataset, RunDir(tmp_path), NullLog(), CPU)
    assert gate.is_set()
    assert load_checkpoint(tmp_path / "checkpoint.pt").images_seen == trainer.images_seen == 12


def test_a_run_that_cannot_save_its_checkpoint_keeps_both_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset, run = tiny_dataset(), RunDir(tmp_path)
    trainer = tiny_trainer(tiny_config(), dataset)
    save_run(trainer, run)
    before = (run.checkpoint.read_bytes(), run.ply.read_bytes())
    trainer.step(dataset.batch(torch.arange(4), CPU))

    def fail(path: Path, checkpoint: Checkpoint) -> None:
        raise OutputError(f"{path}: cannot be written")

    monkeypatch.setattr(monitor_module, "save_checkpoint", fail)
    with pytest.raises(OutputError):
        save_run(trainer, run)
    assert (run.checkpoint.read_bytes(), run.ply.read_bytes()) == before


@pytest.mark.parametrize("hidden", [False, True])
def test_the_table_holds_the_gaussians_that_the_checkpoint_renders(tmp_path: Path, hidden: bool) -> None:
    dataset, run = tiny_dataset(), RunDir(tmp_path)
    trainer = tiny_trainer(tiny_config(bases_after=0), dataset)
    for _ in range(3):
        trainer.step(dataset.batch(torch.arange(4), CPU))
    if hidden:
        trainer.color_init.seen[::3] = False
    save_run(trainer, run)
    table, avatar = read_avatar_ply(run.ply), load_trained(run.checkpoint, CPU)
    base, basis, binding = avatar.model.base, avatar.model.basis, avatar.binding
    expected = {
        "mean": base.mean, "rotation": base.rotation, "sh": base.sh, "opacity_logit": base.opacity_logit,
        "log_scale": base.log_scale, "basis_mean": basis.mean, "basis_rotation": basis.rotation, "basis_sh": basis.sh,
        "network": torch.cat([parameter.flatten() for parameter in avatar.model.network.parameters()]),
        "face": binding.face_ids.int(), "barycentric": binding.barycentrics,
    }  # fmt: skip
    assert len(table.mean) == (96 if hidden else 144)
    for name, tensor in expected.items():
        assert torch.equal(torch.from_numpy(getattr(table, name)), tensor.detach()), name
