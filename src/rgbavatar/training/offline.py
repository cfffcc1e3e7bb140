"""Offline training: shuffled epochs over a recorded sequence until the configured number of images was seen."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import Stopped
from rgbavatar.io.metrics_log import MetricsLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.frame_bank import RecordedFrames
from rgbavatar.training.monitor import Monitor, TrainingSpeed, save_run
from rgbavatar.training.observer import HOLD_SECONDS, Observer, Show, observe_nothing, show_nothing
from rgbavatar.training.samplers import EpochSampler, ErrorSampler
from rgbavatar.training.steps import run_steps
from rgbavatar.training.stop_signal import StopSignal
from rgbavatar.training.trainer import Trainer


def train_offline(
    trainer: Trainer,
    dataset: HeadDataset,
    run: RunDir,
    log: MetricsLog,
    device: torch.device,
    *,
    observer: Observer = observe_nothing,
    show: Show = show_nothing,
) -> TrainingSpeed:
    """Train until `training.images`, saving at intervals and at the end.

    Of several processes, the first saves and logs. observer, show: see rgbavatar.training.observer. Raises Stopped after a
    signal, with the state saved; TrainingError where training diverges, with the last good checkpoint kept.
    """
    first, start = trainer.images_seen, time.perf_counter()
    order = _order(trainer, len(dataset))
    total, shows = trainer.config.training.images, trainer.processes.is_first

    def is_to_end() -> bool:
        while observer(trainer, time.perf_counter() - start) and not stop.requested:
            time.sleep(HOLD_SECONDS)
        return stop.requested

    with (
        StopSignal() as stop,
        tqdm(total=total, initial=first, unit="image", desc=dataset.subject, mininterval=0.5, disable=not shows) as bar,
        Monitor(trainer, run, log, ends_at=total) as monitor,
    ):
        for report in run_steps(trainer, _supply(trainer, dataset), order, is_to_end):
            monitor.after_step(report)
            bar.set_postfix(monitor.latest, refresh=False)
            bar.update(report.images)
            show({"images": f"{report.images_seen} of {total}", **monitor.latest})
    save_run(trainer, run)
    if trainer.images_seen < total:
        raise Stopped(
            stop.number or signal.SIGTERM,
            f"stopped at image {trainer.images_seen}; {run.path} is saved, go on with --resume",
        )
    return TrainingSpeed(trainer.images_seen - first, time.perf_counter() - start)


class _FramesInTurn(RecordedFrames):
    """Read when their turn has come: which they are is known from the errors of all steps before."""

    reads_ahead = False


def _supply(trainer: Trainer, dataset: HeadDataset) -> RecordedFrames:
    return RecordedFrames(dataset) if trainer.errors is None else _FramesInTurn(dataset)


def _sampler(trainer: Trainer, count: int) -> EpochSampler | ErrorSampler:
    seed, share = trainer.config.seed, trainer.config.training.error_sampling
    return EpochSampler(count, seed) if trainer.errors is None else ErrorSampler(count, seed, share, trainer.errors)


def _order(trainer: Trainer, count: int) -> Iterator[Tensor]:
    """The positions of each batch from now on. The last batch may be smaller, so far as all processes get alike."""
    sampler, processes = _sampler(trainer, count), trainer.processes
    total, size = trainer.config.training.images, trainer.config.training.batch_size
    for begin in range(trainer.images_seen, total, size):
        left = -(-(total - begin) // processes.count) * processes.count
        yield sampler.positions(begin, min(size, left))
