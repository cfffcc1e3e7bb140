"""Data-parallel training: several processes, one device each, that train one avatar on parts of each batch.

`torchrun` starts them and tells each its rank. All hold the same parameters and draw the same random numbers; each renders
its part of a batch, and what follows from all parts is the same everywhere.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as distributed
from torch import Tensor


@dataclass(frozen=True)
class Processes:
    """This process's rank among `count`. One alone exchanges nothing."""

    rank: int = 0
    count: int = 1

    @property
    def is_first(self) -> bool:
        """Whether it is this process that writes results and talks to the user."""
        return self.rank == 0

    def part(self, images: int) -> slice:
        """This process's images of a batch of `images`, which `count` divides."""
        each = images // self.count
        return slice(self.rank * each, (self.rank + 1) * each)

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its sum over the processes, in place."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)

    def mean(self, tensors: Iterable[Tensor]) -> None:
        """Replace each tensor by its mean over the processes, in place."""
        if self.count > 1:
            for tensor in tensors:
                distributed.all_reduce(tensor)
                tensor /= self.count

    def gather(self, blocks: Tensor) -> None:
        """blocks [count, length]: fill in the rows of the other processes, in place."""
        if self.count > 1:
            distributed.all_gather_into_tensor(blocks, blocks[self.rank])

    def wait_for_all(self) -> None:
        """Return when every process has come here."""
        if self.count > 1:
            distributed.barrier()

    def any(self, flag: bool, device: torch.device) -> bool:
        """Whether the flag is set in some process. Waits for the device where there are several."""
        if self.count == 1:
            return flag
        flags = torch.tensor([float(flag)], device=device)
        distributed.all_reduce(flags)
        return bool(flags.item() > 0)


ALONE = Processes()
"""The usual case: one process."""


@contextmanager
def joined_processes(device: torch.device) -> Iterator[Processes]:
    """The processes that torchrun started together, connected while the context lasts; or this one alone."""
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield ALONE
        return
    if device.type == "cpu":
        distributed.init_process_group("gloo")
    else:
        distributed.init_process_group("nccl", device_id=device)
    try:
        yield Processes(distributed.get_rank(), distributed.get_world_size())
    finally:
        distributed.destroy_process_group()
