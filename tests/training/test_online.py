"""Training beside a stream: nobody waits for anybody, memory stays as it is, and what was trained is saved."""

from __future__ import annotations

import dataclasses
import itertools
import os
import resource
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rgbavatar.datasets.stream import SkippedFrame
from rgbavatar.errors import DataError, Stopped, TrainingError
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.training import online
from rgbavatar.training.frame_pool import MAX_STREAM_ROWS
from rgbavatar.training.trainer import Trainer
from rgbavatar.types import Batch
from tests.helpers.online_run import DATASET, DEVICES, SOON, Run, frames, online_config, wait_until
from tests.helpers.streams import Item, frame_of


@pytest.mark.parametrize("device", DEVICES)
def test_an_avatar_grows_and_is_saved(tmp_path: Path, device: torch.device) -> None:
    run = Run(tmp_path, online_config(), device)

    def slowly() -> Iterator[Item]:
        for frame in frames(24):
            yield frame
            yield lambda: run.wait_for_images(run.trainer.images_seen + 64)

    report = run.train(slowly())
    assert (report.arrived, report.dropped, report.skipped) == (24, 0, 0)
    assert report.speed.images == run.trainer.images_seen == run.saved_images
    assert 0 <= report.speed.images - report.stream_images <= 4 * MAX_STREAM_ROWS  # steps that were prepared
    assert run.dir.ply.stat().st_size > 0
    quality = run.quality
    assert [line["frame"] for line in quality] == sorted({line["frame"] for line in quality})
    assert quality[0]["frame"] == 0
    assert quality[0]["images"] == 0
    assert quality[-1]["psnr"] > quality[0]["psnr"] + 3.0
    assert all(later["seconds"] >= line["seconds"] for line, later in itertools.pairwise(quality))


@pytest.mark.parametrize("device", DEVICES)
def test_every_step_is_recorded_with_frames_that_had_come(tmp_path: Path, device: torch.device) -> None:
    run = Run(tmp_path, online_config(local_frames=4, global_frames=6, global_ramp_frames=8, global_share=0.5), device)

    def slowly() -> Iterator[Item]:
        for frame in frames(30):
            yield frame
            yield lambda: run.wait_for_images(run.trainer.images_seen + 8)

    run.train(slowly())
    samples = np.load(run.dir.samples)
    assert samples.shape == (run.trainer.images_seen // 4, 5)
    assert (samples[:, 1:] >= 0).all()
    assert (samples[:, 1:] <= samples[:, :1]).all()
    assert (np.diff(samples[:, 0]) >= 0).all()
    assert samples[-1, 0] >= 27
    assert len(np.unique(samples[:, 1:])) > 20


def test_batches_show_the_frames_that_were_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Slots are used again and again; what is in them when a step runs is what was drawn."""
    run, seen = Run(tmp_path, online_config(local_frames=2, global_frames=3)), []
    plain_step = Trainer.step

    def step(self: Trainer, batch: Batch) -> object:
        for image, code in zip(batch.images, batch.codes, strict=True):
            [position] = [i for i in range(12) if torch.equal(image, DATASET.images.read(torch.tensor([i]))[0])]
            assert torch.equal(code, DATASET.codes[position])
            seen.append(position)
        return plain_step(self, batch)

    monkeypatch.setattr(Trainer, "step", step)
    run.train(frames(400))
    assert seen == (np.load(run.dir.samples)[:, 1:] % 12).flatten().tolist()


@pytest.mark.parametrize("device", DEVICES)
def test_training_goes_on_after_the_stream_if_asked(tmp_path: Path, device: torch.device) -> None:
    run = Run(tmp_path, online_config(post_process_epochs=3), device)
    report = run.train(frames(10))
    prepared = report.speed.images - report.stream_images - 30
    assert 0 <= prepared <= 4 * MAX_STREAM_ROWS
    assert prepared % 4 == 0
    after = np.load(run.dir.samples)[-8:, 1:].flatten()
    assert np.bincount(after[after >= 0], minlength=10).tolist() == [3] * 10


def test_late_frames_do_not_block_training(tmp_path: Path) -> None:
    run = Run(tmp_path, online_config())
    report = run.train([*frames(1), lambda: run.wait_for_images(200), *frames(1, first=1)])
    assert report.speed.images >= 200


def test_training_does_not_block_frames(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A step that takes as long as the whole stream: live frames go by, the newest are there afterwards."""
    run, gone_by, started = Run(tmp_path, online_config()), threading.Event(), threading.Event()
    plain_step = Trainer.step

    def step(self: Trainer, batch: Batch) -> object:
        started.set()
        assert gone_by.wait(SOON)
        return plain_step(self, batch)

    monkeypatch.setattr(Trainer, "step", step)
    live = [frame_of(DATASET, number, can_wait=False) for number in range(1, 101)]
    report = run.train([*frames(1), lambda: started.wait(SOON) and None, *live, gone_by.set])
    assert (report.arrived, report.dropped) == (101, 68)
    assert run.quality[-1]["frame"] == 100


def test_a_source_that_dies_leaves_a_saved_avatar(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, online_config())
    report = run.train([*frames(5), lambda: run.wait_for_images(40), DataError("the tracker has gone")])
    assert run.saved_images == report.speed.images >= 40
    assert "warning: the stream broke off: the tracker has gone" in capfd.readouterr().err


def test_a_defect_of_a_source_is_raised_once_all_is_saved(tmp_path: Path) -> None:
    run = Run(tmp_path, online_config())
    with pytest.raises(ZeroDivisionError):
        run.train([*frames(5), lambda: run.wait_for_images(40), ZeroDivisionError()])
    assert run.saved_images == run.trainer.images_seen >= 40


def test_broken_frames_cost_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, online_config())
    broken = [SkippedFrame(5, "00005.png: found a damaged PNG"), SkippedFrame(6, "00006.frame: is empty")]
    report = run.train([*frames(5), *broken, *frames(5, first=7), lambda: run.wait_for_images(40)])
    assert (report.arrived, report.skipped) == (10, 2)
    assert run.saved_images >= 40
    told = capfd.readouterr().err
    assert "warning: skipped a frame: 00005.png: found a damaged PNG" in told
    assert "warning: skipped a frame: 00006.frame: is empty" in told


