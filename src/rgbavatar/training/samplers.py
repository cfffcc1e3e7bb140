"""Which frames make the next batch: shuffled epochs for a whole sequence, or in part its errors; two pools for a stream.

A position is an index into the dataset, which for a stream is a slot of its frames' memory. Samplers hand out positions; they
never touch images.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence

import torch
from torch import Tensor

from rgbavatar.config import OnlineConfig
from rgbavatar.training.randomness import derive_seed

_LEAST_WEIGHT = 1e-9  # of a frame whose error is 0, so that a batch can be drawn however few have one


class EpochSampler:
    """Every frame once an epoch, each epoch in an order of its own.

    The order is a function of the seed and of the number of images seen alone: there is no state to save, and a run that
    resumes sees the frames that an uninterrupted one would.
    """

    def __init__(self, count: int, seed: int) -> None:
        self._count = count
        self._seed = seed
        self._epoch = -1
        self._order = torch.empty(0, dtype=torch.int64)

    def positions(self, images_seen: int, size: int) -> Tensor:
        """The frames after the first `images_seen`: [size] int64; a batch may end one epoch and begin the next."""
        taken = []
        for index in range(images_seen, images_seen + size):
            epoch, place = divmod(index, self._count)
            taken.append(self._order_of(epoch)[place])
        return torch.stack(taken)

    def _order_of(self, epoch: int) -> Tensor:
        if epoch != self._epoch:
            generator = torch.Generator().manual_seed(derive_seed(self._seed, f"epoch {epoch}"))
            self._order = torch.randperm(self._count, generator=generator)
            self._epoch = epoch
        return self._order


class LocalPool:
    """The newest frames of a stream, first in first out; the newer a frame, the likelier it is drawn."""

    def __init__(self, capacity: int, age_coefficient: float) -> None:
        self._slots: deque[int] = deque(maxlen=capacity)
        self._weights = torch.exp(age_coefficient * torch.arange(capacity, dtype=torch.float64) / capacity)

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(self._slots)

    def add(self, slot: int) -> int | None:
        """Take a frame in. Returns the slot of the oldest where it had to leave for it."""
        full = len(self._slots) == self._slots.maxlen
        oldest = self._slots[0] if full else None
        self._slots.append(slot)
        return oldest

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """[size] slots, weight exp(coefficient rank / capacity), rank 0 the oldest; distinct where there are enough."""
        return _draw(self._slots, self._weights[: len(self._slots)], size, generator)


class Reservoir:
    """A uniform sample of all frames ever added (Vitter 1985, algorithm R)."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._slots: list[int] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._slots)

    @property
    def slots(self) -> tuple[int, ...]:
        return tuple(self._slots)

    def add(self, slot: int, generator: torch.Generator) -> int | None:
        """Take a frame in with probability capacity / frames added so far, in the place of a random one.

        Returns the slot that is out: that of the frame which had to leave, or `slot` itself; None while there is room.
        """
        self._added += 1
        if len(self._slots) < self._capacity:
            self._slots.append(slot)
            return None
        place = int(torch.randint(self._added, (1,), generator=generator))
        if place >= self._capacity:
            return slot
        self._slots[place], out = slot, self._slots[place]
        return out

    def draw(self, size: int, generator: torch.Generator, weights: Tensor | None = None) -> Tensor:
        """[size] slots, uniform, or by the weight of each [len(self)] float64; distinct where there are enough."""
        uniform = torch.ones(len(self._slots), dtype=torch.float64)
        return _draw(self._slots, uniform if weights is None else weights, size, generator)


def _draw(slots: Sequence[int], weights: Tensor, size: int, generator: torch.Generator) -> Tensor:
    chosen = torch.multinomial(weights, size, replacement=size > len(slots), generator=generator)
    return torch.tensor([slots[place] for place in chosen.tolist()], dtype=torch.int64)


