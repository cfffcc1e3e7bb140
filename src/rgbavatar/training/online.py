"""Online training: the avatar grows while frames arrive at the rate of the video.

The stream never waits for training: at each step, the frames that have arrived by the clock join the pools.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import torch
from tqdm import tqdm

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import Stopped
from rgbavatar.io.metrics_log import MetricsLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.monitor import Monitor, TrainingSpeed, save_run
from rgbavatar.training.samplers import StreamSampler
from rgbavatar.training.stop_signal import StopSignal
from rgbavatar.training.trainer import Trainer

Clock = Callable[[], float]


def train_online(
    trainer: Trainer,
    dataset: HeadDataset,
    run: RunDir,
    log: MetricsLog,
    device: torch.device,
    frames_per_second: float,
    clock: Clock = time.perf_counter,
) -> TrainingSpeed:
    """Replay a subject in order at `frames_per_second` while training, then train `online.post_process_images` more.

    Raises Stopped after a signal, with the state saved.
    """
    sampler = StreamSampler(trainer.config.online, trainer.generators["sampler"])
    first, start = trainer.images_seen, clock()
    images_at_end: int | None = None
    with (
        StopSignal() as stop,
        tqdm(total=len(dataset), unit="frame", desc=dataset.subject, mininterval=0.5) as bar,
        Monitor(trainer, run, log) as monitor,
    ):
        while images_at_end is None or trainer.images_seen < images_at_end:
            _take_arrived(sampler, len(dataset), clock() - start, frames_per_second)
            positions = sampler.draw(trainer.config.training.batch_size)
            monitor.after_step(trainer.step(dataset.batch(positions, device)))
            bar.n = sampler.arrived
            bar.set_postfix(images=trainer.images_seen, **monitor.latest, refresh=False)
            bar.update(0)
            if images_at_end is None and sampler.arrived == len(dataset):
                images_at_end = trainer.images_seen + trainer.config.online.post_process_images
            if stop.requested:
                break
    save_run(trainer, run)
    if stop.requested:
        raise Stopped(stop.number, f"stopped at frame {sampler.arrived} of the stream; {run.path} is saved")
    return TrainingSpeed(trainer.images_seen - first, clock() - start)


def _take_arrived(sampler: StreamSampler, total: int, seconds: float, frames_per_second: float) -> None:
    """Frame i arrives at i / frames_per_second seconds; the first is there at once."""
    arrived = min(int(seconds * frames_per_second) + 1, total)
    for frame in range(sampler.arrived, arrived):
        sampler.add(frame)
