"""Offline training whose frames are drawn by their errors in part: what it draws, and that it can be gone on with."""

from __future__ import annotations

import dataclasses
from collections import Counter
from pathlib import Path

import pytest
import torch

import rgbavatar.training.fused as fused_module
from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.errors import ConfigError
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.offline import train_offline
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import StepReport, Trainer
from rgbavatar.types import Batch
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer
from tests.training.test_processes import train as train_in_processes

HARD = 7  # the frame that is unlike the others


def hard_dataset() -> HeadDataset:
    """One frame of it is striped in black and white, so it stays wrong."""
    dataset = tiny_dataset()
    images = dataset.images.read(torch.arange(12))
    images[HARD, :, ::2, :3], images[HARD, :, 1::2, :3] = 0, 255
    return dataclasses.replace(dataset, images=PreloadedImages(images))


def sampling(share: float, images: int) -> Config:
    return tiny_config(images=images, error_sampling=share, bases_after=10**6)


def shown_frames(trainer: Trainer, dataset: HeadDataset, folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The positions of all frames that training shows, in their order."""
    shown: list[int] = []
    plain_step = Trainer.step

    def step(self: Trainer, batch: Batch) -> StepReport:
        shown.extend(batch.indices.tolist())
        return plain_step(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(Trainer, "step", step)
        train_offline(trainer, dataset, RunDir(folder), NullLog(), CPU)
    return shown


def test_frames_with_large_errors_are_shown_more_often(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = hard_dataset()
    counts = {}
    for share in (0.0, 0.5):
        trainer = tiny_trainer(sampling(share, 480), dataset)
        counts[share] = Counter(shown_frames(trainer, dataset, tmp_path / str(share), monkeypatch))
    assert set(counts[0.0].values()) == {40}
    assert counts[0.5][HARD] > 1.25 * 40
    assert counts[0.5].most_common(1)[0][0] == HARD
    assert min(counts[0.5].values()) >= 20
    assert sum(counts[0.5].values()) == 480


def test_the_errors_noted_are_those_of_the_last_showing() -> None:
    dataset = hard_dataset()
    trainer = tiny_trainer(sampling(0.5, 40), dataset)
    latest: dict[int, float] = {}
    for positions in ([0, 1, 2, HARD], [2, 3, HARD, 0], [4, 4, 5, 6]):
        report = trainer.step(dataset.batch(torch.tensor(positions), CPU))
        latest |= dict(zip(positions, report.image_errors().tolist(), strict=True))
    assert trainer.errors is not None
    state = trainer.errors.state()
    assert dict(zip(state["slots"].tolist(), state["errors"].tolist(), strict=True)) == pytest.approx(latest, rel=1e-6)


def test_a_run_that_is_gone_on_with_draws_the_same_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = hard_dataset()
    straight, begun, resumed = (tiny_trainer(sampling(0.5, images), dataset) for images in (80, 40, 80))
    whole = shown_frames(straight, dataset, tmp_path / "straight", monkeypatch)
    first = shown_frames(begun, dataset, tmp_path / "begun", monkeypatch)
    resumed.restore(load_checkpoint(tmp_path / "begun" / "checkpoint.pt"))
    second = shown_frames(resumed, dataset, tmp_path / "begun", monkeypatch)
    assert first + second == whole
    for ours, theirs in zip(resumed.model.parameters(), straight.model.parameters(), strict=True):
        assert torch.equal(ours, theirs)


def test_a_run_may_begin_and_end_to_draw_by_errors_where_it_is_gone_on_with(tmp_path: Path) -> None:
    dataset = hard_dataset()
    for before, after in ((0.0, 0.5), (0.5, 0.0)):
        begun, resumed = (tiny_trainer(sampling(share, 40), dataset) for share in (before, after))
        train_offline(begun, dataset, RunDir(tmp_path / str(before)), NullLog(), CPU)
        resumed.restore(load_checkpoint(tmp_path / str(before) / "checkpoint.pt"))
        assert ("errors" in resumed.checkpoint().extra) is (after > 0.0)


def test_only_the_plain_step_notes_errors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_module.fused, "fits_device", lambda *_: True)
    gpu = torch.device("meta")  # any that is not the CPU
    assert [fused_module.supports(sampling(share, 40), gpu) for share in (0.0, 0.5)] == [True, False]


def test_a_stream_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"training.error_sampling is 0.5.*stream"):
        build_trainer(sampling(0.5, 40), tiny_dataset().template, CPU)


@pytest.mark.slow
def test_two_processes_know_the_errors_of_all_frames(tmp_path: Path) -> None:
    [(alone, _)] = train_in_processes(tmp_path / "one", 1, images=40, kind="errors")
    two = train_in_processes(tmp_path / "two", 2, images=40, kind="errors")
    assert torch.equal(two[0][0], two[1][0]), "the processes hold different avatars or errors"
    torch.testing.assert_close(two[0][0][-12:], alone[-12:], rtol=1e-2, atol=1e-3)
