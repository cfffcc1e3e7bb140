"""Numbers that each frame has of its own, learnt through the renderer's gradient: a row of a table for each frame.

Adam moves a row only in steps that show its frame, so that it does not drift between two visits. What all rows have in common
can be taken away after a step: it is the avatar's to learn, for frames that were never trained on have no row.
Symbols: n frames, B frames of a batch, m rows of D numbers.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gaussian_rasterization import fused
from torch import Tensor

from rgbavatar.training.optimizer import BETAS, EPSILON
from rgbavatar.training.processes import Processes


@dataclass
class FrameTable:
    """Values [m, D], a row for each frame or one for all, with Adam's averages [m, D] and how often each row was updated [m].

    rate, size: one number or one for each of D: Adam's rate, and how large a usual value is.
    """

    values: Tensor
    average: Tensor
    square: Tensor
    visits: Tensor
    rate: float | Tensor
    size: float | Tensor

    def penalty(self, rows: Tensor) -> Tensor:
        """The squares of rows [B, D] in units of the usual size, summed over D, mean over B."""
        return (rows / self.size).square().sum(dim=1).mean()

    def step(self, rows: Tensor) -> None:
        """Update the rows [m] bool by their gradient, which is forgotten (Kingma and Ba 2015, Algorithm 1)."""
        gradient, chosen = self.values.grad, rows[:, None]
        assert gradient is not None
        self.values.grad = None
        self.visits += rows
        count = self.visits.clamp_min(1.0)[:, None]
        self.average.copy_(torch.where(chosen, torch.lerp(gradient, self.average, BETAS[0]), self.average))
        self.square.copy_(torch.where(chosen, torch.lerp(gradient.square(), self.square, BETAS[1]), self.square))
        average, square = self.average / (1.0 - BETAS[0] ** count), self.square / (1.0 - BETAS[1] ** count)
        self.values -= torch.where(chosen, self.rate * average / (square.sqrt() + EPSILON), 0.0)

    def center(self) -> None:
        """Take away what all rows have in common."""
        self.values -= self.values.mean(dim=0)

    def to_fused(self, penalty: float) -> fused.FrameTable:
        """The tensors in use, for the fused step. penalty: the factor of the squares in units of the size."""
        assert isinstance(self.rate, float)
        assert isinstance(self.size, float)
        tensors = (self.values.detach(), self.average, self.square, self.visits)
        return fused.FrameTable(*tensors, rate=self.rate, stiffness=2.0 * penalty / self.size**2)

    def state(self) -> dict[str, Tensor]:
        """Adam's, for a checkpoint; the tensors are those in use."""
        return {"average": self.average, "square": self.square, "visits": self.visits}

    def restore(self, values: Tensor, state: dict[str, Tensor]) -> None:
        """Go on from copies of the values and of Adam's state. Raises RuntimeError where they are of other sizes."""
        self.values.copy_(values.view_as(self.values))
        for name, tensor in self.state().items():
            tensor.copy_(state[name])


def make_table(rows: int, width: int, rate: float | Tensor, size: float | Tensor, device: torch.device) -> FrameTable:
    """A table of zeros."""
    values, average, square = (torch.zeros(rows, width, device=device) for _ in range(3))
    return FrameTable(values.requires_grad_(), average, square, torch.zeros(rows, device=device), rate, size)


def shown_frames(count: int, positions: Tensor, processes: Processes) -> Tensor:
    """Which of `count` frames are at the positions [B] of some process: [count] bool."""
    shown = torch.zeros(count, device=positions.device)
    shown[positions] = 1.0
    processes.sum([shown])
    return shown > 0.0
