"""How far apart two results may be, and why. One entry for each kind of comparison; tests never write a tolerance of
their own.

`relative` is measured against the largest absolute value of the expected tensor: a gradient sums hundreds of pixels
whose terms cancel, so a small element carries the rounding of the large ones.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Tolerance:
    relative: float
    reason: str


COLOR_FLOAT64 = Tolerance(
    1e-13, "a pixel sums at most a hundred terms below 1, each rounded to 1e-16; oracle and kernel round differently"
)
COLOR_FLOAT32 = Tolerance(
    2e-5,
    "float32 rounds pixel coordinates of some 100 px to 4e-6 px and the exponent's cancelling terms to 1e-6; alpha follows, "
    "and so do tens of layers",
)
GRADIENT_FLOAT64 = Tolerance(
    1e-11,
    "the backward sweep divides by 1 - alpha >= 0.01 and squares 1 / covariance: four digits above COLOR_FLOAT64 at most",
)
GRADIENT_FLOAT32 = Tolerance(
    5e-4, "as GRADIENT_FLOAT64, from COLOR_FLOAT32: the gradient of a needle's shortest axis is the worst"
)
BLEND_FLOAT64 = Tolerance(1e-13, "sums of at most a few hundred products")
BLEND_FLOAT32 = Tolerance(2e-6, "as BLEND_FLOAT64, at 6e-8 for each operation")
BIND_FLOAT64 = Tolerance(
    1e-11, "the frame of a triangle of a hundredth of a metre, found by another method (an eigenvector)"
)
BIND_FLOAT32 = Tolerance(
    2e-5, "edges of a hundredth of a metre between vertices known to 6e-8 m: directions known to 1e-5"
)
FINITE_DIFFERENCES = Tolerance(
    1e-4, "central differences in float64 with steps of 1e-6: truncation and rounding of the loss, each under 1e-5"
)
BATCH_GRADIENT = Tolerance(1e-6, "a batch adds its images' gradients in another order than a loop of singles does")
EXPONENTIAL_FLOAT32 = Tolerance(1.2e-7, "one unit in the last place, as csrc/cpu/lanes.h derives")


def color(dtype: torch.dtype) -> Tolerance:
    return COLOR_FLOAT64 if dtype == torch.float64 else COLOR_FLOAT32


def gradient(dtype: torch.dtype) -> Tolerance:
    return GRADIENT_FLOAT64 if dtype == torch.float64 else GRADIENT_FLOAT32


def blend(dtype: torch.dtype) -> Tolerance:
    return BLEND_FLOAT64 if dtype == torch.float64 else BLEND_FLOAT32


def bind(dtype: torch.dtype) -> Tolerance:
    return BIND_FLOAT64 if dtype == torch.float64 else BIND_FLOAT32


def assert_close(actual: Tensor, expected: Tensor, tolerance: Tolerance, what: str = "result") -> None:
    """Compare in float64 on the CPU; the message names what differs, by how much, and why no more was allowed."""
    actual, expected = (x.detach().to("cpu", torch.float64) for x in (actual, expected))
    assert actual.shape == expected.shape, f"{what}: shape {tuple(actual.shape)}, expected {tuple(expected.shape)}"
    if expected.numel() == 0:
        return
    scale = expected.abs().max().item() or 1.0
    error = (actual - expected).abs().max().item() / scale
    assert error <= tolerance.relative, (
        f"{what}: off by {error:.2e}, allowed {tolerance.relative:.0e} ({tolerance.reason})"
    )
