"""The fast path on CUDA: the extension's fused step, recorded as a CUDA graph and replayed for a stretch of steps at a time.

It changes the trainer's own tensors, so that a plain step, a checkpoint or a picture may come between two stretches. While
the device works through a stretch, the next one is prepared: its frames are read, its random numbers drawn.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from gaussian_rasterization import fused
from torch import Tensor

from rgbavatar.config import Config
from rgbavatar.model.avatar import parameters_in_order
from rgbavatar.training.adam_clock import AdamClock, moments_in_order
from rgbavatar.training.frame_bank import FrameBank
from rgbavatar.training.trainer import Trainer

_HEADROOM = 1.5  # of the buffers over the largest step seen: Gaussians grow and shrink while they train
_FIRST_PAIRS = 3  # pairs of splat and tile that a splat is given room for at first
ERROR_COLUMNS = {"l1": 0, "block_ssim": 2}
"""The terms of the loss that the kernels compute, and where in `StretchNumbers.errors` each is; the first has to be there."""


def supports(config: Config, device: torch.device) -> bool:
    """Whether the fused step computes what this configuration asks for, on this device."""
    if device.type == "cpu" or config.training.reproducible or not _computes(config):
        return False
    return fused.fits_device(config.training.batch_size, config.model.num_bases, device)


def _computes(config: Config) -> bool:
    """Whether its kernels do all that a step asks for: L1, SSIM of blocks, Adam at whatever rates on the avatar and on poses."""
    model, training, optimizer = config.model, config.training, config.optimizer
    others = [factor for name, factor in config.loss.factors().items() if name not in ERROR_COLUMNS]
    more = [training.code_noise, training.average, training.error_sampling, model.mlp_dropout, optimizer.exposure]
    refines_more = training.refine_tracking and (config.refinement.code or config.refinement.focal)
    return config.loss.l1 > 0 and not any([*others, *more, refines_more])


@dataclass(frozen=True)
class Stretch:
    """Steps ready to run, on the CPU: their frames' positions [G, M], their rows of the schedule, and the state of the random
    generator after them."""

    positions: Tensor
    rows: fused.Schedule
    generator: Tensor
    uses_bases: bool
    refines: bool

    def __len__(self) -> int:
        return self.positions.shape[0]


@dataclass(frozen=True)
class StretchNumbers:
    """What the steps of a stretch showed of this process's images, on the CPU. errors [G, B, fused.ERRORS];
    num_invalid [G]; num_seen: Gaussians that have a first colour, after the last."""

    errors: Tensor
    num_invalid: Tensor
    num_seen: int


class FusedTraining:
    """A trainer's steps, up to bank.rows at a time. `prepare` and `launch` wait for nothing, `finish` for what was launched."""

    def __init__(self, trainer: Trainer, bank: FrameBank) -> None:
        self._trainer = trainer
        self._bank = bank
        self._device = trainer.device
        self._batch = trainer.config.training.batch_size
        self._own = trainer.processes.part(self._batch)
        self._mesh = trainer.binding.to_fused()
        self._schedule = self._empty_schedule(self._device)
        self._clock = AdamClock(trainer.optimizer)
        self._memory = self._make_memory()
        self._random = torch.Generator()
        self._random.set_state(trainer.generators["background"].get_state())
        self._results = [_pinned_copy(result) for result in self._device_results()]
        self._end = torch.cuda.Event()
        self._graphs: dict[tuple[bool, bool], tuple[torch.cuda.CUDAGraph, torch.cuda.CUDAGraph]] = {}
        refinement = trainer.refinement
        self._corrections = None if refinement is None else refinement.to_fused(self._batch)
        self._capacity = int(_FIRST_PAIRS * (self._own.stop - self._own.start) * trainer.binding.count)

    def prepare(self, positions: Tensor, running: Stretch | None) -> Stretch:
        """Steps on the frames at positions [G, M], to come after the trainer's last step and the stretch that is running."""
        config, ahead = self._trainer.config, 0 if running is None else len(running)
        images_seen = self._trainer.images_seen + ahead * self._batch
        bases_ahead = ahead if running is not None and running.uses_bases else 0
        uses_bases = images_seen >= config.training.bases_after
        slots = self._bank.place(positions, self._own)
        background = torch.stack([torch.rand(self._batch, 3, generator=self._random) for _ in positions])
        rates = [
            self._clock.rates(
                config.optimizer,
                self._trainer.schedule.next(images_seen + step * self._batch),
                ahead + step,
                bases_ahead + step,
            )
            for step in range(len(positions))
        ]
        parts = (slots, background, torch.tensor(rates), positions.to(torch.int32))
        rows = fused.Schedule(*(part.pin_memory() for part in parts))
        refines = self._corrections is not None and images_seen >= config.refinement.after
        return Stretch(positions, rows, self._random.get_state(), uses_bases, refines)

    def launch(self, stretch: Stretch) -> None:
        """Begin a prepared stretch."""
        for there, here in zip(_tensors(self._schedule), _tensors(stretch.rows), strict=True):
            there[: len(stretch)].copy_(here, non_blocking=True)
        self._memory.errors.zero_()
        self._memory.num_invalid.zero_()
        self._bank.wait()
        self._run_rows(stretch, 0)

    def finish(self, stretch: Stretch) -> StretchNumbers:
        """Wait for the stretch that was launched, and bring the trainer to its end."""
        while (progress := self._wait()).missing:
            if progress.pairs > self._capacity:
                self._grow(progress.pairs)
            self._memory.errors[progress.rows :].zero_()
            self._memory.num_invalid[progress.rows :].zero_()
            self._run_rows(stretch, progress.rows)
        self._clock.base += len(stretch)
        self._clock.bases += len(stretch) if stretch.uses_bases else 0
        self._clock.write()
        self._trainer.generators["background"].set_state(stretch.generator)
        self._trainer.images_seen += len(stretch) * self._batch
        _, errors, num_invalid, num_seen = self._results
        return StretchNumbers(errors[: len(stretch)].clone(), num_invalid[: len(stretch)].clone(), int(num_seen))

    def take_over(self) -> None:
        """Go on from where plain steps have brought the trainer. Waits for the device."""
        self._clock.read()
        self._random.set_state(self._trainer.generators["background"].get_state())

    def _run_rows(self, stretch: Stretch, first: int) -> None:
        kind = (stretch.uses_bases, stretch.refines)
        gradients, update = self._graphs.get(kind) or self._record(*kind)
        fused.rewind(self._memory.state, first)
        for _ in range(first, len(stretch)):
            gradients.replay()
            self._trainer.processes.gather(self._memory.exchange)
            update.replay()
        for there, here in zip(self._results, self._device_results(), strict=True):
            there.copy_(here, non_blocking=True)
        self._end.record()

    def _device_results(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        memory = self._memory
        return memory.state, memory.errors, memory.num_invalid, memory.seen.sum()

    def _wait(self) -> fused.Progress:
        self._end.synchronize()
        return fused.read_progress(self._results[0])

    def _grow(self, pairs: int) -> None:
        self._capacity = int(pairs * _HEADROOM)
        self._graphs.clear()
        self._memory = dataclasses.replace(self._memory, workspace=_NOTHING)

    def _record(self, uses_bases: bool, refines: bool) -> tuple[torch.cuda.CUDAGraph, torch.cuda.CUDAGraph]:
        """Both halves of a step as graphs. They run once before, changing nothing, so that all that is made lazily exists."""
        shape = self._shape(uses_bases)
        if not self._memory.workspace.numel():
            size = fused.workspace_bytes(
                self._bank.frames, self._schedule, self._mesh, self._memory.values, shape, training=True
            )
            workspace = torch.empty(size, dtype=torch.uint8, device=self._device)
            self._memory = dataclasses.replace(self._memory, workspace=workspace)
        color_init, corrections = self._trainer.config.training.color_init, self._corrections if refines else None
        loss = self._trainer.config.loss
        loss_scale = loss.l1 / (3.0 * self._batch * shape.width * shape.height)

        def gradients() -> None:
            fused.compute_gradients(
                self._bank.frames, self._schedule, self._mesh, self._memory, shape,
                self._trainer.processes.rank, loss_scale, loss.block_ssim / loss.l1, color_init, corrections,
            )  # fmt: skip

        def update() -> None:
            fused.update_parameters(
                self._bank.frames, self._schedule, self._mesh, self._memory, shape, color_init, corrections
            )

        fused.suspend(self._memory.state)
        graphs = []
        for half in (gradients, update):
            half()
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                half()
            graphs.append(graph)
        self._graphs[uses_bases, refines] = (graphs[0], graphs[1])
        return self._graphs[uses_bases, refines]

    def _shape(self, uses_bases: bool) -> fused.Shape:
        images = self._bank.frames.images
        return fused.Shape(
            first_image=self._own.start,
            images=self._own.stop - self._own.start,
            all_images=self._batch,
            bases=self._trainer.model.shape.bases if uses_bases else 0,
            width=images.shape[2],
            height=images.shape[1],
            capacity=self._capacity,
        )

    def _empty_schedule(self, device: torch.device) -> fused.Schedule:
        rows, batch = self._bank.rows, self._batch
        return fused.Schedule(
            slots=torch.zeros(rows, batch, dtype=torch.int32, device=device),
            background=torch.zeros(rows, batch, 3, device=device),
            rates=torch.zeros(rows, fused.RATES, device=device),
            frames=torch.zeros(rows, batch, dtype=torch.int32, device=device),
        )

    def _make_memory(self) -> fused.TrainingMemory:
        trainer, device, images = self._trainer, self._device, self._own.stop - self._own.start
        values = parameters_in_order(trainer.model)
        averages, squares = moments_in_order(trainer.optimizer, values)
        length = fused.exchange_length(trainer.binding.count, images)
        return fused.TrainingMemory(
            values=[value.detach() for value in values],
            averages=averages,
            squares=squares,
            seen=trainer.color_init.seen,
            state=fused.new_state(device),
            exchange=torch.zeros(trainer.processes.count, length, device=device),
            errors=torch.zeros(self._bank.rows, images, fused.ERRORS, device=device),
            num_invalid=torch.zeros(self._bank.rows, dtype=torch.int32, device=device),
            workspace=torch.empty(0, dtype=torch.uint8, device=device),
        )


_NOTHING = torch.empty(0, dtype=torch.uint8)


def _tensors(schedule: fused.Schedule) -> tuple[Tensor, ...]:
    return schedule.slots, schedule.background, schedule.rates, schedule.frames


def _pinned_copy(tensor: Tensor) -> Tensor:
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
