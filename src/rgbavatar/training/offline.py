"""Offline training: shuffled epochs over a recorded sequence until the configured number of images was seen."""

from __future__ import annotations

import time
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import Stopped
from rgbavatar.io.metrics_log import MetricsLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.monitor import Monitor, TrainingSpeed, save_run
from rgbavatar.training.prefetch import Prefetcher
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.stop_signal import StopSignal
from rgbavatar.training.trainer import Trainer


def train_offline(
    trainer: Trainer, dataset: HeadDataset, run: RunDir, log: MetricsLog, device: torch.device
) -> TrainingSpeed:
    """Train until `training.images`, saving at intervals and at the end.

    Raises Stopped after a signal, with the state saved; TrainingError where training diverges, with the last good
    checkpoint kept.
    """
    first, start = trainer.images_seen, time.perf_counter()
    order = _order(trainer.config, len(dataset), first)
    total = trainer.config.training.images
    with (
        StopSignal() as stop,
        tqdm(total=total, initial=first, unit="image", desc=dataset.subject, mininterval=0.5) as bar,
        Prefetcher(order, lambda positions: dataset.batch(positions, device)) as batches,
    ):
        monitor = Monitor(trainer, run, log)
        for batch in batches:
            monitor.after_step(trainer.step(batch), len(batch))
            bar.set_postfix(monitor.latest, refresh=False)
            bar.update(len(batch))
            if stop.requested:
                save_run(trainer, run)
                raise Stopped(
                    stop.number, f"stopped at image {trainer.images_seen}; {run.path} is saved, go on with --resume"
                )
    save_run(trainer, run)
    return TrainingSpeed(trainer.images_seen - first, time.perf_counter() - start)


def _order(config: Config, count: int, images_seen: int) -> Iterator[Tensor]:
    """The positions of each batch from `images_seen` on; the last batch may be smaller."""
    sampler = EpochSampler(count, config.seed)
    total, size = config.training.images, config.training.batch_size
    for begin in range(images_seen, total, size):
        yield sampler.positions(begin, min(size, total - begin))
