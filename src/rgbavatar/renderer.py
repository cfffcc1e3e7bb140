"""Rendering: Gaussians in world space, a camera and a background in, an image out."""

from __future__ import annotations

from gaussian_rasterization import ColorSums, RasterizeOutput, rasterize, rasterize_with_color_sums
from torch import Tensor

from rgbavatar.geometry.camera import Camera
from rgbavatar.types import Gaussians, Rendering


def render(gaussians: Gaussians, camera: Camera, background: Tensor) -> Rendering:
    """Splat B images over background [B, 3] (Kerbl et al. 2023, Section 4)."""
    return _rendering(rasterize(*_arguments(gaussians, camera, background)))


def render_with_color_sums(
    gaussians: Gaussians, camera: Camera, background: Tensor, images: Tensor, unseen: Tensor
) -> tuple[Rendering, ColorSums]:
    """Splat, and gather what images [B, H, W, 4] uint8 show where the Gaussians unseen [N] bool are visible."""
    output, sums = rasterize_with_color_sums(*_arguments(gaussians, camera, background), images, unseen)
    return _rendering(output), sums


def _arguments(
    gaussians: Gaussians, camera: Camera, background: Tensor
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, int, int]:
    return (
        gaussians.means,
        gaussians.rotations,
        gaussians.scales,
        gaussians.opacities,
        gaussians.colors,
        camera.world_to_camera,
        camera.intrinsics,
        background,
        camera.width,
        camera.height,
    )


def _rendering(output: RasterizeOutput) -> Rendering:
    return Rendering(output.color, output.alpha, output.num_invalid)
