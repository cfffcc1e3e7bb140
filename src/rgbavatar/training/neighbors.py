"""What lies beside what, for terms of the loss that want neighbours alike: frames in time, Gaussians on the UV map.

Frames are neighbours in time where their numbers follow each other. Those of several cameras, numbered moment by moment, have
each other for neighbours. Symbols: n frames, B frames of a batch, N Gaussians, C code entries, K bases.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.model.avatar import AvatarModel


@dataclass(frozen=True)
class TimeNeighbors:
    """codes [n, C]: as tracked. following [n] int64: the position of each frame's next one; its own where there is none."""

    codes: Tensor
    following: Tensor

    def weight_steps(self, model: AvatarModel, positions: Tensor, offsets: Tensor | None = None) -> Tensor:
        """How the weights change from the frames at positions [B] to their next ones: [B, K], differentiable to the network.

        0 for a frame without a next one. offsets [n, C]: corrections of the codes.
        """
        pair = torch.stack([positions, self.following[positions]])
        codes = self.codes[pair] if offsets is None else self.codes[pair] + offsets[pair]
        now, then = model.weights(codes.flatten(0, 1)).unflatten(0, (2, -1))
        return (then - now) * (pair[0] != pair[1])[:, None]

    def to(self, device: torch.device) -> TimeNeighbors:
        """The same on `device`."""
        return TimeNeighbors(self.codes.to(device), self.following.to(device))


def find_time_neighbors(frames: HeadDataset) -> TimeNeighbors:
    """Those of a dataset, whose frames are in the order of their numbers."""
    following = torch.arange(len(frames))
    following[:-1] += frames.numbers[1:] == frames.numbers[:-1] + 1
    return TimeNeighbors(frames.codes, following)


@dataclass(frozen=True)
class Neighbors:
    """Those that a configuration's loss looks at. gaussians [N, 2] int64: as in rgbavatar.losses."""

    frames: TimeNeighbors | None = None
    gaussians: Tensor | None = None


NO_NEIGHBORS = Neighbors()
"""The usual case: no term of the loss asks for them."""
