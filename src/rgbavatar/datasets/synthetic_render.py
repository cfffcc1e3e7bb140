"""Pictures of the synthetic head: its mesh, textured and shaded sample by sample, and a fuzz of hair around it.

Nothing here splats: a model trained on these pictures has to find its own way to them. *Face units*: rest coordinates with
the origin between the eyes, x to the head's left, y up, z out of the face; 1 is the height from the eyes to the crown.
*Samples*: S x S points a pixel, averaged; a sample is covered or not, so alpha has S² + 1 levels. World is the camera's
space: OpenCV axes, metres. Colours are RGB in [0, 1], as displayed. float32 but for the rasterizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import grid_sample, normalize, pad

from rgbavatar.geometry.triangle_raster import correct_perspective, rasterize_triangles

TO_LAMP = (-0.45, -0.60, -0.66)  # unit vector: the lamp hangs above and to the left of the camera, and stays there
AMBIENT, DIFFUSE, SPECULAR, SHININESS = 0.50, 0.58, 0.10, 22.0
WRAP = 0.4  # how far beyond the terminator the soft lamp reaches, as a cosine
HAIR_LAYERS, HAIR_STEP = 3, 0.0026  # shells over the scalp, metres from one to the next
STRANDS = 300  # along a side of the UV map
HAIRLINE_WIDTH = 0.2  # face units
BALD = 0.3  # share of strands too short for the first shell


@dataclass(frozen=True)
class Head:
    """What all pictures of a head share.

    faces [F, 3] int64; uv_corners [F, 3, 2]; rest [V, 3]: rest vertices in face units; texture [T, T, 3], row 0 at v = 0;
    scalp [h] int64: faces with hair; growth [V]: 0 at the hairline, 1 well behind it; strands [G, G]: length of the strand
    in each cell of the UV map where growth is 1, in [0, 1].
    """

    faces: Tensor
    uv_corners: Tensor
    rest: Tensor
    texture: Tensor
    scalp: Tensor
    growth: Tensor
    strands: Tensor


@dataclass(frozen=True)
class Look:
    """How much the skin shows of what an expression does to it, each in [0, 1]."""

    blush: float
    furrows: float
    folds: float


@dataclass(frozen=True)
class _Film:
    """A rectangle of samples. top, left: its first pixel in the picture; orders [h, w] float64: -1/Z of what each sample
    sees, infinite for nothing; colors [h, w, 3]."""

    top: int
    left: int
    orders: Tensor
    colors: Tensor


@dataclass(frozen=True)
class _Hits:
    """m samples that a shell covers: position in the film [m], face [m], weights of its corners [m, 3], order [m]."""

    at: Tensor
    faces: Tensor
    weights: Tensor
    orders: Tensor

    def select(self, chosen: Tensor) -> _Hits:
        return _Hits(self.at[chosen], self.faces[chosen], self.weights[chosen], self.orders[chosen])


def prepare_head(
    faces: Tensor, uv: Tensor, uv_faces: Tensor, rest: Tensor, eyes: Tensor, texture: Tensor, seed: int
) -> Head:
    """Measure a head for `render_head`. rest [V, 3] metres; eyes [2, 3]: centres of the eyeballs at rest."""
    middle = eyes.mean(0)
    points = ((rest - middle) / (rest[:, 1].max() - middle[1])).to(torch.float32)
    growth = _grow_hair(points)
    return Head(
        faces=faces,
        uv_corners=uv[uv_faces].to(torch.float32),
        rest=points,
        texture=texture.to(torch.float32),
        scalp=torch.nonzero((growth > 0)[faces].any(1))[:, 0],
        growth=growth,
        strands=torch.rand(STRANDS, STRANDS, generator=torch.Generator().manual_seed(seed)),
    )


def _grow_hair(points: Tensor) -> Tensor:
    """Growth of hair at points [V, 3] in face units: it starts at a line that falls from the forehead to the nape."""
    hairline = 0.62 - 0.85 * (-0.35 - points[:, 2]).clamp(0, 1.3)
    return ((points[:, 1] - hairline) / HAIRLINE_WIDTH).clamp(0, 1)


def render_head(
    head: Head,
    vertices: Tensor,
    intrinsics: Tensor,
    width: int,
    height: int,
    look: Look,
    samples: int,
    lamp: Sequence[float] = TO_LAMP,
) -> Tensor:
    """One picture. vertices [V, 3] world; intrinsics [4]: fx, fy, cx, cy; lamp [3]: direction to it. Returns [H, W, 4] uint8,
    straight RGBA."""
    vertices, intrinsics = vertices.to(torch.float64), intrinsics.to(torch.float64)
    normals = vertex_normals(vertices, head.faces)
    fuzz = vertices + HAIR_LAYERS * HAIR_STEP * normals
    film = _cut_film(torch.cat((_project(vertices, intrinsics), _project(fuzz, intrinsics))), width, height, samples)
    hits = _trace(film, vertices, head.faces, torch.arange(len(head.faces)), intrinsics, samples)
    film = _expose(film, hits, _shade_skin(head, hits, vertices, normals, look, lamp))
    for layer in range(1, HAIR_LAYERS + 1):
        shell = vertices + layer * HAIR_STEP * normals
        hits = _trace(film, shell, head.faces, head.scalp, intrinsics, samples)
        hits = hits.select(_strand_lengths(head, hits) > BALD + (1 - BALD) * (layer - 1) / HAIR_LAYERS)
        film = _expose(film, hits, _shade_hair(head, hits, shell, normals, lamp))
    return _develop(film, width, height, samples)


def vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals at vertices [V, 3], outward for counter-clockwise faces: face normals averaged by area."""
    a, b, c = vertices[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a).repeat_interleave(3, 0)
    return normalize(torch.zeros_like(vertices).index_add(0, faces.flatten(), normals), dim=-1)


