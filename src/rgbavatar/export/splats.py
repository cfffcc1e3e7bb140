"""A posed avatar as a .ply file of 3D Gaussian splatting (Kerbl et al. 2023), which splat viewers open.

A Gaussian's properties: x y z (metres, world), nx ny nz (zeros), f_dc_0..2 (harmonic of degree 0; there is no f_rest), opacity
(logit), scale_0..2 (natural logarithm of metres), rot_0..3 (unit quaternion WXYZ). The world has y up, and the tracked camera
at its origin, looking along -z.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbavatar.io.ply import write_ply
from rgbavatar.model.gaussians import sh_from_colors
from rgbavatar.types import Gaussians

_SMALLEST_GAP = 1e-6  # of an opacity to 0 and 1, where its logit would be infinite


def splat_columns(gaussians: Gaussians, image: int = 0) -> dict[str, np.ndarray]:
    """The columns [N] of one image's Gaussians in world space, float32."""
    opacity = gaussians.opacities.clamp(_SMALLEST_GAP, 1.0 - _SMALLEST_GAP)
    parts = {
        ("x", "y", "z"): gaussians.means[image],
        ("nx", "ny", "nz"): torch.zeros_like(gaussians.means[image]),
        ("f_dc_0", "f_dc_1", "f_dc_2"): sh_from_colors(gaussians.colors[image]),
        ("opacity",): torch.logit(opacity)[:, None],
        ("scale_0", "scale_1", "scale_2"): gaussians.scales.log(),
        ("rot_0", "rot_1", "rot_2", "rot_3"): torch.nn.functional.normalize(gaussians.rotations[image], dim=1),
    }
    return {name: column for names, values in parts.items() for name, column in _columns(names, values)}


def write_splats(path: Path, gaussians: Gaussians, image: int = 0) -> None:
    """Write one image's Gaussians aside. Raises OutputError."""
    write_ply(path, splat_columns(gaussians, image), ("y is up, metres",))


def _columns(names: tuple[str, ...], values: Tensor) -> list[tuple[str, np.ndarray]]:
    table = values.detach().float().cpu().numpy()
    return [(name, np.ascontiguousarray(table[:, i])) for i, name in enumerate(names)]