def test_many_broken_frames_are_counted_without_a_line_each(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = Run(tmp_path, online_config())
    broken = [SkippedFrame(number, f"{number:05d}.png: broken") for number in range(1, 200)]
    report = run.train([*frames(1), *broken, lambda: run.wait_for_images(8)])
    assert report.skipped == 199
    assert capfd.readouterr().err.count("skipped a frame") <= 20


@pytest.mark.parametrize("items", [[], [SkippedFrame(0, "00000.png: is no PNG")], [DataError("00000.png: is no PNG")]])
def test_a_stream_without_a_frame_is_an_error(tmp_path: Path, items: list[Item]) -> None:
    run = Run(tmp_path, online_config())
    with pytest.raises(DataError, match="no frame came" if not items else "00000.png: is no PNG"):
        run.train(items)
    assert not run.dir.checkpoint.exists()


@pytest.mark.parametrize("device", DEVICES)
def test_an_error_of_training_is_raised_in_the_main_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    run = Run(tmp_path, online_config(checkpoint_seconds=0.1), device)

    def poison() -> None:
        wait_until(run.dir.checkpoint.exists)
        run.trainer.model.base.mean.data.fill_(float("nan"))

    with pytest.raises(TrainingError, match="diverged"):
        run.train([*frames(5), poison, lambda: time.sleep(1.0), *frames(5, first=5), lambda: time.sleep(1.0)])
    assert torch.isfinite(load_checkpoint(run.dir.checkpoint).model["avatar.base.mean"]).all()


@pytest.mark.parametrize("device", DEVICES)
def test_a_signal_stops_and_saves(tmp_path: Path, device: torch.device) -> None:
    run = Run(tmp_path, online_config(), device)

    def endless() -> Iterator[Item]:
        yield from frames(3)
        yield lambda: run.wait_for_images(40)
        yield lambda: os.kill(os.getpid(), signal.SIGINT)
        while True:
            yield lambda: time.sleep(0.01)

    with pytest.raises(Stopped, match="stopped after 3 frames") as stopped:
        run.train(endless())
    assert stopped.value.exit_code == 130
    assert run.saved_images == run.trainer.images_seen >= 40


def test_a_signal_while_the_end_is_saved_waits_for_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run, save = Run(tmp_path, online_config()), online.save_patiently

    def save_late(*arguments: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.1)  # the signal is heard here
        save(*arguments)

    monkeypatch.setattr(online, "save_patiently", save_late)
    with pytest.raises(Stopped, match="stopped after 3 frames"):
        run.train(frames(3))
    assert run.saved_images == run.trainer.images_seen > 0


def test_a_signal_before_the_first_frame_stops_too(tmp_path: Path) -> None:
    run = Run(tmp_path, online_config())

    def endless() -> Iterator[Item]:
        yield lambda: os.kill(os.getpid(), signal.SIGTERM)
        while True:
            yield lambda: time.sleep(0.01)

    with pytest.raises(Stopped, match="before a frame came"):
        run.train(endless())


@pytest.mark.skipif(not hasattr(signal, "SIGUSR1"), reason="the system has no SIGUSR1")
def test_a_signal_pauses_training_but_not_the_stream_and_another_goes_on(tmp_path: Path) -> None:
    run, paused = Run(tmp_path, online_config()), []

    def toggle() -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.5)  # for a step that is running
        paused.append(run.trainer.images_seen)

    def watch() -> None:
        wait_until(lambda: run.quality[-1]["frame"] == 9)
        assert run.trainer.images_seen == paused[0]

    run.train(
        [
            *frames(5),
            lambda: run.wait_for_images(40),
            toggle,
            *frames(5, first=5),
            watch,
            toggle,
            lambda: run.wait_for_images(paused[0] + 40),
        ]
    )
    assert run.saved_images >= paused[0] + 40


