"""Colour initialisation: the first colour of a Gaussian is what the training images show where it is visible.

While training renders, each Gaussian not yet seen gathers `sum(target_rgb a T)` and `sum(a T)` over the pixels of a batch;
once the weight of a batch is large enough, the ratio becomes its colour, a single time (Section 3.3 of the paper).
"""

from __future__ import annotations

import torch
from gaussian_rasterization import ColorSums
from torch import Tensor

from rgbavatar.model.gaussians import sh_from_colors

MIN_BATCH_WEIGHT = 0.1  # sum of a T over a batch below which the ratio is noise


class ColorInitializer:
    """Which Gaussians were seen, and the colours they get when they are. seen [N] bool, changed in place."""

    def __init__(self, seen: Tensor) -> None:
        self.seen = seen

    @property
    def unseen(self) -> Tensor:
        """[N] bool."""
        return ~self.seen

    @torch.no_grad()
    def apply(self, sums: ColorSums, sh: Tensor) -> None:
        """Write the colours of the Gaussians that a batch has just shown into sh [N, 3], in place, and mark them seen."""
        newly = self.unseen & (sums.weight > MIN_BATCH_WEIGHT)
        colors = sums.rgb / sums.weight.clamp_min(MIN_BATCH_WEIGHT)[:, None]
        sh.copy_(torch.where(newly[:, None], sh_from_colors(colors), sh))
        self.seen.logical_or_(newly)
