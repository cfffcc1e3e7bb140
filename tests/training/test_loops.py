from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgbavatar.errors import DataError, Stopped, TrainingError
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.offline import train_offline
from rgbavatar.training.prefetch import Prefetcher
from rgbavatar.training.stop_signal import StopSignal
from rgbavatar.training.trainer import StepReport, Trainer
from rgbavatar.types import Batch
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer


class RecordingLog(NullLog):
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.names: set[str] = set()
        self.pictures: list[int] = []

    def scalars(self, step: int, values: object) -> None:
        self.steps.append(step)
        self.names |= set(values)  # type: ignore[call-overload]

    def picture(self, step: int, name: str, picture: object) -> None:
        self.pictures.append(step)


def interrupt_at(trainer: Trainer, images: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Send the process Ctrl-C during the step that reaches `images`."""
    plain_step = Trainer.step

    def step(self: Trainer, batch: Batch) -> StepReport:
        report = plain_step(self, batch)
        if self.images_seen == images:
            os.kill(os.getpid(), signal.SIGINT)
        return report

    monkeypatch.setattr(Trainer, "step", step)


def parameters(trainer: Trainer) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in trainer.model.state_dict().values()])


def test_offline_training_saves_logs_and_reports(tmp_path: Path) -> None:
    dataset, log = tiny_dataset(), RecordingLog()
    trainer = tiny_trainer(tiny_config(images=42, log_every=8, picture_every=20), dataset)
    speed = train_offline(trainer, dataset, RunDir(tmp_path), log, CPU)
    assert trainer.images_seen == speed.images == 42
    assert load_checkpoint(tmp_path / "checkpoint.pt").images_seen == 42
    assert (tmp_path / "model.ply").stat().st_size > 0
    assert log.steps == [8, 16, 24, 32, 40]
    assert log.pictures == [20, 40]
    assert {"loss/total", "loss/l1", "psnr/train"} <= log.names


def test_a_run_that_is_stopped_and_resumed_ends_as_one_that_was_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = tiny_dataset()
    straight = tiny_trainer(tiny_config(images=40), dataset)
    train_offline(straight, dataset, RunDir(tmp_path / "straight"), NullLog(), CPU)

    stopped = tiny_trainer(tiny_config(images=40), dataset)
    interrupt_at(stopped, 20, monkeypatch)
    with pytest.raises(Stopped) as caught:
        train_offline(stopped, dataset, RunDir(tmp_path / "stopped"), NullLog(), CPU)
    assert caught.value.exit_code == 130
    monkeypatch.undo()

    resumed = tiny_trainer(tiny_config(images=40), dataset)
    resumed.restore(load_checkpoint(tmp_path / "stopped" / "checkpoint.pt"))
    assert resumed.images_seen == 20
    train_offline(resumed, dataset, RunDir(tmp_path / "stopped"), NullLog(), CPU)
    assert torch.equal(parameters(resumed), parameters(straight))


def test_checkpoints_are_written_at_their_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset, saved = tiny_dataset(), []
    for module in ("io.checkpoint_writer", "training.monitor"):
        monkeypatch.setattr(f"rgbavatar.{module}.save_checkpoint", lambda path, state: saved.append(state.images_seen))
    trainer = tiny_trainer(tiny_config(images=40, checkpoint_every=16), dataset)
    train_offline(trainer, dataset, RunDir(tmp_path), NullLog(), CPU)
    assert saved == [16, 32, 40]


def test_divergence_keeps_the_last_good_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(images=40, checkpoint_every=16, log_every=1000), dataset)
    plain_step = Trainer.step

    def step(self: Trainer, batch: Batch) -> StepReport:
        if self.images_seen == 20:
            self.model.base.mean.data.fill_(float("nan"))
        return plain_step(self, batch)

    monkeypatch.setattr(Trainer, "step", step)
    with pytest.raises(TrainingError):
        train_offline(trainer, dataset, RunDir(tmp_path), NullLog(), CPU)
    assert load_checkpoint(tmp_path / "checkpoint.pt").images_seen == 16


def test_the_prefetcher_keeps_the_order() -> None:
    order = [torch.tensor([i]) for i in range(20)]
    dataset = tiny_dataset(20)
    with Prefetcher(order, lambda positions: dataset.batch(positions, CPU)) as batches:
        assert [int(batch.indices) for batch in batches] == list(range(20))


def test_an_error_of_the_reader_is_raised_where_the_batch_would_come() -> None:
    dataset = tiny_dataset()

    def load(positions: Tensor) -> Batch:
        if int(positions) == 2:
            raise DataError("00002.png is broken")
        return dataset.batch(positions, CPU)

    taken = []
    with (
        pytest.raises(DataError, match=r"00002\.png"),
        Prefetcher((torch.tensor([i]) for i in range(5)), load) as batches,
    ):
        taken.extend(int(batch.indices) for batch in batches)
    assert taken == [0, 1]


def test_leaving_early_ends_the_reader() -> None:
    dataset = tiny_dataset()

    def endless() -> Iterator[Tensor]:
        while True:
            yield torch.tensor([0])

    with Prefetcher(endless(), lambda positions: dataset.batch(positions, CPU)) as batches:
        next(iter(batches))
    assert "prefetch" not in {thread.name for thread in threading.enumerate()}


def test_the_first_signal_is_noted_and_the_second_one_ends_the_program() -> None:
    with StopSignal() as stop:
        assert not stop.requested
        os.kill(os.getpid(), signal.SIGINT)
        assert stop.requested
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_sigterm_is_noted_and_the_old_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.number == signal.SIGTERM
    assert signal.getsignal(signal.SIGTERM) == before