def test_the_preview_shows_truth_and_avatar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rgbavatar.training.online._PREVIEW_SECONDS", 0.01)
    run = Run(tmp_path, online_config())

    def until_there() -> Iterator[Item]:
        for number in range(100_000):
            yield frame_of(DATASET, number)
            yield lambda: time.sleep(0.01)
            if run.dir.preview.exists():
                return

    run.train(until_there(), view=True)
    assert run.dir.preview.read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("device", DEVICES)
def test_errors_steer_the_draw(tmp_path: Path, device: torch.device) -> None:
    """A frame whose picture is noise cannot be learnt: it is drawn more often than any other."""
    config = online_config(
        local_frames=1, global_frames=100, global_ramp_frames=1, force_global=True, global_weighting="error"
    )
    run = Run(tmp_path, config, device)
    noisy = dataclasses.replace(
        frame_of(DATASET, 3),
        image=torch.randint(0, 256, (24, 24, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0)),
    )
    first = list(frames(9))
    first[3] = noisy
    run.train([*first, lambda: run.wait_for_images(4_000), *frames(1, first=9)])
    counts = np.bincount(np.load(run.dir.samples)[-500:, 1:].flatten(), minlength=9)
    assert counts.argmax() == 3
    assert counts[3] > 1.5 * np.median(counts)


@pytest.mark.parametrize("device", DEVICES)
def test_the_network_fades_by_the_full_steps_that_were_taken(tmp_path: Path, device: torch.device) -> None:
    config = online_config(network_decay=0.05, post_process_epochs=2)
    config = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, mlp=0.0))
    run = Run(tmp_path, config, device)
    before = [parameter.detach().cpu().clone() for parameter in run.trainer.model.network.parameters()]
    run.train([*frames(20), lambda: run.wait_for_images(200)])
    taken = run.trainer.schedule.taken  # type: ignore[attr-defined]
    assert taken > 10.0
    ratios = [
        float((after.detach().cpu() / first).mean())
        for after, first in zip(run.trainer.model.network.parameters(), before, strict=True)
        if first.abs().min() > 0
    ]
    assert ratios
    assert 0.95**taken * 0.999 <= min(ratios) <= max(ratios) <= 0.95 ** (taken - MAX_STREAM_ROWS)


def test_the_observer_sees_the_trainer_between_steps(tmp_path: Path) -> None:
    run, seen = Run(tmp_path, online_config()), []

    def observe(trainer: Trainer, seconds: float) -> None:
        assert threading.current_thread().name == "stream-training"
        seen.append((trainer.images_seen, seconds))

    run.train([*frames(3), lambda: run.wait_for_images(40)], observer=observe)
    assert len(seen) >= 10
    assert seen == sorted(seen)


@pytest.mark.parametrize("device", DEVICES)
def test_memory_is_flat_over_a_long_stream(tmp_path: Path, device: torch.device) -> None:
    """20,000 frames through pools of 1,150. Kept whole, frames 4,000 to 20,000 would take 37 MB in images alone."""
    run, resident = Run(tmp_path, online_config(batch_size=2), device), []

    def note() -> None:
        wait_until(lambda: run.quality[-1]["arrived"] > 0)
        resident.append(resident_bytes())

    report = run.train([*frames(4_000), note, *frames(16_000, first=4_000), note])
    assert (report.arrived, report.dropped) == (20_000, 0)
    assert resident[1] - resident[0] < 8 << 20


def resident_bytes() -> int:
    with Path("/proc/self/statm").open() as file:
        return int(file.read().split()[1]) * resource.getpagesize()
