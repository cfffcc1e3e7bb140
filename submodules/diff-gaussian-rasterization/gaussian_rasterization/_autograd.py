"""Gradients and shapes of the compiled operators, registered with torch (autograd, fake tensors, torch.compile).

The forward operators return what their backward needs as extra outputs: `splats` [B, N, 12], the projected Gaussians,
and `bins`, one int32 vector of a backend's own layout whose length depends on the scene.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from gaussian_rasterization import _library as _library  # loads the operators

NAMESPACE = _library.NAMESPACE
SPLAT_FIELDS = 12


def _images_and_state(means: Tensor, width: int, height: int) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    batch, gaussians, _ = means.shape
    bins = torch.library.get_ctx().new_dynamic_size()
    return (
        means.new_empty(batch, 3, height, width),
        means.new_empty(batch, 1, height, width),
        means.new_empty(batch, dtype=torch.int32),
        means.new_empty(batch, gaussians, SPLAT_FIELDS),
        means.new_empty(bins, dtype=torch.int32),
    )


@torch.library.register_fake(f"{NAMESPACE}::rasterize")
def _shapes_of_rasterize(means: Tensor, *scene: Any) -> tuple[Tensor, ...]:
    width, height = scene[-2:]
    return _images_and_state(means, width, height)


@torch.library.register_fake(f"{NAMESPACE}::rasterize_with_color_sums")
def _shapes_of_rasterize_with_color_sums(means: Tensor, *scene: Any) -> tuple[Tensor, ...]:
    width, height = scene[-4:-2]
    gaussians = means.shape[1]
    return (*_images_and_state(means, width, height), means.new_empty(gaussians, 3), means.new_empty(gaussians))


@torch.library.register_fake(f"{NAMESPACE}::rasterize_backward")
def _shapes_of_rasterize_backward(*arguments: Tensor) -> tuple[Tensor, ...]:
    differentiable = arguments[6:11]
    return tuple(x.new_empty(x.shape) for x in differentiable)


@torch.library.register_fake(f"{NAMESPACE}::blend")
def _shapes_of_blend(base: Tensor, basis: Tensor, weights: Tensor) -> Tensor:
    return base.new_empty(weights.shape[0], *base.shape)


@torch.library.register_fake(f"{NAMESPACE}::blend_backward")
def _shapes_of_blend_backward(grad_out: Tensor, basis: Tensor, weights: Tensor) -> tuple[Tensor, ...]:
    return basis.new_empty(basis.shape[1:]), basis.new_empty(basis.shape), weights.new_empty(weights.shape)


@torch.library.register_fake(f"{NAMESPACE}::bind_to_mesh")
def _shapes_of_bind_to_mesh(means: Tensor, rotations: Tensor, *mesh: Tensor) -> tuple[Tensor, ...]:
    return means.new_empty(means.shape), rotations.new_empty(rotations.shape)


@torch.library.register_fake(f"{NAMESPACE}::bind_to_mesh_backward")
def _shapes_of_bind_to_mesh_backward(grad_means: Tensor, grad_rotations: Tensor, *bound: Tensor) -> tuple[Tensor, ...]:
    return grad_means.new_empty(grad_means.shape), grad_rotations.new_empty(grad_rotations.shape)


def _save_rasterize(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
    color, alpha, _, splats, bins = output[:5]
    ctx.save_for_backward(color, alpha, splats, bins, *inputs[:8])
    ctx.mark_non_differentiable(*output[2:])


def _rasterize_gradients(ctx: Any, grad_color: Tensor | None, grad_alpha: Tensor | None) -> tuple[Tensor, ...]:
    color, alpha, *rest = ctx.saved_tensors
    grad_color = torch.zeros_like(color) if grad_color is None else grad_color
    grad_alpha = torch.zeros_like(alpha) if grad_alpha is None else grad_alpha
    return torch.ops.gaussian_rasterization.rasterize_backward(grad_color, grad_alpha, color, alpha, *rest)


def _rasterize_backward(ctx: Any, grad_color: Tensor | None, grad_alpha: Tensor | None, *_: Any) -> tuple[Any, ...]:
    return (*_rasterize_gradients(ctx, grad_color, grad_alpha), *[None] * 5)


def _rasterize_with_color_sums_backward(
    ctx: Any, grad_color: Tensor | None, grad_alpha: Tensor | None, *_: Any
) -> tuple[Any, ...]:
    return (*_rasterize_gradients(ctx, grad_color, grad_alpha), *[None] * 7)


def _save_blend(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    _, basis, weights = inputs
    ctx.save_for_backward(basis, weights)


def _blend_backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor, ...]:
    return torch.ops.gaussian_rasterization.blend_backward(grad_out, *ctx.saved_tensors)


def _save_bind(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor]) -> None:
    _, *rest = inputs
    ctx.save_for_backward(*rest)
    ctx.set_materialize_grads(True)


def _bind_backward(ctx: Any, grad_means: Tensor, grad_rotations: Tensor) -> tuple[Any, ...]:
    gradients = torch.ops.gaussian_rasterization.bind_to_mesh_backward(grad_means, grad_rotations, *ctx.saved_tensors)
    return (*gradients, *[None] * 5)


def _register(name: str, backward: Any, setup_context: Any) -> None:
    torch.library.register_autograd(f"{NAMESPACE}::{name}", backward, setup_context=setup_context)


_register("rasterize", _rasterize_backward, _save_rasterize)
_register("rasterize_with_color_sums", _rasterize_with_color_sums_backward, _save_rasterize)
_register("blend", _blend_backward, _save_blend)
_register("bind_to_mesh", _bind_backward, _save_bind)
