"""From the tracked code of a frame to the weights of the reduced bases."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn


class CoefficientNetwork(nn.Module):
    """A small MLP, C - width - width - K with ReLU, whose outputs are unbounded weights (Section 3.2 of the paper)."""

    def __init__(self, code_width: int, hidden_width: int, bases: int, generator: torch.Generator) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            _linear(code_width, hidden_width, generator),
            nn.ReLU(),
            _linear(hidden_width, hidden_width, generator),
            nn.ReLU(),
            _linear(hidden_width, bases, generator),
        )

    def forward(self, codes: Tensor) -> Tensor:
        """codes [B, C]. Returns weights [B, K]."""
        weights: Tensor = self.layers(codes)
        return weights


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A layer drawn uniformly from +-1/sqrt(inputs), torch's own default, but from a generator of ours."""
    with torch.random.fork_rng(devices=[]):  # the layer draws values of its own first, from torch's global generator
        layer = nn.Linear(inputs, outputs)
    bound = 1.0 / math.sqrt(inputs)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
