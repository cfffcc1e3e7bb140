"""Flattening: a UV map of a surface that is cut open, without folds, which gives each place the room that it is wanted to have.

Words: a *loop* is a border of the surface as a closed walk over vertices, the surface to its left; the *outer* loop is laid along
the border of a rectangle, counter-clockwise, so the map fills it. Inside, each vertex is a weighted mean of its neighbours in the
map. With positive weights and a convex border no triangle turns over, whatever the weights are (Tutte 1963, Floater 1997); holes
of the surface are closed by a point in their middle. The weights begin as mean-value coordinates, which keep angles well (Floater
2003). The *stretch* of a vertex is how many metres a unit of the map has there; weights towards vertices of a large stretch are
lowered, so that these get more room, again and again (Yoshizawa, Belyaev, Seidel 2004).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError

ROUNDS = 6  # more of them even out the ears at the cost of the rest
_STEP = 0.5  # exponent with which a round follows the stretch: 1 overshoots
_TINY = 1e-12  # against division by 0

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def flatten(points: Floats, faces: Ints, pins: Sequence[tuple[int, float]], wanted: Floats, height: float) -> Floats:
    """Map a disc, with or without holes, to the rectangle [0, 1] x [0, height].

    points [V, 3]; faces [F, 3]. pins: vertices of the outer loop in its order, and how far from the lower left corner each comes
    to lie along the rectangle's border, counter-clockwise; between them the loop is laid by its length. wanted [V]: relative
    length that a metre gets at each vertex. Returns [V, 2]; all triangles have a positive area. Raises TemplateError where the
    pins lie on no common loop.
    """
    loops = find_loops(faces)
    outer = next((loop for loop in loops if np.isin([vertex for vertex, _ in pins], loop).all()), None)
    if outer is None:
        raise TemplateError(
            f"flattening: found {len(loops)} borders of the surface, none with all pinned vertices on it"
        )
    points, faces = _close_holes(points, faces, [loop for loop in loops if loop is not outer])
    density = np.concatenate((wanted, np.ones(len(points) - len(wanted))))
    rows, columns, weights = _mean_value_weights(points, faces)
    loop = np.roll(outer, -int(np.flatnonzero(outer == pins[0][0])[0]))
    border = _lay_along_rectangle(points[loop], loop, pins, height)
    uv = _settle(len(points), (rows, columns, weights), loop, border)
    for _ in range(ROUNDS - 1):
        weights = weights / measure_stretch(points, uv, faces, density)[columns] ** _STEP
        uv = _settle(len(points), (rows, columns, weights), loop, border)
    return uv[: len(wanted)]


def find_loops(faces: Ints) -> list[Ints]:
    """The loops of a surface, longest first. Raises TemplateError where a border meets itself."""
    edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    both_ways = set(map(tuple, edges.tolist()))
    following = {a: b for a, b in both_ways if (b, a) not in both_ways}
    loops = []
    while following:
        walk = [next(iter(following))]
        while (step := following.pop(walk[-1], None)) is not None:
            walk.append(step)
        if walk[-1] != walk[0]:
            raise TemplateError(
                f"flattening: found a border that meets itself at vertex {walk[-1]}, expected closed walks"
            )
        loops.append(np.array(walk[:-1]))
    return sorted(loops, key=len, reverse=True)


def _close_holes(points: Floats, faces: Ints, holes: Sequence[Ints]) -> tuple[Floats, Ints]:
    """A vertex in the middle of each hole, and triangles from it to the hole's loop."""
    for hole in holes:
        middle = np.full(len(hole), len(points))
        points = np.concatenate((points, points[hole].mean(0, keepdims=True)))
        faces = np.concatenate((faces, np.stack((np.roll(hole, -1), hole, middle), 1)))
    return points, faces


