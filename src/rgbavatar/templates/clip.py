"""Cutting a mesh along a level: what lies below goes, triangles that cross it are cut, so that the border is clean.

A *corner* of the cut mesh lies on an old edge, at a share of the way from its first to its second end; one that was there before
has itself as both ends.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Corners:
    """Vertices, or UV vertices, of a cut mesh by what they were. ends [N, 2]; shares [N]."""

    ends: Ints
    shares: Floats

    def carry(self, values: Floats) -> Floats:
        """Positions, deltas or weights [M, ...] of the old vertices, as the new ones have them [N, ...]."""
        shares = self.shares.reshape(-1, *[1] * (values.ndim - 1))
        return (1 - shares) * values[self.ends[:, 0]] + shares * values[self.ends[:, 1]]


@dataclass(frozen=True)
class CutMesh:
    """What is left of a mesh. faces, uv_faces [F, 3] index `vertices` and `uv`; sources [F]: the triangle that each was in."""

    vertices: Corners
    uv: Corners
    faces: Ints
    uv_faces: Ints
    sources: Ints


def cut_below(heights: Floats, faces: Ints, uv_faces: Ints, slack: float) -> CutMesh:
    """Keep what has a height above 0. heights [V]; faces, uv_faces [F, 3]. Vertices nearer to 0 than `slack` count as on it: the
    border is not quite straight there, but free of slivers."""
    level = np.where(np.abs(heights) < slack, 0.0, heights)
    inside = (level[faces] >= 0).all(1) & (level[faces] > 0).any(1)
    crossed = (level[faces] > 0).any(1) & (level[faces] < 0).any(1)
    kept = np.flatnonzero(inside)
    corners = [np.stack((faces[kept], faces[kept], uv_faces[kept], uv_faces[kept]), -1)]
    sources = [kept]
    for face in np.flatnonzero(crossed).tolist():
        polygon = _clip(level, faces[face].tolist(), uv_faces[face].tolist())
        corners += [np.array([[polygon[0], polygon[i], polygon[i + 1]]]) for i in range(1, len(polygon) - 1)]
        sources += [np.array([face])] * (len(polygon) - 2)
    flat = np.concatenate(corners).reshape(-1, 4)
    drop = level[flat[:, 0]] - level[flat[:, 1]]
    shares = np.where(flat[:, 0] == flat[:, 1], 0.0, level[flat[:, 0]] / np.where(drop == 0, 1.0, drop))
    vertices, new_faces = _unite(flat[:, :2], shares)
    uv, new_uv_faces = _unite(flat[:, 2:], shares)
    return CutMesh(vertices, uv, new_faces.reshape(-1, 3), new_uv_faces.reshape(-1, 3), np.concatenate(sources))


def _clip(level: Floats, face: list[int], uv_face: list[int]) -> list[list[int]]:
    """Corners of the part of a triangle above 0, in its order: vertices at both ends, then UV vertices at both ends.

    The vertex of the lower number comes first, so that two triangles name their common edge alike.
    """
    polygon = []
    for i in range(3):
        here, there = i, (i + 1) % 3
        if level[face[here]] >= 0:
            polygon.append([face[here], face[here], uv_face[here], uv_face[here]])
        if level[face[here]] * level[face[there]] < 0:
            first, second = (here, there) if face[here] < face[there] else (there, here)
            polygon.append([face[first], face[second], uv_face[first], uv_face[second]])
    return polygon


def _unite(ends: Ints, shares: Floats) -> tuple[Corners, Ints]:
    """Corners that are named alike become one. Returns these, and the number of each that came in."""
    unique, first, numbers = np.unique(ends, axis=0, return_index=True, return_inverse=True)
    return Corners(unique, shares[first]), numbers.reshape(-1)
