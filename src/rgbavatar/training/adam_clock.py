"""How often Adam has updated which parameters, and the numbers that follow for the fused step.

Base and bases count apart: the bases and the network that weighs them join later (`training.bases_after`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor

from rgbavatar.config import OptimizerConfig
from rgbavatar.training.optimizer import BETAS, Adam, Pace, faded_share, learning_rates

_RATE_ORDER = (
    "mean", "rotation", "color", "opacity", "scale", "basis_mean", "basis_rotation", "basis_color", "mlp",
)  # fmt: skip
_BASE_GROUPS = _RATE_ORDER[:5]


class AdamClock:
    """Counts the updates of an optimizer's base and basis parameters on the host, so that nobody waits for the device."""

    def __init__(self, optimizer: Adam) -> None:
        """Gives each parameter its moments, zero where it has had no update yet."""
        self._optimizer = optimizer
        self.read()

    def read(self) -> None:
        """Take over the counts of the optimizer. Waits for the device."""
        steps = [
            {float(self._optimizer.state_of(param)["step"]) for param in group["params"]}
            for group in self._optimizer.param_groups
        ]
        names = [group["name"] for group in self._optimizer.param_groups]
        self.base = int(max(max(found) for name, found in zip(names, steps, strict=True) if name in _BASE_GROUPS))
        self.bases = int(max(max(found) for name, found in zip(names, steps, strict=True) if name not in _BASE_GROUPS))

    def write(self) -> None:
        """Give the optimizer the counts. Waits for nothing."""
        for group in self._optimizer.param_groups:
            count = self.base if group["name"] in _BASE_GROUPS else self.bases
            for param in group["params"]:
                self._optimizer.state_of(param)["step"].fill_(count)

    def rates(self, config: OptimizerConfig, pace: Pace, ahead: int, bases_ahead: int) -> list[float]:
        """A row of rates (gaussian_rasterization.fused.RATES) for the step after `ahead` others, `bases_ahead` of them with
        bases."""
        base, bases = self.base + ahead + 1, self.bases + bases_ahead + 1
        rates = learning_rates(config, pace)
        corrected = [
            rates[name] / (1.0 - BETAS[0] ** (base if name in _BASE_GROUPS else bases)) for name in _RATE_ORDER
        ]
        second = [1.0 / math.sqrt(1.0 - BETAS[1] ** count) for count in (base, bases)]
        [network] = [group for group in self._optimizer.param_groups if group["name"] == "mlp"]
        epsilons = {group["name"]: group["eps"] for group in self._optimizer.param_groups}
        return [
            *corrected,
            *second,
            faded_share(network | {"lr": rates["mlp"]}),
            *(epsilons[name] for name in _RATE_ORDER[:-1]),
        ]


def moments_in_order(optimizer: Adam, parameters: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Adam's averages and squares of the parameters; they are contiguous like those."""
    states = [optimizer.state_of(parameter) for parameter in parameters]
    return [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