def _project(points: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixel coordinates of points [..., 3], the centre of the top-left pixel at (0, 0). Returns [..., 2]."""
    return points[..., :2] / points[..., 2:] * intrinsics[:2] + intrinsics[2:] - 0.5


def _cut_film(pixels: Tensor, width: int, height: int, samples: int) -> _Film:
    """An unexposed film around projected points [m, 2], within the picture."""
    size = torch.tensor((width, height))
    low = torch.minimum(pixels.amin(0).floor().long().clamp_min(0), size)
    high = torch.maximum(torch.minimum(pixels.amax(0).ceil().long() + 1, size), low)
    w, h = ((high - low) * samples).tolist()
    return _Film(int(low[1]), int(low[0]), torch.full((h, w), torch.inf, dtype=torch.float64), torch.zeros(h, w, 3))


def _trace(film: _Film, shell: Tensor, faces: Tensor, chosen: Tensor, intrinsics: Tensor, samples: int) -> _Hits:
    """The samples that the faces `chosen` [f] of a shell [V, 3] cover nearer than what the film holds."""
    offset = torch.tensor((film.left, film.top))
    points = (_project(shell, intrinsics) - offset + 0.5) * samples - 0.5
    depths = shell[:, 2][faces[chosen]]
    raster = rasterize_triangles(points[faces[chosen]], film.orders.shape[1], film.orders.shape[0], -1 / depths)
    found = raster.face_ids.flatten()
    at = torch.nonzero(found >= 0)[:, 0]
    flat, depth = raster.barycentrics.view(-1, 3)[at], depths[found[at]]
    weights = correct_perspective(flat, depth).to(torch.float32)
    hits = _Hits(at, chosen[found[at]], weights, -(flat / depth).sum(1))
    return hits.select(hits.orders < film.orders.flatten()[at])


def _expose(film: _Film, hits: _Hits, colors: Tensor) -> _Film:
    """The film with the samples hit changed to `colors` [m, 3]."""
    orders = film.orders.flatten().index_put((hits.at,), hits.orders).view_as(film.orders)
    rgb = film.colors.view(-1, 3).index_put((hits.at,), colors).view_as(film.colors)
    return _Film(film.top, film.left, orders, rgb)


def _develop(film: _Film, width: int, height: int, samples: int) -> Tensor:
    """Average the samples of each pixel: alpha is the share covered, the colour that of the covered ones. [H, W, 4] uint8."""
    covered = film.orders.isfinite().to(torch.float32)[..., None]
    sums = torch.cat((film.colors.clamp(0, 1) * covered, covered), -1)
    h, w = sums.shape[0] // samples, sums.shape[1] // samples
    means = sums.view(h, samples, w, samples, 4).mean((1, 3))
    rgba = torch.cat((means[..., :3] / means[..., 3:].clamp_min(1e-6), means[..., 3:]), -1)
    margins = (0, 0, film.left, width - film.left - w, film.top, height - film.top - h)
    return pad((rgba * 255).round().to(torch.uint8), margins)


def _interpolate(hits: _Hits, corners: Tensor) -> Tensor:
    """Weigh the values at the corners of the faces hit. corners [m, 3, D]. Returns [m, D]."""
    a, b, c = corners.to(torch.float32).unbind(1)
    u, v, w = hits.weights[..., None].unbind(1)
    return a * u + b * v + c * w


def _albedo(head: Head, hits: _Hits) -> Tensor:
    """The texture where each sample hits the head, bilinear, [m, 3]."""
    grid = 2 * _interpolate(hits, head.uv_corners[hits.faces]) - 1
    texture = head.texture.permute(2, 0, 1)[None]
    return grid_sample(texture, grid[None, None], padding_mode="border", align_corners=False)[0, :, 0].T


def _strand_lengths(head: Head, hits: _Hits) -> Tensor:
    """Length of the strand where each sample hits the scalp, [m] in [0, 1]."""
    uv = _interpolate(hits, head.uv_corners[hits.faces])
    column, row = (uv * STRANDS).long().clamp(0, STRANDS - 1).unbind(1)
    return head.strands[row, column] * _interpolate(hits, head.growth[head.faces[hits.faces], None])[:, 0]


def _light(head: Head, hits: _Hits, shell: Tensor, normals: Tensor, lamp: Sequence[float]) -> tuple[Tensor, Tensor]:
    """Brightness under the lamp and its gleam, each [m, 1]: wrapped Lambert and Blinn-Phong."""
    faces = head.faces[hits.faces]
    to_eye = normalize(-_interpolate(hits, shell[faces]), dim=-1)
    normal = normalize(_interpolate(hits, normals[faces]), dim=-1)
    normal = torch.where((normal * to_eye).sum(-1, keepdim=True) < 0, -normal, normal)  # the inside of the mouth
    to_lamp = normalize(torch.tensor(lamp), dim=-1)
    lambert = (((normal @ to_lamp)[:, None] + WRAP) / (1 + WRAP)).clamp_min(0)
    gleam = (normal * normalize(to_lamp + to_eye, dim=-1)).sum(-1, keepdim=True).clamp_min(0) ** SHININESS
    return AMBIENT + DIFFUSE * lambert, gleam


def _shade_skin(
    head: Head, hits: _Hits, vertices: Tensor, normals: Tensor, look: Look, lamp: Sequence[float]
) -> Tensor:
    """Colours of the skin, the eyes and the mouth, [m, 3]."""
    brightness, gleam = _light(head, hits, vertices, normals, lamp)
    points = _interpolate(hits, head.rest[head.faces[hits.faces]])
    return _albedo(head, hits) * _flush(points, look) * brightness + SPECULAR * gleam


def _shade_hair(head: Head, hits: _Hits, shell: Tensor, normals: Tensor, lamp: Sequence[float]) -> Tensor:
    """Colours of strands, [m, 3]: the texture below, each strand a little darker or lighter than the next."""
    brightness, gleam = _light(head, hits, shell, normals, lamp)
    return (
        _albedo(head, hits) * (0.8 + 0.4 * _strand_lengths(head, hits)[:, None]) * brightness + 0.3 * SPECULAR * gleam
    )


def _flush(points: Tensor, look: Look) -> Tensor:
    """Factor on the skin's colour at points [m, 3] in face units: blushing cheeks, a furrowed brow, folds beside the nose."""
    x, y, z = points[:, 0].abs(), points[:, 1], points[:, 2]
    front = (z > -0.5).to(torch.float32)
    cheeks = _bell(x - 0.45, 0.20) * _bell(y + 0.38, 0.20)
    lines = _bell(torch.remainder(y - 0.28, 0.11) - 0.055, 0.016) * _bell(x, 0.35) * _bell(y - 0.42, 0.14)
    along = ((y + 0.30) / -0.45).clamp(0, 1)  # from the wing of the nose down to the corner of the mouth
    folds = _bell(x - 0.20 - 0.16 * along, 0.028) * _bell(y + 0.52, 0.16)
    marks = torch.stack((look.blush * cheeks, look.furrows * lines, look.folds * folds), -1) * front[:, None]
    return 1 - marks @ torch.tensor([[0.02, 0.26, 0.20], [0.30, 0.36, 0.36], [0.34, 0.40, 0.40]])


def _bell(distance: Tensor, width: float) -> Tensor:
    """exp(-(distance / width)²)."""
    return torch.exp(-((distance / width) ** 2))
