"""The mean of an avatar's parameters over the steps of its training (Polyak and Juditsky 1992), which is what is saved.

A step counts `decay` times less with each later one. At first, where that would leave weight on the values before the first
step, the mean is over the steps so far, alike. Symbols: N Gaussians.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from rgbavatar.model.avatar import AvatarModel

_COLOR = "base.sh"


class ParameterAverage:
    """Of a model in training. `update` and `restore` alone change it. decay: in (0, 1)."""

    def __init__(self, model: AvatarModel, decay: float) -> None:
        self._decay = decay
        self._steps = 0
        self._values = {name: value.detach().clone() for name, value in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: AvatarModel, newly_seen: Tensor) -> None:
        """Take in a step. newly_seen [N] bool: the Gaussians that it gave their first colour, which counts from now on alone."""
        self._steps += 1
        share = max(1.0 - self._decay, 1.0 / self._steps)
        ours, theirs = list(self._values.values()), [value.detach() for value in model.parameters()]
        torch._foreach_lerp_(ours, theirs, share)
        color = self._values[_COLOR]
        color.copy_(torch.where(newly_seen[:, None], model.base.sh, color))

    def tensors(self) -> dict[str, Tensor]:
        """The mean, by the names of the model's state; the tensors are those in use."""
        return dict(self._values)

    def state(self, model: AvatarModel) -> dict[str, Any]:
        """What a checkpoint needs beside the mean: the count of steps, and the parameters that training goes on from."""
        return {"steps": self._steps, "parameters": dict(model.named_parameters())}

    @torch.no_grad()
    def restore(self, model: AvatarModel, steps: int) -> None:
        """Go on from a copy of the mean, over so many steps, that the model holds."""
        self._steps = steps
        for name, value in model.named_parameters():
            self._values[name].copy_(value)


@torch.no_grad()
def restore_average(model: AvatarModel, average: ParameterAverage | None, state: dict[str, Any] | None) -> None:
    """Bring a model that holds what a checkpoint saved, and its mean, to where the checkpoint's training was.

    state: `ParameterAverage.state` in the checkpoint; None where it was trained without a mean, which then begins here.
    """
    if average is not None:
        average.restore(model, 0 if state is None else int(state["steps"]))
    if state is not None:
        for name, value in model.named_parameters():
            value.copy_(state["parameters"][name])
