"""Reduced blendshapes: K linear bases of offsets to mean, rotation and colour (Eq. 3 of the RGBAvatar paper)."""

from __future__ import annotations

import torch
from torch import nn


class GaussianBasis(nn.Module):
    """Offsets of K bases: mean [K, N, 3], rotation [K, N, 4], sh [K, N, 3]. They start at zero: the base is the avatar."""

    def __init__(self, bases: int, count: int) -> None:
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(bases, count, 3))
        self.rotation = nn.Parameter(torch.zeros(bases, count, 4))
        self.sh = nn.Parameter(torch.zeros(bases, count, 3))
