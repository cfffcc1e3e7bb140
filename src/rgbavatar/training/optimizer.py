"""Adam with a rate for each kind of parameter, and the decay of the means' rate.

Rates are those of 3D Gaussian splatting (Kerbl et al. 2023) as the RGBAvatar paper changed them; see config/offline.yaml.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.optim.adam import adam

from rgbavatar.config import OptimizerConfig
from rgbavatar.model.avatar import AvatarModel

BETAS = (0.9, 0.999)  # of Adam: its defaults
DECAY_FRAMES = 1_000  # at which weight decay is what the configuration says
EPSILON = 1e-15  # of Adam: gradients of single Gaussians are far below its default 1e-8
_CHANNELS = 3  # of a picture
_USUAL_SIZE = 8e-4  # metres: a Gaussian's, as published


class Adam:
    """torch.optim.Adam with `fused=True`, in as much as training needs it; either class reads the other's state dict.

    torch's own would do, but making one imports torch's compiler: seconds of every start, for a class that compiles nothing.

    param_groups: dicts of `name`, `lr` and `params`; `eps` where it is not EPSILON; and `decay` where a step is to take that part
    of the values away, times the rate, apart from the gradient (Loshchilov and Hutter 2019).
    state: for each parameter that has had a gradient, `step` [] float32 (updates so far), `exp_avg` and `exp_avg_sq` (running
    means of gradient and squared gradient).
    """

    def __init__(self, param_groups: list[dict[str, Any]]) -> None:
        self.param_groups = [{"eps": EPSILON} | group for group in param_groups]
        self.state: dict[Tensor, dict[str, Tensor]] = {}

    @torch.no_grad()
    def step(self, decay_share: Tensor | float = 1.0) -> None:
        """Update each parameter that has a gradient (Kingma and Ba 2015, Algorithm 1). decay_share: of the decay, taken."""
        for group in self.param_groups:
            params = [param for param in group["params"] if param.grad is not None]
            states = [self.state_of(param) for param in params]
            if params and group.get("decay", 0.0) > 0.0:
                torch._foreach_mul_(params, 1.0 - decay_share * faded_share(group))
            adam(
                params,
                [param.grad for param in params],
                [state["exp_avg"] for state in states],
                [state["exp_avg_sq"] for state in states],
                [],
                [state["step"] for state in states],
                fused=True,
                amsgrad=False,
                beta1=BETAS[0],
                beta2=BETAS[1],
                lr=group["lr"],
                weight_decay=0.0,
                eps=group["eps"],
                maximize=False,
            )

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Forget the gradients, or fill them with zeros."""
        for param in self._params():
            if set_to_none:
                param.grad = None
            elif param.grad is not None:
                param.grad = torch.zeros_like(param)

    def state_dict(self) -> dict[str, Any]:
        """Rates and state, parameters by their number in the order of the groups. The tensors are those in use."""
        numbers = {param: number for number, param in enumerate(self._params())}
        options = {"betas": BETAS, "weight_decay": 0.0, "fused": True}
        groups = [group | options | {"params": [numbers[p] for p in group["params"]]} for group in self.param_groups]
        return {"state": {numbers[p]: dict(state) for p, state in self.state.items()}, "param_groups": groups}

    def load_state_dict(self, content: dict[str, Any]) -> None:
        """Go on from copies of what `state_dict` gave. Raises ValueError where groups differ, RuntimeError for other shapes."""
        saved = content["param_groups"]
        if [len(group["params"]) for group in saved] != [len(group["params"]) for group in self.param_groups]:
            raise ValueError("the optimiser's state is of other groups of parameters")
        params = self._params()
        self.state = {params[number]: _copy_state(state, params[number]) for number, state in content["state"].items()}
        for group, old in zip(self.param_groups, saved, strict=True):
            group["lr"] = old["lr"]

    def state_of(self, param: Tensor) -> dict[str, Tensor]:
        """A parameter's state, made anew, all zero, where it has had no update."""
        if param not in self.state:
            zero = torch.zeros((), dtype=torch.float32, device=param.device)
            self.state[param] = {
                "step": zero,
                "exp_avg": torch.zeros_like(param),
                "exp_avg_sq": torch.zeros_like(param),
            }
        return self.state[param]

    def _params(self) -> list[Tensor]:
        return [param for group in self.param_groups for param in group["params"]]


