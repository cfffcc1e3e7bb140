"""Which pixels a mesh covers, without asking which triangle: many meshes at once, fast enough to try hundreds of guesses.

Pixel coordinates: the centre of the pixel at (row, col) is the point (x, y) = (col, row). Each triangle cuts a run of pixels
out of each row; the runs are counted by their ends, so no pixel is touched twice however many triangles lie on it. In
float32: a centre within a thousandth of a pixel of an outline may fall on either side. The exact rasterizer, which knows the
triangles too, is rgbavatar.geometry.triangle_raster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class _Corners:
    """m triangles. x, y: pixel coordinates of the three corners, each [m] float32. mesh [m]: which mesh they are of."""

    x: tuple[Floats, ...]
    y: tuple[Floats, ...]
    mesh: Integers


def cover_pixels(points: Tensor, faces: Tensor, width: int, height: int) -> Tensor:
    """The pixels of an image that each of n meshes covers.

    points [n, V, 2]: pixel coordinates; a triangle with a corner that is not finite covers nothing. faces [F, 3] int64: of all
    meshes. Returns [n, H, W] bool, on the CPU.
    """
    n = len(points)
    corners = _reaching_corners(points.detach().cpu().numpy().astype(np.float32), faces.cpu().numpy(), width, height)
    rows, triangles = _rows_of(corners, height)
    first, last = _cut_rows(corners, triangles, rows.astype(np.float32), width)
    start = (corners.mesh[triangles] * height + rows) * (width + 1)
    kept = last >= first
    cells = n * height * (width + 1)
    begun = np.bincount((start + first)[kept], minlength=cells)
    ended = np.bincount((start + last + 1)[kept], minlength=cells)
    depth = (begun - ended).reshape(n, height, width + 1).cumsum(2)
    return torch.from_numpy(depth[..., :width] > 0)


def _reaching_corners(points: Floats, faces: Integers, width: int, height: int) -> _Corners:
    """The triangles whose box holds the centre of a pixel; most triangles of a head in a small picture hold none."""
    x, y = (tuple(points[..., axis][:, faces[:, corner]] for corner in range(3)) for axis in (0, 1))
    reaching = _holds_centre(x, width) & _holds_centre(y, height)
    mesh = np.nonzero(reaching)[0]
    return _Corners(tuple(c[reaching] for c in x), tuple(c[reaching] for c in y), mesh)


def _holds_centre(c: tuple[Floats, ...], size: int) -> NDArray[np.bool_]:
    """Whether a whole number from 0 to size - 1 lies between the least and the greatest of three coordinates."""
    low, high = np.minimum(np.minimum(c[0], c[1]), c[2]), np.maximum(np.maximum(c[0], c[1]), c[2])
    return (np.ceil(np.maximum(low, 0)) <= np.floor(np.minimum(high, size - 1))) & np.isfinite(low) & np.isfinite(high)


def _rows_of(corners: _Corners, height: int) -> tuple[Integers, Integers]:
    """Each row that each triangle reaches: row [s] and index of the triangle [s]."""
    y0, y1, y2 = corners.y
    top = np.ceil(np.maximum(np.minimum(np.minimum(y0, y1), y2), 0)).astype(np.int64)
    bottom = np.floor(np.minimum(np.maximum(np.maximum(y0, y1), y2), height - 1)).astype(np.int64)
    counts = bottom - top + 1
    triangles = np.repeat(np.arange(len(counts)), counts)
    begin = np.cumsum(counts) - counts
    return np.arange(len(triangles)) - begin[triangles] + top[triangles], triangles


def _cut_rows(corners: _Corners, triangles: Integers, row: Floats, width: int) -> tuple[Integers, Integers]:
    """First and last pixel [s] that a triangle covers in a row; last < first where none."""
    left = np.full(len(row), np.inf, np.float32)
    right = -left
    for a, b in ((0, 1), (1, 2), (2, 0)):
        xa, xb = corners.x[a][triangles], corners.x[b][triangles]
        ya, yb = corners.y[a][triangles], corners.y[b][triangles]
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            share = (row - ya) / (yb - ya)  # NaN or infinite along the row: the other two edges end there
            x = xa + (xb - xa) * share
        on_edge = (share >= 0) & (share <= 1)
        left = np.where(on_edge, np.minimum(left, x), left)
        right = np.where(on_edge, np.maximum(right, x), right)
    return (
        np.ceil(np.clip(left, 0, width)).astype(np.int64),
        np.floor(np.clip(right, -1, width - 1)).astype(np.int64),
    )
