"""Which triangle of a mesh each pixel sees: an exact scan-line rasterizer without a loop over triangles.

Pixel coordinates: the centre of the pixel at (row, col) is the point (x, y) = (col, row). A *span* is the run of
pixels that one triangle covers in one row. An *order* is a quantity affine in the plane, the smaller the nearer; for
a perspective camera -1/Z is one, Z is not.

Rules. Edges are closed: a centre that lies on an edge or a corner is covered. Among the triangles that cover a centre
the smallest order wins, among equal orders the lowest face index; without orders the lowest face index wins. A
triangle thinner than MIN_THICKNESS, or with a coordinate that is not finite, covers nothing. Winding does not matter.
An edge that two triangles share gives both the same bound in each row, so a mesh has no cracks. All work is done on
the CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

MAX_CHUNK_PIXELS = 1 << 21  # covered pixels looked at in one go: about 100 MB of temporaries
MIN_THICKNESS = 1e-6  # pixels, least height of a triangle: below it float64 cannot tell the corners' weights apart
NO_FACE = -1


@dataclass(frozen=True)
class TriangleRaster:
    """face_ids [H, W] int64: the triangle seen, NO_FACE where none. barycentrics [H, W, 3] float64: the weights of its
    corners in the plane, at least 0 and of sum 1; 0 where there is no triangle."""

    face_ids: Tensor
    barycentrics: Tensor


@dataclass(frozen=True)
class _Spans:
    """s spans: face [s], row [s], first column [s], number of pixels [s] (1 or more), all int64."""

    faces: Tensor
    rows: Tensor
    columns: Tensor
    lengths: Tensor


def rasterize_triangles(corners: Tensor, width: int, height: int, orders: Tensor | None = None) -> TriangleRaster:
    """Find the triangle that each pixel of an image sees.

    corners [F, 3, 2]: pixel coordinates (x, y) of each triangle's corners, computed with in float64. orders [F, 3]:
    order at each corner. The module's head states the rules.
    """
    corners = corners.to(torch.float64)
    spans = _scan_triangles(corners, width, height)
    if orders is None:
        face_ids = _see_lowest_faces(spans, width, height)
    else:
        face_ids = _see_nearest_faces(spans, width, height, corners, orders.to(torch.float64))
    return TriangleRaster(face_ids.view(height, width), _weigh_corners(corners, face_ids, width).view(height, width, 3))


def correct_perspective(barycentrics: Tensor, depths: Tensor) -> Tensor:
    """Turn weights in the image plane into weights on the triangle in space. barycentrics, depths (Z > 0) [..., 3]."""
    weights = barycentrics / depths
    return weights / weights.sum(-1, keepdim=True)


def _cross(a: Tensor, b: Tensor) -> Tensor:
    """z of the cross product of vectors [..., 2]."""
    return a[..., 0] * b[..., 1] - a[..., 1] * b[..., 0]


def _double_areas(corners: Tensor) -> Tensor:
    """Twice the signed area of triangles [..., 3, 2]; its sign tells the winding."""
    return _cross(corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :])


def _scan_triangles(corners: Tensor, width: int, height: int) -> _Spans:
    """Intersect each triangle with each row of pixel centres. corners [F, 3, 2] float64."""
    longest = (corners - corners[:, [1, 2, 0]]).norm(dim=-1).amax(1)
    solid = torch.nonzero((_double_areas(corners).abs() > MIN_THICKNESS * longest) & longest.isfinite())[:, 0]
    y = corners[solid, :, 1]
    top = y.amin(1).ceil().clamp(0, height).long()
    bottom = y.amax(1).floor().clamp(-1, height - 1).long()
    faces, rows = _repeat_counting(solid, top, (bottom - top + 1).clamp_min(0))
    left, right = _bound_rows(corners[faces], rows.to(torch.float64))
    first = left.ceil().clamp(0, width).long()
    lengths = right.floor().clamp(-1, width - 1).long() - first + 1
    kept = lengths > 0
    return _Spans(faces[kept], rows[kept], first[kept], lengths[kept])


def _repeat_counting(items: Tensor, starts: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
    """Repeat each item counts times, beside start, start + 1, ... All [m] int64; returns two [sum of counts]."""
    ends = counts.cumsum(0)
    slots = torch.repeat_interleave(counts)
    offsets = torch.arange(len(slots)) - (ends - counts)[slots]
    return items[slots], starts[slots] + offsets


def _bound_rows(corners: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """The interval [left, right] that the row `y` [s] cuts out of each triangle [s, 3, 2]; left > right where none."""
    left = torch.full_like(y, torch.inf)
    right = torch.full_like(y, -torch.inf)
    for k in range(3):
        x = _cross_row(corners[:, k], corners[:, (k + 1) % 3], y)
        left, right = torch.fmin(left, x[0]), torch.fmax(right, x[1])
    return left, right


def _cross_row(a: Tensor, b: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Least and greatest x of the points that the edge a b [s, 2] has in common with the row `y` [s]; NaN where none.

    The ends are put into one order first, so that the edge b a gives the same numbers.
    """
    swap = (a[:, 1] > b[:, 1]) | ((a[:, 1] == b[:, 1]) & (a[:, 0] > b[:, 0]))
    low, high = torch.where(swap[:, None], b, a), torch.where(swap[:, None], a, b)
    rise = high[:, 1] - low[:, 1]
    x = low[:, 0] + (high[:, 0] - low[:, 0]) * (y - low[:, 1]) / rise
    x = torch.where(y == high[:, 1], high[:, 0], x)
    x = torch.where((low[:, 1] <= y) & (y <= high[:, 1]), x, torch.nan)
    flat = rise == 0
    on_flat = flat & (y == low[:, 1])
    least = torch.where(flat, torch.where(on_flat, low[:, 0], torch.nan), x)
    return least, torch.where(on_flat, high[:, 0], least)


