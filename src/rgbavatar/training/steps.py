"""Training on a sequence of batches, by the fastest way that is right for the configuration and the device.

The plain way takes one step at a time, while the next batches are read. The fused way, on CUDA, takes stretches of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack

import torch
from torch import Tensor

from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.training.frame_bank import FrameSupply
from rgbavatar.training.fused import FusedTraining, Stretch, supports
from rgbavatar.training.fused_report import fused_reports
from rgbavatar.training.prefetch import Prefetcher
from rgbavatar.training.step_report import StepReport
from rgbavatar.training.trainer import Trainer
from rgbavatar.types import Batch

_GIB = 1 << 30


def run_steps(
    trainer: Trainer, supply: FrameSupply, order: Iterable[Tensor], between: Callable[[], bool]
) -> Iterator[StepReport]:
    """Train on the frames at each of the positions [M] int64 in turn, and report each step.

    between: called where the trainer stands still, between some steps; training ends there, or soon after, where it says so
    in some process. The trainer then stands where the last report does. At a report that is due for a checkpoint or a
    picture, too, the trainer stands where the report does; at others it may be further on. Of several processes, each
    renders its part of every batch.
    """
    if supports(trainer.config, trainer.device):
        return _run_fused(trainer, supply, order, between)
    return _run_plain(trainer, supply, order, between)


def _run_plain(
    trainer: Trainer, supply: FrameSupply, order: Iterable[Tensor], between: Callable[[], bool]
) -> Iterator[StepReport]:
    with ExitStack() as stack:
        for batch in _read_batches(trainer, supply, order, stack):
            yield trainer.step(batch)
            if trainer.processes.any(between(), trainer.device):
                return


def _run_fused(
    trainer: Trainer, supply: FrameSupply, order: Iterable[Tensor], between: Callable[[], bool]
) -> Iterator[StepReport]:
    settings, dataset = trainer.config.training, supply.dataset
    scaling = trainer.model.network.scaling
    bank = supply.open_bank(trainer.device, frame_budget(trainer), settings.batch_size, scaling)
    training = FusedTraining(trainer, bank)
    running: Stretch | None = None
    for positions in _stretches(order, trainer.config, trainer.images_seen, bank.rows):
        reports: list[StepReport] = []
        prepared = training.prepare(positions, running) if positions.shape[1] == settings.batch_size else None
        if running is not None:
            reports = fused_reports(trainer, dataset, running, training.finish(running))
            running = None
        if prepared is None or _passes_boundary(
            trainer.config, trainer.images_seen - settings.batch_size, trainer.images_seen
        ):
            yield from reports
            reports = []
        if trainer.processes.any(between(), trainer.device):
            yield from reports
            return
        if prepared is None:
            yield trainer.step(_read_part(trainer, dataset, positions[0]))
            training.take_over()
            continue
        training.launch(prepared)
        running = prepared
        yield from reports  # while the device goes on
    if running is not None:
        yield from fused_reports(trainer, dataset, running, training.finish(running))


def _read_batches(trainer: Trainer, supply: FrameSupply, order: Iterable[Tensor], stack: ExitStack) -> Iterable[Batch]:
    def read(positions: Tensor) -> Batch:
        return _read_part(trainer, supply.dataset, positions)

    return stack.enter_context(Prefetcher(order, read)) if supply.reads_ahead else map(read, order)


def frame_budget(trainer: Trainer) -> float:
    """Bytes of GPU memory for frames: as configured, but no more than half of what is free, for the rest is needed too."""
    free, _ = torch.cuda.mem_get_info(trainer.device)
    return min(trainer.config.training.frame_memory_gib * _GIB, free / 2)


def _read_part(trainer: Trainer, dataset: HeadDataset, positions: Tensor) -> Batch:
    """This process's part of a batch."""
    return dataset.batch(positions[trainer.processes.part(len(positions))], trainer.device)


def _stretches(order: Iterable[Tensor], config: Config, images_seen: int, most: int) -> Iterator[Tensor]:
    """Batches that follow each other, stacked [G, M], `most` at most; a batch of another size than M comes alone.

    They end where bases or corrections join, and where a checkpoint or a picture is due.
    """
    group: list[Tensor] = []
    for positions in order:
        before, images_seen = images_seen, images_seen + len(positions)
        fits = len(positions) == config.training.batch_size
        if group and not fits:
            yield torch.stack(group)
            group = []
        group.append(positions)
        if len(group) == most or not fits or _passes_boundary(config, before, images_seen):
            yield torch.stack(group)
            group = []
    if group:
        yield torch.stack(group)


def _passes_boundary(config: Config, before: int, after: int) -> bool:
    settings = config.training
    due = any(after // every > before // every for every in (settings.checkpoint_every, settings.picture_every))
    joins = [settings.bases_after, *([config.refinement.after] if settings.refine_tracking else [])]
    return due or any(before < join <= after for join in joins)