class ErrorBook:
    """The error with which each frame was last rendered, by slot; one that is not known yet counts as the mean of the others."""

    def __init__(self, uniform_share: float) -> None:
        self._errors: dict[int, float] = {}
        self._uniform_share = uniform_share

    def note(self, slots: Sequence[int], errors: Sequence[float]) -> None:
        """Errors of frames that have just been rendered, at least 0. One that is not finite says nothing."""
        known = zip(slots, errors, strict=True)
        self._errors.update((slot, error) for slot, error in known if math.isfinite(error))

    def forget(self, slot: int) -> None:
        """The slot's frame is not held any more."""
        self._errors.pop(slot, None)

    def weights(self, slots: Sequence[int]) -> Tensor:
        """[len(slots)] float64, sum 1: u / n + (1 - u) error / sum of errors, with u the uniform share."""
        known = [self._errors[slot] for slot in slots if slot in self._errors]
        mean = sum(known) / len(known) if known else 1.0
        errors = torch.tensor([self._errors.get(slot, mean) for slot in slots], dtype=torch.float64)
        total, u, n = float(errors.sum()), self._uniform_share, len(slots)
        if total == 0.0:
            return torch.full((n,), 1.0 / n, dtype=torch.float64)
        return u / n + (1.0 - u) * errors / total

    def state(self) -> dict[str, Tensor]:
        """All that is known, for a checkpoint: slots [m] int64, errors [m] float64."""
        slots, errors = list(self._errors), list(self._errors.values())
        return {"slots": torch.tensor(slots, dtype=torch.int64), "errors": torch.tensor(errors, dtype=torch.float64)}

    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from what `state` gave."""
        self._errors = dict(zip(state["slots"].tolist(), state["errors"].tolist(), strict=True))


class ErrorSampler:
    """Shuffled epochs, but for a share of the draws, which follow the errors in a book: the larger, the likelier.

    What is drawn is a function of the seed, of the number of images seen and of the book: with the book in the checkpoint, a run
    that resumes sees the frames that an uninterrupted one would.
    """

    def __init__(self, count: int, seed: int, share: float, book: ErrorBook) -> None:
        """book: of all `count` frames, by position."""
        self._epochs = EpochSampler(count, seed)
        self._all = range(count)
        self._seed = seed
        self._share = share
        self._book = book

    def positions(self, images_seen: int, size: int) -> Tensor:
        """The frames after the first `images_seen`: [size] int64, of which those by their errors, the last ones, are distinct."""
        before, after = (math.floor(self._share * images) for images in (images_seen, images_seen + size))
        drawn, steady = after - before, size - (after - before)
        parts = [self._epochs.positions(images_seen - before, steady)] if steady else []
        if drawn:
            random = torch.Generator().manual_seed(derive_seed(self._seed, f"errors {images_seen}"))
            weights = self._book.weights(self._all).clamp_min(_LEAST_WEIGHT)
            parts.append(_draw(self._all, weights, drawn, random))
        return torch.cat(parts)


class StreamSampler:
    """Batches from a local pool of the newest frames and a reservoir of those that left it (Section 3.4 of the paper).

    Frames are known by the slot that they lie in (rgbavatar.training.frame_pool).
    """

    def __init__(self, config: OnlineConfig, generator: torch.Generator) -> None:
        self.local = LocalPool(config.local_frames, config.local_age_coefficient)
        self.reservoir = Reservoir(config.global_frames)
        self.arrived = 0
        self.newest = -1
        self._config = config
        self._generator = generator
        self._errors = ErrorBook(config.error_uniform_share)

    def add(self, slot: int) -> int | None:
        """A frame of the stream lies in `slot`. Returns a slot whose frame no pool holds any more."""
        self.arrived += 1
        self.newest = slot
        left = self.local.add(slot)
        out = None if left is None else self.reservoir.add(left, self._generator)
        if out is not None:
            self._errors.forget(out)
        return out

    @property
    def slots(self) -> tuple[int, ...]:
        """Of all frames that are held."""
        return (*self.reservoir.slots, *self.local.slots)

    @property
    def global_share(self) -> float:
        """The expected part of a batch that comes from the reservoir: a linear ramp over the frames arrived."""
        config = self._config
        if len(self.reservoir) == 0 or config.force_local:
            return 0.0
        if config.force_global:
            return 1.0
        return config.global_share * min(self.arrived / config.global_ramp_frames, 1.0)

    @property
    def uses_errors(self) -> bool:
        """Whether `note_errors` makes a difference."""
        return self._config.global_weighting == "error"

    def note_errors(self, slots: Tensor, errors: Tensor) -> None:
        """The mean absolute error [B] with which the frames in `slots` [B] were rendered."""
        self._errors.note(slots.tolist(), errors.tolist())

    def draw(self, size: int) -> Tensor:
        """[size] slots; at least one frame must have arrived."""
        parts = [torch.tensor([self.newest])] if self._config.force_opt_current else []
        size -= len(parts)
        coins = torch.rand(size, generator=self._generator)
        old = int((coins < self.global_share).sum())
        if old < size:
            parts.append(self.local.draw(size - old, self._generator))
        if old:
            weights = self._errors.weights(self.reservoir.slots) if self.uses_errors else None
            parts.append(self.reservoir.draw(old, self._generator, weights))
        return torch.cat(parts)
