"""The values that flow through training: frames → Batch → Gaussians → Rendering.

Symbols: B images in a batch, N Gaussians, V mesh vertices, C code entries, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from rgbavatar.geometry.camera import Camera


@dataclass(frozen=True)
class Batch:
    """B frames, all on one device.

    indices [B] int64: positions in the dataset. images [B, H, W, 4] uint8: straight (not premultiplied) RGBA, alpha is the
    head mask. vertices [B, V, 3] float32: the posed template in world space, metres. codes [B, C] float32.
    camera: one for all images, or one for each.
    """

    indices: Tensor
    images: Tensor
    vertices: Tensor
    codes: Tensor
    camera: Camera

    def __len__(self) -> int:
        return self.images.shape[0]


@dataclass(frozen=True)
class Gaussians:
    """N activated Gaussians for each of B images, in the triangle's frame or in world space as the context says.

    means [B, N, 3] metres; rotations [B, N, 4] WXYZ, need not be unit; colors [B, N, 3] RGB, at least 0;
    scales [N, 3] metres and opacities [N] in (0, 1) are common to the batch.
    """

    means: Tensor
    rotations: Tensor
    scales: Tensor
    opacities: Tensor
    colors: Tensor


@dataclass(frozen=True)
class Rendering:
    """color [B, 3, H, W]: RGB over the background; alpha [B, 1, H, W]: coverage in [0, 1].

    num_invalid [B] int32: Gaussians that were not drawn because a number of theirs is not finite.
    """

    color: Tensor
    alpha: Tensor
    num_invalid: Tensor
