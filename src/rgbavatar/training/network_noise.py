"""Noise on the way from code to weights while an avatar is trained, so that the network does not learn frames by heart.

Codes are changed by `training.code_noise` of each entry's spread, drawn from a normal distribution. Hidden units are left out
with the probability `model.mlp_dropout`, the others raised so that the mean stays (Srivastava et al. 2014). What is drawn is a
function of the seed and of the number of images seen alone: there is no state to save.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rgbavatar.config import Config
from rgbavatar.model.coefficients import HiddenFactors
from rgbavatar.training.processes import Processes
from rgbavatar.training.randomness import derive_seed


class NetworkNoise:
    """What a configuration asks for. spread [C]: of each code entry over the frames that are trained on."""

    def __init__(self, config: Config, spread: Tensor) -> None:
        self._seed = config.seed
        self._dropout = config.model.mlp_dropout
        self._width = config.model.hidden_width
        self._size = config.training.code_noise * spread

    def draw(self, codes: Tensor, images_seen: int, processes: Processes) -> tuple[Tensor, HiddenFactors | None]:
        """The codes [B, C] of this process's part of a batch, changed, and the factors of hidden units, if some are left out."""
        images = len(codes) * processes.count
        random = torch.Generator().manual_seed(derive_seed(self._seed, f"network noise {images_seen}"))
        part = processes.part(images)
        change = torch.randn(images, codes.shape[1], generator=random)[part].to(codes)
        hidden = [torch.rand(images, self._width, generator=random)[part].to(codes) for _ in range(2)]
        first, second = ((draw >= self._dropout) / (1.0 - self._dropout) for draw in hidden)
        return codes + self._size * change, (first, second) if self._dropout > 0.0 else None
