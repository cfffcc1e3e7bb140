"""The base Gaussians of an avatar: trainable parameters in the triangles' frames, and their activations.

Parameters are stored before activation: opacity as a logit, scale as a logarithm, colour as a degree-0 spherical harmonic.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SH_DC = 0.28209479177387814  # Y_00 = 1 / (2 sqrt(pi)), the constant spherical harmonic


def colors_from_sh(sh: Tensor) -> Tensor:
    """RGB of a degree-0 harmonic, `0.5 + Y_00 sh` clamped at 0 (Kerbl et al. 2023). sh [..., 3]. Returns [..., 3]."""
    return torch.relu(0.5 + SH_DC * sh)


def sh_from_colors(colors: Tensor) -> Tensor:
    """The degree-0 harmonic of an RGB colour, inverse of colors_from_sh for colours above 0. colors [..., 3]."""
    return (colors - 0.5) / SH_DC


class BaseGaussians(nn.Module):
    """N Gaussians: mean [N, 3] metres, rotation [N, 4] WXYZ, sh [N, 3], opacity_logit [N], log_scale [N, 3]."""

    def __init__(self, count: int, opacity: float, scale: float) -> None:
        """All at the centre of their texel with the identity rotation, mid-grey, one opacity and one scale in metres."""
        super().__init__()
        self.mean = nn.Parameter(torch.zeros(count, 3))
        self.rotation = nn.Parameter(torch.tensor([1.0, 0.0, 0.0, 0.0]).repeat(count, 1))
        self.sh = nn.Parameter(torch.zeros(count, 3))
        self.opacity_logit = nn.Parameter(torch.full((count,), math.log(opacity / (1.0 - opacity))))
        self.log_scale = nn.Parameter(torch.full((count, 3), math.log(scale)))

    def opacities(self) -> Tensor:
        """Returns [N] in (0, 1)."""
        return torch.sigmoid(self.opacity_logit)

    def scales(self) -> Tensor:
        """Returns [N, 3] metres, standard deviations along the Gaussian's own axes."""
        return torch.exp(self.log_scale)
