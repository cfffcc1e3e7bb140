"""Which Gaussians lie beside each other on the surface: those of texels side by side, whose triangles hang together.

Texels can lie side by side though the surface between them is cut: at the border of a chart, and at slits within one, such as
that between the lips. So their triangles must be the same, share a corner in the UV map, or have corners that an edge joins. A
map so coarse that whole triangles fit between two texels loses pairs by this; it joins none that do not belong together.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rgbavatar.binding.uv_raster import UvTexels, rasterize_uv
from rgbavatar.templates.base import HeadTemplate


def find_uv_neighbors(template: HeadTemplate, tex_size: int) -> Tensor:
    """Of each of the N Gaussians that `bind_template` makes: [N, 2] int64, the next one along u and along v, or itself."""
    texels = rasterize_uv(template.uv, template.uv_faces, tex_size)
    numbers = torch.full((tex_size * tex_size,), -1)
    numbers[texels.texels] = torch.arange(len(texels))
    table = numbers.view(tex_size, tex_size)
    right, above = torch.full_like(table, -1), torch.full_like(table, -1)
    right[:, :-1], above[:-1] = table[:, 1:], table[1:]
    return torch.stack(
        [_joined(side.flatten()[texels.texels], texels, template.uv_faces) for side in (right, above)], 1
    )


def _joined(beside: Tensor, texels: UvTexels, uv_faces: Tensor) -> Tensor:
    """beside [N]: Gaussians on one side, -1 for none. Returns [N]: those that hang together with their own, else their own."""
    own = torch.arange(len(texels))
    there = beside >= 0
    corners = uv_faces[texels.face_ids]
    there[there.clone()] = _hang_together(corners[there], corners[beside[there]], uv_faces)
    return torch.where(there, beside, own)


def _hang_together(first: Tensor, second: Tensor, uv_faces: Tensor) -> Tensor:
    """Whether triangles [P, 3] share a UV vertex with others [P, 3], or an edge of some triangle joins two of theirs. [P]."""
    pairs = torch.stack(torch.broadcast_tensors(first[:, :, None], second[:, None, :]), dim=-1).flatten(1, 2)
    edges = torch.cat([uv_faces[:, [0, 1]], uv_faces[:, [1, 2]], uv_faces[:, [2, 0]]])
    same = pairs[..., 0] == pairs[..., 1]
    joined = torch.isin(_edge_keys(pairs, int(uv_faces.max()) + 1), _edge_keys(edges, int(uv_faces.max()) + 1).unique())
    return (same | joined).any(dim=1)


def _edge_keys(pairs: Tensor, vertices: int) -> Tensor:
    """One number for each unordered pair of vertices [..., 2]."""
    low, high = pairs.min(dim=-1).values, pairs.max(dim=-1).values
    return low * vertices + high
