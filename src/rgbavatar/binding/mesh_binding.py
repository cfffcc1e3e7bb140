"""Binding: each Gaussian rides on one triangle of the posed template, at a fixed place in the UV map.

The triangle's frame has the UV tangent, the bitangent and the normal as columns, made orthonormal and right-handed.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from gaussian_rasterization import bind_to_mesh
from gaussian_rasterization.fused import Mesh
from torch import Tensor

from rgbavatar.binding.uv_raster import rasterize_uv
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.types import Gaussians


@dataclass(frozen=True)
class MeshBinding:
    """faces [F, 3] int64; tangents [F, 2]: the tangent is `a e1 + b e2` of the posed edges v1 - v0, v2 - v0.

    face_ids [N] int64: the triangle of each Gaussian. barycentrics [N, 3]: where on it.
    """

    faces: Tensor
    tangents: Tensor
    face_ids: Tensor
    barycentrics: Tensor

    @property
    def count(self) -> int:
        return self.face_ids.shape[0]

    def to_world(self, local: Gaussians, vertices: Tensor) -> Gaussians:
        """Pose local Gaussians by the mesh (Eq. 4). vertices [B, V, 3] metres. Returns Gaussians in world space."""
        means, rotations = bind_to_mesh(
            local.means, local.rotations, vertices, self.faces, self.tangents, self.face_ids, self.barycentrics
        )
        return dataclasses.replace(local, means=means, rotations=rotations)

    def to(self, device: torch.device) -> MeshBinding:
        """The same binding with its tensors on `device`."""
        tensors = (self.faces, self.tangents, self.face_ids, self.barycentrics)
        return MeshBinding(*(tensor.to(device) for tensor in tensors))

    def to_fused(self) -> Mesh:
        """The binding as the extension's fused path takes it."""
        return Mesh(self.faces.int(), self.tangents, self.face_ids.int(), self.barycentrics)

    def select(self, indices: Tensor) -> MeshBinding:
        """The binding of the Gaussians at `indices` [M] int64."""
        return MeshBinding(self.faces, self.tangents, self.face_ids[indices], self.barycentrics[indices])


def bind_template(template: HeadTemplate, tex_size: int) -> MeshBinding:
    """One Gaussian for each texel of a tex_size x tex_size UV map that a triangle covers."""
    texels = rasterize_uv(template.uv, template.uv_faces, tex_size)
    tangents = uv_tangents(template.uv, template.uv_faces)
    return MeshBinding(template.faces, tangents.float(), texels.face_ids, texels.barycentrics.float())


def uv_tangents(uv: Tensor, uv_faces: Tensor) -> Tensor:
    """Where u grows on each triangle, as multiples of its two edges. uv [Vt, 2]; uv_faces [F, 3]. Returns [F, 2].

    With edges (du1, dv1), (du2, dv2) in UV, du/dp = (dv2 e1 - dv1 e2) / (du1 dv2 - du2 dv1) (Lengyel 2001). Only the
    direction matters, so the determinant gives its sign alone; a triangle without UV area takes its first edge.
    """
    corners = uv.double()[uv_faces]
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    determinant = first[:, 0] * second[:, 1] - second[:, 0] * first[:, 1]
    tangents = torch.stack([second[:, 1], -first[:, 1]], dim=1) * torch.sign(determinant)[:, None]
    lengths = tangents.norm(dim=1, keepdim=True)
    along_first_edge = torch.tensor([1.0, 0.0], dtype=torch.float64)
    return torch.where(lengths > 1e-12, tangents / lengths.clamp_min(1e-12), along_first_edge)