def _mean_value_weights(points: Floats, faces: Ints) -> tuple[Ints, Ints, Floats]:
    """Vertices, their neighbours and the weights, which are (tan(a / 2) + tan(b / 2)) / length, a and b the angles at the edge.

    Each edge comes twice from either end, once for each of the angles.
    """
    rows, columns, weights = [], [], []
    for i in range(3):
        at, one, two = faces[:, i], faces[:, (i + 1) % 3], faces[:, (i + 2) % 3]
        first, second = points[one] - points[at], points[two] - points[at]
        lengths = np.linalg.norm(first, axis=1), np.linalg.norm(second, axis=1)
        cosine = (first * second).sum(1) / np.maximum(lengths[0] * lengths[1], _TINY)
        half_tangent = np.sqrt((1 - cosine).clip(_TINY) / (1 + cosine).clip(_TINY))
        for other, length in zip((one, two), lengths, strict=True):
            rows.append(at)
            columns.append(other)
            weights.append(half_tangent / np.maximum(length, _TINY))
    return np.concatenate(rows), np.concatenate(columns), np.concatenate(weights)


def _lay_along_rectangle(points: Floats, loop: Ints, pins: Sequence[tuple[int, float]], height: float) -> Floats:
    """Places [n, 2] of the loop's vertices, whose first is the first pin, on the border of [0, 1] x [0, height]."""
    steps = np.linalg.norm(np.roll(points, -1, axis=0) - points, axis=1)
    along = np.concatenate(([0.0], np.cumsum(steps)))
    known = [float(along[np.flatnonzero(loop == vertex)[0]]) for vertex, _ in pins]
    around = 2 + 2 * height
    places = [place for _, place in pins]
    distance = np.interp(along[:-1], [*known, float(along[-1])], [*places, places[0] + around]) % around
    corners = np.array(((0, 0), (1, 0), (1, height), (0, height), (0, 0)), float)
    turns = np.array((0, 1, 1 + height, 2 + height, around))
    return np.stack([np.interp(distance, turns, corners[:, axis]) for axis in (0, 1)], 1)


def _settle(count: int, edges: tuple[Ints, Ints, Floats], loop: Ints, border: Floats) -> Floats:
    """Each vertex where the weighted mean of its neighbours is, the loop where the border is. Returns [count, 2]."""
    rows, columns, weights = edges
    matrix = np.zeros((count, count))
    np.add.at(matrix, (rows, columns), weights)
    matrix /= -matrix.sum(1, keepdims=True)
    matrix[np.arange(count), np.arange(count)] = 1.0
    uv = np.zeros((count, 2))
    uv[loop] = border
    inner = np.setdiff1d(np.arange(count), loop)
    uv[inner] = np.linalg.solve(matrix[np.ix_(inner, inner)], -matrix[np.ix_(inner, loop)] @ border)
    return uv


def measure_stretch(points: Floats, uv: Floats, faces: Ints, density: Floats) -> Floats:
    """The stretch of each vertex, times its density, over the root mean square of all [V].

    The stretch of a triangle is the root mean square of the singular values of the map from UV to space; a vertex has that of its
    triangles, weighted by area (Sander, Snyder, Gortler, Hoppe 2001).
    """
    a, b, c = (points[faces[:, i]] for i in range(3))
    p, q, r = (uv[faces[:, i]] for i in range(3))
    double = np.maximum((q - p)[:, 0] * (r - p)[:, 1] - (r - p)[:, 0] * (q - p)[:, 1], _TINY)[:, None]
    along_u = (a * (q - r)[:, 1:] + b * (r - p)[:, 1:] + c * (p - q)[:, 1:]) / double
    along_v = (a * (r - q)[:, :1] + b * (p - r)[:, :1] + c * (q - p)[:, :1]) / double
    square = ((along_u**2).sum(1) + (along_v**2).sum(1)) / 2 * density[faces].mean(1) ** 2
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1)
    shares, sums = (
        np.bincount(faces.ravel(), weights=np.repeat(x, 3), minlength=len(points)) for x in (area, square * area)
    )
    return np.sqrt(sums / np.maximum(shares, _TINY) / ((square * area).sum() / area.sum()))