def _copy_state(state: dict[str, Tensor], param: Tensor) -> dict[str, Tensor]:
    """The state of a parameter, copied to where it lies. Raises RuntimeError where a mean has another shape than it."""
    for name in ("exp_avg", "exp_avg_sq"):
        if state[name].shape != param.shape:
            raise RuntimeError(f"{name} is {list(state[name].shape)} for a parameter of {list(param.shape)}")
    return {name: value.to(param.device, copy=True) for name, value in state.items()}


def faded_share(group: dict[str, Any]) -> float:
    """What a step of a group takes away of its values before the gradient changes them, where all of the decay is taken."""
    return min(float(group["lr"]) * float(group.get("decay", 0.0)), 1.0)


def make_optimizer(model: AvatarModel, config: OptimizerConfig, frames: int | None = None) -> Adam:
    """One group for each kind of parameter, at the rates of the first image.

    frames: that are trained on, where that is known. Weight decay stands for what is believed before there are frames (Loshchilov
    and Hutter 2019), so it counts the more against the loss, which is a mean over the frames, the fewer they are.
    """
    base, basis = model.base, model.basis
    groups = {
        "mean": [base.mean],
        "rotation": [base.rotation],
        "color": [base.sh],
        "opacity": [base.opacity_logit],
        "scale": [base.log_scale],
        "basis_mean": [basis.mean],
        "basis_rotation": [basis.rotation],
        "basis_color": [basis.sh],
        "mlp": list(model.network.parameters()),
    }
    decay = config.mlp_weight_decay * (1.0 if frames is None else DECAY_FRAMES / max(frames, 1))
    rates = learning_rates(config, Pace(0.0))
    own = {"mlp": {"decay": decay}, **_epsilons(config, model.shape.count)}
    return Adam(
        [{"params": params, "name": name, "lr": rates[name]} | own.get(name, {}) for name, params in groups.items()]
    )


def _epsilons(config: OptimizerConfig, gaussians: int) -> dict[str, dict[str, float]]:
    """The `eps` of the groups that have one of their own.

    A number whose gradients are far below it hardly moves, where Adam would have all numbers move alike. So it is told in units
    of a usual gradient: that of the mean absolute difference to a colour of one of N Gaussians that share the picture evenly. A
    metre changes colours more than a unit of anything else does, by about one over a Gaussian's size.
    """
    usual = 1.0 / (_CHANNELS * gaussians)
    shares = {
        "opacity": config.size_epsilon,
        "scale": config.size_epsilon,
        "basis_mean": config.basis_epsilon / _USUAL_SIZE,
        "basis_rotation": config.basis_epsilon,
        "basis_color": config.basis_epsilon,
    }
    return {name: {"eps": max(share * usual, EPSILON)} for name, share in shares.items()}


@dataclass(frozen=True)
class Pace:
    """How large a step is. progress: of the means' decay, in [0, 1]. scale: of all rates."""

    progress: float
    scale: float = 1.0


def learning_rates(config: OptimizerConfig, pace: Pace) -> dict[str, float]:
    """The rate of each group at a pace."""
    mean = mean_rate(config, pace.progress)
    rates = {
        "mean": mean,
        "rotation": config.rotation,
        "color": config.color,
        "opacity": config.opacity,
        "scale": config.scale,
        "basis_mean": mean * config.basis_mean_factor,
        "basis_rotation": config.rotation * config.basis_rotation_factor,
        "basis_color": config.color * config.basis_color_factor,
        "mlp": config.mlp,
    }
    return {name: pace.scale * rate for name, rate in rates.items()}


def image_progress(config: OptimizerConfig, images_seen: int) -> float:
    """How far the means' rate has fallen after so many images, in [0, 1]: all the way over `mean_decay_images`."""
    return min(images_seen / config.mean_decay_images, 1.0)


def mean_rate(config: OptimizerConfig, progress: float) -> float:
    """From `mean` to `mean_final`, linear in the logarithm over progress 0 to 1."""
    if config.mean == 0:
        return 0.0
    return float(config.mean * (config.mean_final / config.mean) ** progress)


def set_learning_rates(optimizer: Adam, config: OptimizerConfig, pace: Pace) -> None:
    """Bring the groups to the rates of this moment, in place."""
    rates = learning_rates(config, pace)
    for group in optimizer.param_groups:
        group["lr"] = rates[group["name"]]
