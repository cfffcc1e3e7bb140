"""Public operators. Arguments are checked by the compiled library, whose errors name the argument, what it is, and what
it should be.

No function changes its arguments. What has no direction, is not finite or has an opacity above a million is not an error: that
Gaussian is not drawn in that image, gets a zero gradient, and is counted in `num_invalid`.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian_rasterization import _autograd as _autograd  # registers gradients and shapes with torch
from gaussian_rasterization._library import backends


@dataclass(frozen=True)
class RasterizeOutput:
    """color [B, 3, H, W] over the background; alpha [B, 1, H, W] coverage in [0, 1]; num_invalid [B] int32."""

    color: Tensor
    alpha: Tensor
    num_invalid: Tensor


@dataclass(frozen=True)
class ColorSums:
    """Over the whole batch, for Gaussians not seen yet (others: 0): rgb [N, 3] = sum of target colour times share,
    weight [N] = sum of shares.

    A share is alpha times transmittance, where it exceeds 0.1 and the target's own alpha exceeds 0.5. Carries no
    gradient.
    """

    rgb: Tensor
    weight: Tensor


def rasterize(
    means: Tensor,
    rotations: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    world_to_camera: Tensor,
    intrinsics: Tensor,
    background: Tensor,
    width: int,
    height: int,
) -> RasterizeOutput:
    """Render B images of N Gaussians (3D Gaussian Splatting, Kerbl et al. 2023).

    means [B, N, 3] world units; rotations [B, N, 4] WXYZ, normalised here; scales [N, 3] or [B, N, 3] standard
    deviations; opacities [N] or [B, N]; colors [B, N, 3]; world_to_camera [C, 3, 4] and intrinsics [C, 4] (fx, fy, cx,
    cy in pixels), C is 1 or B, axes x right, y down, z forward; background [B, 3]. Gradients flow to means, rotations,
    scales, opacities and colors.
    """
    _require_backend(means)
    color, alpha, num_invalid, _, _ = torch.ops.gaussian_rasterization.rasterize(
        means, rotations, scales, opacities, colors, world_to_camera, intrinsics, background, width, height
    )
    return RasterizeOutput(color, alpha, num_invalid)


def rasterize_with_color_sums(
    means: Tensor,
    rotations: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    world_to_camera: Tensor,
    intrinsics: Tensor,
    background: Tensor,
    width: int,
    height: int,
    target_images: Tensor,
    unseen: Tensor,
) -> tuple[RasterizeOutput, ColorSums]:
    """Render as `rasterize` does, and gather target colours. target_images [B, H, W, 4] uint8 straight RGBA; unseen [N]
    bool."""
    _require_backend(means)
    color, alpha, num_invalid, _, _, rgb, weight = torch.ops.gaussian_rasterization.rasterize_with_color_sums(
        means,
        rotations,
        scales,
        opacities,
        colors,
        world_to_camera,
        intrinsics,
        background,
        width,
        height,
        target_images,
        unseen,
    )
    return RasterizeOutput(color, alpha, num_invalid), ColorSums(rgb, weight)


def blend(base: Tensor, basis: Tensor, weights: Tensor) -> Tensor:
    """Add a weighted sum of offsets: base + sum_k weights[:, k] basis[k] (RGBAvatar, eq. 3), with a gradient to all
    three.

    base [N, D]; basis [K, N, D]; weights [B, K], unbounded. Returns [B, N, D].
    """
    _require_backend(base)
    return torch.ops.gaussian_rasterization.blend(base, basis, weights)


def bind_to_mesh(
    means: Tensor,
    rotations: Tensor,
    vertices: Tensor,
    faces: Tensor,
    tangents: Tensor,
    face_ids: Tensor,
    barycentrics: Tensor,
) -> tuple[Tensor, Tensor]:
    """Move Gaussians from their triangle's frame to world space; gradients flow to means and rotations.

    means [B, N, 3] and rotations [B, N, 4] WXYZ in the frame; vertices [B, V, 3]; faces [F, 3] and face_ids [N] int32
    or int64; tangents [F, 2] (a, b): tangent direction a e1 + b e2 with e1 = v1 - v0, e2 = v2 - v0; barycentrics [N,
    3]. Returns means [B, N, 3] = frame mean + sum_i bary_i vertex_i, and rotations [B, N, 4] = quat(frame) x
    normalize(rotation), zero where a rotation has no direction. The frame's columns are tangent, bitangent and normal
    unit(e1 x e2): a proper rotation, also for a degenerate triangle, whose missing directions are replaced by e1, e2 or
    any perpendicular, in this order.
    """
    _require_backend(means)
    return torch.ops.gaussian_rasterization.bind_to_mesh(
        means, rotations, vertices, faces, tangents, face_ids, barycentrics
    )


def _require_backend(tensor: Tensor) -> None:
    device = tensor.device.type
    if device not in backends() and device != "meta" and not torch.compiler.is_compiling():
        built = " and ".join(sorted(backends()))
        raise RuntimeError(
            f"gaussian_rasterization: tensors are on {tensor.device}, but this build has kernels for {built} only. "
            "Build it again where nvcc and a CUDA torch are, or move the tensors."
        )
