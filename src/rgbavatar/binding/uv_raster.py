"""Which texels of a template's UV map hold a Gaussian, and where on the mesh each lies.

Texel (row, col) of a map of T x T texels has its centre at u = (col + .5) / T to the right, v = (row + .5) / T upwards.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rgbavatar.errors import TemplateError
from rgbavatar.geometry.triangle_raster import rasterize_triangles


@dataclass(frozen=True)
class UvTexels:
    """N covered texels by ascending index. face_ids [N] int64; barycentrics [N, 3] float32, at least 0 and of sum 1;
    texels [N] int64: row T + col."""

    face_ids: Tensor
    barycentrics: Tensor
    texels: Tensor

    def __len__(self) -> int:
        return self.texels.shape[0]


def rasterize_uv(uv: Tensor, uv_faces: Tensor, size: int) -> UvTexels:
    """Find the texels whose centre a UV triangle covers, edges included; the lowest face wins, one without area never.

    uv [Vt, 2]; uv_faces [F, 3] int64; size: T, texels on a side. Raises TemplateError where no texel is covered.
    """
    corners = uv.detach().cpu().to(torch.float64)[uv_faces.cpu()] * size - 0.5
    raster = rasterize_triangles(corners, size, size)
    faces = raster.face_ids.flatten()
    texels = torch.nonzero(faces >= 0)[:, 0]
    if len(texels) == 0:
        raise TemplateError(
            f"UV map: found no triangle over any of {size}x{size} texels, expected coordinates in [0, 1]"
        )
    barycentrics = raster.barycentrics.view(-1, 3)[texels].to(torch.float32)
    return UvTexels(faces[texels], barycentrics, texels)
