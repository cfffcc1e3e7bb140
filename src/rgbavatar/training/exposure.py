"""The exposure of each frame while an avatar is trained: a gain of each colour channel, learnt through the renderer's gradient.

A camera's automatic exposure changes colours from frame to frame without the head's doing. The avatar would explain that by its
bases; with gains of their own, frames need not agree. Their geometric mean over the frames is 1, and the saved avatar is
without them. Symbols: n frames, B frames of a batch, N Gaussians.
"""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rgbavatar.training.frame_table import make_table, shown_frames
from rgbavatar.training.processes import Processes
from rgbavatar.types import Batch, Gaussians


class Exposure:
    """The gains of n frames in training, as logarithms [n, 3]. `update` and `restore` alone change them."""

    def __init__(self, frames: int, rate: float, device: torch.device) -> None:
        """rate: of Adam."""
        self._table = make_table(frames, 3, rate, 1.0, device)

    @property
    def gains(self) -> Tensor:
        """[n, 3], without a gradient."""
        return self._table.values.detach().exp()

    def expose(self, gaussians: Gaussians, batch: Batch) -> Gaussians:
        """Gaussians as the frames of a batch show them; differentiable to the gains. The background is left alone."""
        gains = self._table.values[batch.indices].exp()
        return dataclasses.replace(gaussians, colors=gaussians.colors * gains[:, None])

    @torch.no_grad()
    def update(self, positions: Tensor, processes: Processes) -> None:
        """A step of Adam by the gradient that the last loss left, on the frames at positions [B] of all processes."""
        table = self._table
        assert table.values.grad is not None
        processes.mean([table.values.grad])
        table.step(shown_frames(len(table.values), positions, processes))
        table.center()

    def state(self) -> dict[str, Tensor]:
        """The logarithms and Adam's state, for a checkpoint; the tensors are those in use."""
        return {"values": self._table.values.detach(), **self._table.state()}

    @torch.no_grad()
    def restore(self, state: dict[str, Tensor]) -> None:
        """Go on from copies of a state. Raises ValueError where it is of other frames."""
        if len(state["values"]) != len(self._table.values):
            raise ValueError(
                f"it has the exposure of {len(state['values'])} frames, this split has {len(self._table.values)}"
            )
        self._table.restore(state["values"], state)
