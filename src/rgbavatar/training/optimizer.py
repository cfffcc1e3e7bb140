"""Adam with a rate for each kind of parameter, and the decay of the means' rate.

Rates are those of 3D Gaussian splatting (Kerbl et al. 2023) as the RGBAvatar paper changed them; see config/offline.yaml.
"""

from __future__ import annotations

import torch

from rgbavatar.config import OptimizerConfig
from rgbavatar.model.avatar import AvatarModel

_EPSILON = 1e-15  # of Adam: gradients of single Gaussians are far below its default 1e-8


def make_optimizer(model: AvatarModel, config: OptimizerConfig) -> torch.optim.Adam:
    """One group for each kind of parameter, at the rates of the first image."""
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
    rates = learning_rates(config, 0)
    options = [{"params": params, "name": name, "lr": rates[name]} for name, params in groups.items()]
    return torch.optim.Adam(options, eps=_EPSILON, fused=True)


def learning_rates(config: OptimizerConfig, images_seen: int) -> dict[str, float]:
    """The rate of each group once `images_seen` images were trained on."""
    mean = mean_rate(config, images_seen)
    return {
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


def mean_rate(config: OptimizerConfig, images_seen: int) -> float:
    """From `mean` to `mean_final`, linear in the logarithm over `mean_decay_images`, then constant."""
    if config.mean == 0:
        return 0.0
    progress = min(images_seen / config.mean_decay_images, 1.0)
    return float(config.mean * (config.mean_final / config.mean) ** progress)


def set_learning_rates(optimizer: torch.optim.Optimizer, config: OptimizerConfig, images_seen: int) -> None:
    """Bring the groups to the rates of this moment, in place."""
    rates = learning_rates(config, images_seen)
    for group in optimizer.param_groups:
        group["lr"] = rates[group["name"]]
