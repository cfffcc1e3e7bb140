"""Which frames make the next batch: shuffled epochs for a whole sequence, two pools for a stream.

A position is an index into the dataset. Samplers hand out positions; they never touch images.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from rgbavatar.config import OnlineConfig
from rgbavatar.training.randomness import derive_seed


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
        self._frames: deque[int] = deque(maxlen=capacity)
        self._age_coefficient = age_coefficient

    def __len__(self) -> int:
        return len(self._frames)

    def add(self, frame: int) -> int | None:
        """Take a frame in. Returns the oldest frame where it had to leave for it."""
        full = len(self._frames) == self._frames.maxlen
        oldest = self._frames[0] if full else None
        self._frames.append(frame)
        return oldest

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """[size] positions, weight exp(coefficient rank / capacity), rank 0 the oldest; distinct where there are enough."""
        ranks = torch.arange(len(self._frames), dtype=torch.float64)
        weights = torch.exp(self._age_coefficient * ranks / float(self._frames.maxlen or 1))
        chosen = torch.multinomial(weights, size, replacement=size > len(self._frames), generator=generator)
        return torch.tensor(self._frames, dtype=torch.int64)[chosen]


class Reservoir:
    """A uniform sample of all frames ever added (Vitter 1985, algorithm R)."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._frames: list[int] = []
        self._added = 0

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def frames(self) -> tuple[int, ...]:
        return tuple(self._frames)

    def add(self, frame: int, generator: torch.Generator) -> None:
        """Take a frame in with probability capacity / frames added so far, in the place of a random one."""
        self._added += 1
        if len(self._frames) < self._capacity:
            self._frames.append(frame)
            return
        place = int(torch.randint(self._added, (1,), generator=generator))
        if place < self._capacity:
            self._frames[place] = frame

    def draw(self, size: int, generator: torch.Generator) -> Tensor:
        """[size] positions, uniform; distinct where there are enough."""
        weights = torch.ones(len(self._frames), dtype=torch.float64)
        chosen = torch.multinomial(weights, size, replacement=size > len(self._frames), generator=generator)
        return torch.tensor(self._frames, dtype=torch.int64)[chosen]


class StreamSampler:
    """Batches from a local pool of the newest frames and a reservoir of those that left it (Section 3.4 of the paper)."""

    def __init__(self, config: OnlineConfig, generator: torch.Generator) -> None:
        self.local = LocalPool(config.local_frames, config.local_age_coefficient)
        self.reservoir = Reservoir(config.global_frames)
        self._config = config
        self._generator = generator
        self.arrived = 0

    def add(self, frame: int) -> None:
        """A frame of the stream has arrived."""
        self.arrived += 1
        left = self.local.add(frame)
        if left is not None:
            self.reservoir.add(left, self._generator)

    @property
    def global_share(self) -> float:
        """The expected part of a batch that comes from the reservoir: a linear ramp over the frames arrived."""
        if len(self.reservoir) == 0:
            return 0.0
        return self._config.global_share * min(self.arrived / self._config.global_ramp_frames, 1.0)

    def draw(self, size: int) -> Tensor:
        """[size] positions; at least one frame must have arrived."""
        coins = torch.rand(size, generator=self._generator)
        old = int((coins < self.global_share).sum())
        parts = [self.local.draw(size - old, self._generator)] if old < size else []
        if old:
            parts.append(self.reservoir.draw(old, self._generator))
        return torch.cat(parts)