def _chunk_spans(spans: _Spans) -> Iterator[slice]:
    """Cut the spans into runs of about MAX_CHUNK_PIXELS pixels."""
    chunks = torch.div(spans.lengths.cumsum(0), MAX_CHUNK_PIXELS, rounding_mode="floor")
    start = 0
    for size in torch.unique_consecutive(chunks, return_counts=True)[1].tolist():
        yield slice(start, start + size)
        start += size


def _see_lowest_faces(spans: _Spans, width: int, height: int) -> Tensor:
    """The lowest face that covers each pixel, [H W]."""
    faces = torch.full((height * width,), torch.iinfo(torch.int64).max)
    for run in _chunk_spans(spans):
        slots, columns = _expand(spans, run)
        faces.scatter_reduce_(0, spans.rows[slots] * width + columns, spans.faces[slots], "amin")
    return torch.where(faces == torch.iinfo(torch.int64).max, NO_FACE, faces)


def _expand(spans: _Spans, run: slice) -> tuple[Tensor, Tensor]:
    """The pixels of a run of spans: index of the span and column, each [p] int64."""
    items = torch.arange(run.start, run.stop)
    return _repeat_counting(items, spans.columns[run], spans.lengths[run])


def _see_nearest_faces(spans: _Spans, width: int, height: int, corners: Tensor, orders: Tensor) -> Tensor:
    """The face of least order at each pixel, of equal ones the lowest, [H W]."""
    nobody = torch.iinfo(torch.int64).max
    nearest = torch.full((height * width,), torch.inf, dtype=torch.float64)
    faces = torch.full((height * width,), nobody)
    at_first, slope = _order_spans(spans, corners, orders)
    low, high = orders.amin(1)[spans.faces], orders.amax(1)[spans.faces]
    for run in _chunk_spans(spans):
        slots, columns = _expand(spans, run)
        pixels = spans.rows[slots] * width + columns
        order = at_first[slots] + slope[slots] * (columns - spans.columns[slots])
        order = torch.minimum(torch.maximum(order, low[slots]), high[slots])
        nearer = nearest.scatter_reduce(0, pixels, order, "amin")
        faces[nearer < nearest] = nobody
        nearest = nearer
        winners = order == nearest[pixels]
        faces.scatter_reduce_(0, pixels[winners], spans.faces[slots[winners]], "amin")
    return torch.where(faces == nobody, NO_FACE, faces)


def _order_spans(spans: _Spans, corners: Tensor, orders: Tensor) -> tuple[Tensor, Tensor]:
    """Order at the first pixel of each span and its change from a pixel to the next, each [s]."""
    a, b, c = corners.unbind(1)
    area = _double_areas(corners)
    rise_b, rise_c = orders[:, 1] - orders[:, 0], orders[:, 2] - orders[:, 0]
    along_x = (rise_b * (c - a)[:, 1] - rise_c * (b - a)[:, 1]) / area
    along_y = (rise_c * (b - a)[:, 0] - rise_b * (c - a)[:, 0]) / area
    f = spans.faces
    at_first = orders[f, 0] + along_x[f] * (spans.columns - a[f, 0]) + along_y[f] * (spans.rows - a[f, 1])
    return at_first, along_x[f]


def _weigh_corners(corners: Tensor, face_ids: Tensor, width: int) -> Tensor:
    """Barycentric coordinates of each pixel's centre in its face, [H W, 3]; 0 where it has none."""
    pixels = torch.nonzero(face_ids >= 0)[:, 0]
    faces = face_ids[pixels]
    centres = torch.stack((pixels % width, torch.div(pixels, width, rounding_mode="floor")), -1).to(torch.float64)
    a, b, c = (corner[faces] - centres for corner in corners.unbind(1))
    area = _double_areas(corners)[faces]
    weights = [(_cross(p, q) / area).clamp_min(0) for p, q in ((b, c), (c, a), (a, b))]
    out = torch.zeros(len(face_ids), 3, dtype=torch.float64)
    out[pixels] = torch.stack(weights, -1) / (weights[0] + weights[1] + weights[2])[:, None]
    return out
