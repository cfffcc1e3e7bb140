"""How near a scene comes to the decisions of compositing: alpha >= 1/255, and transmittance >= 1e-4.

At those, the picture jumps: two correct programs of different rounding may disagree by a whole step. Tests that compare
them, or that take differences, use scenes that keep clear, and this measures it.
"""

from __future__ import annotations

import torch
from gaussian_rasterization import reference

from tests.helpers.scenes import Scene


def clearance(scene: Scene) -> float:
    """Least relative distance of any alpha to 1/255 and of any transmittance to 1e-4, over all Gaussians and pixels."""
    least = float("inf")
    for index in range(scene.images):
        one = scene.image(index)
        scales = one.scales[0] if one.scales.dim() == 3 else one.scales
        opacities = one.opacities[0] if one.opacities.dim() == 2 else one.opacities
        splats = reference.project(
            one.means[0], one.rotations[0], scales, one.world_to_camera[0], one.intrinsics[0], one.width, one.height
        )
        least = min(least, _clearance_of_image(splats, opacities, one))
    return least


def _clearance_of_image(splats: reference.Projected, opacities: torch.Tensor, scene: Scene) -> float:
    order = torch.argsort(splats.depths, stable=True)
    order = order[splats.visible[order]]
    near = reference.Projected(
        splats.centers[order], splats.covariances[order], splats.depths[order], splats.visible[order]
    )
    rows, columns = torch.meshgrid(torch.arange(scene.height), torch.arange(scene.width), indexing="ij")
    offsets = torch.stack([columns, rows], -1).reshape(1, -1, 2) - near.centers[:, None]
    forms = torch.einsum("npi,nij,npj->np", offsets, torch.linalg.inv(near.covariances), offsets)
    raw = opacities[order][:, None] * torch.exp(-0.5 * forms)
    through = torch.cumprod(1 - reference.alphas_of(near, opacities[order], scene.width, scene.height), 0)
    distances = [(raw / reference.MIN_ALPHA - 1).abs(), (through / reference.MIN_TRANSMITTANCE - 1).abs()]
    return min((d.min().item() for d in distances if d.numel()), default=float("inf"))
