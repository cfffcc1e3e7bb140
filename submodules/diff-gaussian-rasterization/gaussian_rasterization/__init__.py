"""Gaussian splatting, blending and mesh binding: differentiable, batched, on the CPU and (where built) on CUDA.

Symbols: B images, N Gaussians, K bases, V vertices, F faces, H x W pixels. Quaternions are WXYZ. Everything is float32
or float64 (CUDA: float32), and everything of one call is of one type and on one device.
"""

from gaussian_rasterization._library import backends
from gaussian_rasterization.ops import (
    ColorSums,
    RasterizeOutput,
    bind_to_mesh,
    blend,
    rasterize,
    rasterize_with_color_sums,
)

__all__ = [
    "ColorSums",
    "RasterizeOutput",
    "backends",
    "bind_to_mesh",
    "blend",
    "rasterize",
    "rasterize_with_color_sums",
]
