"""Running the compiled rasterizer and its oracle side by side."""

from __future__ import annotations

from dataclasses import dataclass

import gaussian_rasterization as gr
import torch
from gaussian_rasterization import reference
from torch import Tensor

from tests.helpers import scenes
from tests.helpers.scenes import Scene

NAMES = ("means", "rotations", "scales", "opacities", "colors")


@dataclass(frozen=True)
class Backend:
    """Where a test runs, and in which type."""

    device: str
    dtype: torch.dtype


@dataclass(frozen=True)
class Result:
    """Images, and gradients in the order of NAMES, of the loss `sum(color * a) + sum(alpha * b)` with fixed random a,
    b."""

    color: Tensor
    alpha: Tensor
    num_invalid: Tensor
    gradients: tuple[Tensor, ...]


def loss_weights(scene: Scene, color: Tensor, alpha: Tensor) -> tuple[Tensor, Tensor]:
    g = scenes.generator_of(99)
    return tuple(scenes.normal(g, *x.shape).to(x) for x in (color, alpha))  # type: ignore[return-value]


def run_kernel(scene: Scene) -> Result:
    leaves = scene.requiring_grad()
    out = gr.rasterize(*leaves.arguments())
    return _result(leaves, out.color, out.alpha, out.num_invalid)


def run_oracle(scene: Scene) -> Result:
    """In float64 on the CPU, whatever the scene's type and device: of exactly the values that the kernel sees."""
    leaves = scene.to("cpu", torch.float64).requiring_grad()
    return _result(leaves, *reference.rasterize(*leaves.arguments()))


def _result(leaves: Scene, color: Tensor, alpha: Tensor, num_invalid: Tensor) -> Result:
    a, b = loss_weights(leaves, color, alpha)
    loss = (color * a).sum() + (alpha * b).sum()
    gradients = torch.autograd.grad(loss, leaves.differentiable(), allow_unused=True, materialize_grads=True)
    return Result(color.detach(), alpha.detach(), num_invalid, gradients)


def render(scene: Scene) -> Tensor:
    """Colour and alpha as one tensor [B, 4, H, W]."""
    out = gr.rasterize(*scene.arguments())
    return torch.cat([out.color, out.alpha], 1)
