"""A UV map in which no two parts of a mesh share a place: each texel holds one Gaussian, so of two parts one would have none.

Words: an *island* is a part of the mesh that is connected in the UV map and seen there from one side. A *layer* is a set of
islands that do not overlap, in a unit square. Artists lay one eyeball over the other, one half of a face, mirrored, over the
other half, or give each material a unit square of its own (UDIM); all become layers, whose squares are packed into one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rgbavatar.geometry.triangle_raster import rasterize_triangles

_CELLS = 128  # of a side, in which islands are compared
_TOUCHING = 0.03  # share of an island's cells that may be another's: islands that touch along an edge
_SMALLEST_SIDE = 0.2  # of a layer's square, over the largest's: small parts (eyes) are looked at closely
_SMALLEST_SHARE = 1e-3  # of the surface; an island below it (a flipped sliver) opens no layer
_GAP = 1 / 256  # between packed squares, in UV

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class UvLayers:
    """uv [Vt, 2] in [0, 1] and uv_faces [F, 3]; count: of the layers. hidden: share of the UV area that lies over another of its
    layer."""

    uv: Floats
    uv_faces: Ints
    count: int
    hidden: float


def separate_uv(uv: Floats, uv_faces: Ints, faces: Ints, areas: Floats) -> UvLayers:
    """Move islands so that they lie in [0, 1] and none over another; a map that is so already stays where it is.

    uv [Vt, 2]; uv_faces, faces [F, 3]: UV vertices and vertices of each triangle; areas [F]: of the triangles in space, which
    decide how large a layer's square becomes. `hidden` tells what could not be helped: islands that lie over themselves.
    """
    corners = uv[uv_faces]
    mirrored = np.repeat(_double_areas(corners) < 0, 3)
    keys = np.stack((uv_faces.ravel(), faces.ravel(), mirrored), 1)
    nodes, own_faces = np.unique(keys, axis=0, return_inverse=True)
    own_faces = own_faces.reshape(-1, 3)
    islands = find_islands(own_faces, len(nodes))
    of_face = islands[own_faces[:, 0]]
    placed = _into_unit_square(uv[nodes[:, 0]], islands)
    layers, masks = _stack(placed[own_faces], of_face, areas)
    drawn = np.abs(_double_areas(placed[own_faces])).sum() / 2 * _CELLS**2
    hidden = max(0.0, 1.0 - sum(int(mask.sum()) for mask in masks) / max(float(drawn), 1.0))
    if len(masks) > 1:
        sizes = np.bincount(layers[of_face], weights=areas)
        placed = _arrange(placed, layers[islands], np.sqrt(sizes / sizes.max()).clip(_SMALLEST_SIDE, 1))
    return UvLayers(placed.clip(0, 1), own_faces, len(masks), hidden)


def _double_areas(corners: Floats) -> Floats:
    """Twice the signed areas [f] of triangles [f, 3, 2]."""
    first, second = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    return first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]


def _arrange(uv: Floats, layers: Ints, sides: Floats) -> Floats:
    """Pack the layers' unit squares into one. uv [n, 2]; layers [n]: of each; sides: of the squares, relative."""
    corners, scale = pack_squares(sides)
    return corners[layers] + _GAP / 2 + uv.clip(0, 1) * ((sides * scale)[layers, None] - _GAP)


def find_islands(faces: Ints, count: int) -> Ints:
    """Number, from 0, of the connected part that each of `count` vertices is in; in the order of their first vertices."""
    label = np.arange(count)
    while True:
        low = label.copy()
        np.minimum.at(low, faces.ravel(), label[faces].min(1).repeat(3))
        low = low[low]
        if np.array_equal(low, label):
            return np.unique(label, return_inverse=True)[1].reshape(-1)
        label = low


def pack_squares(sides: Floats) -> tuple[Floats, float]:
    """Place squares in the unit square, in rows, the largest first. Returns lower left corners [n, 2] and what to scale by."""
    order = np.argsort(-sides, kind="stable")
    low, high = 0.0, 1.0 / float(sides.max())
    if _shelve(sides[order] * high) is None:
        for _ in range(40):
            middle = (low + high) / 2
            low, high = (middle, high) if _shelve(sides[order] * middle) is not None else (low, middle)
        high = low
    corners = np.empty((len(sides), 2))
    corners[order] = _shelve(sides[order] * high)
    return corners, high


def _shelve(sides: Sequence[float] | Floats) -> Floats | None:
    """Corners [n, 2] of squares set side by side in rows, or None where they need more than the unit square."""
    x = y = row = 0.0
    corners = []
    for side in sides:
        if x + side > 1.0 + 1e-12:
            x, y, row = 0.0, y + row, 0.0
        if y + side > 1.0 + 1e-12:
            return None
        corners.append((x, y))
        x, row = x + side, max(row, side)
    return np.array(corners)


def _into_unit_square(uv: Floats, islands: Ints) -> Floats:
    """Each island moved by whole numbers into [0, 1], or scaled into it where it is larger."""
    moved = np.empty_like(uv)
    for island in range(int(islands.max()) + 1):
        mine = islands == island
        low, high = uv[mine].min(0), uv[mine].max(0)
        tile = np.floor((low + high) / 2)
        if (low < tile - 1e-6).any() or (high > tile + 1 + 1e-6).any():
            moved[mine] = (uv[mine] - low) / max(float((high - low).max()), 1e-12)
        else:
            moved[mine] = uv[mine] - tile
    return moved


def _stack(corners: Floats, of_face: Ints, areas: Floats) -> tuple[Ints, list[Bools]]:
    """The layer of each island, and which cells each layer covers. corners [F, 3, 2].

    The largest islands come first; each joins the first layer where it lies over none.
    """
    sizes = np.bincount(of_face, weights=areas)
    layers, masks = np.zeros(len(sizes), np.int64), list[Bools]()
    for island in np.argsort(-sizes, kind="stable").tolist():
        mask = _draw(corners[of_face == island])
        layer = next((i for i, held in enumerate(masks) if (mask & held).sum() <= _TOUCHING * mask.sum()), len(masks))
        if layer == len(masks) and masks and sizes[island] < _SMALLEST_SHARE * sizes.sum():
            layer = 0
        if layer == len(masks):
            masks.append(np.zeros_like(mask))
        masks[layer] |= mask
        layers[island] = layer
    return layers, masks


def _draw(corners: Floats) -> Bools:
    """Which cells [T, T] the triangles [f, 3, 2] cover."""
    low = np.floor(corners.min((0, 1)) * _CELLS).clip(0, _CELLS - 1).astype(int)
    width, height = np.ceil(corners.max((0, 1)) * _CELLS).clip(low + 1, _CELLS).astype(int) - low
    raster = rasterize_triangles(torch.from_numpy(corners * _CELLS - low - 0.5), int(width), int(height))
    cells = np.zeros((_CELLS, _CELLS), bool)
    cells[low[1] : low[1] + height, low[0] : low[0] + width] = (raster.face_ids >= 0).numpy()
    return cells
