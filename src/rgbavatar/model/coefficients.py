"""From the tracked code of a frame to the weights of the reduced bases.

Symbols: B frames of a batch, n frames of a subject, C code entries, K bases.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

HiddenFactors = tuple[Tensor, Tensor]
"""Of the units of the two hidden layers, [B, width] each: what dropout leaves of them."""

LEAST_SPREAD = (
    0.01  # of a code entry: radians, metres, standard deviations of a shape. What varies less is noise of a tracker
)
LEAST_SHARE = (
    0.1  # of the largest spread in a part of the code: what varies less there is hardly used, and mostly noise too
)
_LIMITS = "network.limits."
_SCALING = "network.scaling."
_FIRST = "network.layers.0."


class CodeScaling(nn.Module):
    """Codes less their mean over the frames of a subject, in units of about their spread there. center, spread: [C]."""

    center: Tensor
    spread: Tensor

    def __init__(self, center: Tensor, spread: Tensor) -> None:
        super().__init__()
        self.register_buffer("center", center)
        self.register_buffer("spread", spread)

    def forward(self, codes: Tensor) -> Tensor:
        """codes [B, C]. Returns [B, C]."""
        return (codes - self.center) / self.spread


class CodeLimits(nn.Module):
    """Codes no further than frames went that were trained on: what lies beyond, the network has not learnt.

    low, high: [C], in the code's own units.
    """

    low: Tensor
    high: Tensor

    def __init__(self, low: Tensor, high: Tensor) -> None:
        super().__init__()
        self.register_buffer("low", low)
        self.register_buffer("high", high)

    def forward(self, codes: Tensor) -> Tensor:
        """codes [B, C]. Returns [B, C]."""
        return codes.clamp(self.low, self.high)


def code_limits(codes: Tensor) -> CodeLimits:
    """The least and the largest of each entry of codes [n, C]."""
    return CodeLimits(*(found.float().clone() for found in codes.aminmax(dim=0)))


def code_spread(codes: Tensor) -> Tensor:
    """The standard deviation [C] float32 of each entry of codes [n, C], but LEAST_SPREAD at least."""
    return codes.double().std(dim=0, correction=0).clamp_min(LEAST_SPREAD).float()


def code_scaling(codes: Tensor, layout: Mapping[str, slice]) -> CodeScaling:
    """The scaling that brings codes [n, C], laid out in parts as `layout` says, to mean 0, and to standard deviation 1 where they
    vary enough: by LEAST_SPREAD, and by LEAST_SHARE of what varies most in the same part."""
    units = code_spread(codes)
    for part in layout.values():
        units[part] = units[part].clamp_min(LEAST_SHARE * float(units[part].max()))
    return CodeScaling(codes.double().mean(dim=0).float(), units)


class CoefficientNetwork(nn.Module):
    """A small MLP, C - width - width - K with ReLU, whose outputs are unbounded weights (Section 3.2 of the paper).

    limits, then scaling: of the codes, before they enter; as published, there is neither.
    """

    def __init__(self, code_width: int, hidden_width: int, bases: int, generator: torch.Generator) -> None:
        super().__init__()
        self.limits: CodeLimits | None = None
        self.scaling: CodeScaling | None = None
        self.layers = nn.Sequential(
            _linear(code_width, hidden_width, generator),
            nn.ReLU(),
            _linear(hidden_width, hidden_width, generator),
            nn.ReLU(),
            _linear(hidden_width, bases, generator),
        )

    def forward(self, codes: Tensor, hidden_factors: HiddenFactors | None = None) -> Tensor:
        """codes [B, C]. Returns weights [B, K]."""
        values = self.limited(codes)
        values = values if self.scaling is None else self.scaling(values)
        for layers, factors in zip((self.layers[:2], self.layers[2:4]), hidden_factors or (None, None), strict=True):
            values = layers(values) if factors is None else layers(values) * factors
        weights: Tensor = self.layers[4](values)
        return weights

    def limited(self, codes: Tensor) -> Tensor:
        """codes [B, C] as the first layer, or the scaling, takes them."""
        limited: Tensor = codes if self.limits is None else self.limits(codes)
        return limited

    def limit_as(self, other: dict[str, Tensor]) -> None:
        """Have the limits, if any, in the state `other` of an avatar. Raises RuntimeError where they are of other codes."""
        low, high = (other.get(_LIMITS + name) for name in ("low", "high"))
        if low is None or high is None:
            self.limits = None
            return
        inputs = other[_FIRST + "weight"].shape[1:]
        if not low.shape == high.shape == inputs:
            raise RuntimeError(f"limits are for codes of {low.numel()} and {high.numel()}, expected {inputs.numel()}")
        self.limits = CodeLimits(low.clone(), high.clone())


def limits_state(low: Tensor, high: Tensor) -> dict[str, Tensor]:
    """Limits [C] of codes as the state of an avatar has them."""
    return {_LIMITS + "low": low, _LIMITS + "high": high}


def fold_scaling(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of an avatar whose network takes codes as they are, and gives what the network of `state` gives.

    `W ((c - m) / s) + b = (W / s) c + (b - (W / s) m)`, where s is `spread` and m `center`; without a scaling, `state` itself.
    """
    if _SCALING + "center" not in state:
        return state
    plain = {name: tensor for name, tensor in state.items() if not name.startswith(_SCALING)}
    weight, bias = (state[_FIRST + name] for name in ("weight", "bias"))
    unscaled = weight.double() / state[_SCALING + "spread"].double()
    plain[_FIRST + "weight"] = unscaled.to(weight.dtype)
    plain[_FIRST + "bias"] = (bias.double() - unscaled @ state[_SCALING + "center"].double()).to(bias.dtype)
    return plain


def _linear(inputs: int, outputs: int, generator: torch.Generator) -> nn.Linear:
    """A layer drawn uniformly from +-1/sqrt(inputs), torch's own default, but from a generator of ours."""
    with torch.random.fork_rng(devices=[]):  # the layer draws values of its own first, from torch's global generator
        layer = nn.Linear(inputs, outputs)
    bound = 1.0 / math.sqrt(inputs)
    nn.init.uniform_(layer.weight, -bound, bound, generator=generator)
    nn.init.uniform_(layer.bias, -bound, bound, generator=generator)
    return layer
