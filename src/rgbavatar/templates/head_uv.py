"""The UV map of the free head: the skin above, two fifths of it the face; eyeballs, mouth, teeth and tongue in a strip below.

The artist's map gives the head a quarter of a body's, and the back of the head most of that. So the skin is flattened anew: cut
from the crown down the back of the neck, its lower border along the rectangle's bottom, the crown in the middle of the top. The
other parts keep the islands that they have in the artist's map, each scaled into a *cell* of the strip.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError
from rgbavatar.templates.flatten import find_loops, flatten

SKIN = "skin"
STRIP = 0.17  # height of the strip
_GAP = 0.004  # between what is drawn and the edges of its cell: a texel of 256
_MIDDLE = 1e-6  # metres: farthest from the plane of symmetry of vertices in it
_MORE = 1.8  # length in the map of a metre in the face, over one elsewhere
_FACE = (0.06, 0.12)  # metres from the middle of the face, up to which it gets that, and beyond which nothing more
# Cells of the strip: left, low, width, height. Eyes and teeth are looked at closely; sockets and backs of eyeballs are hidden.
CELLS: Mapping[str, tuple[float, float, float, float]] = {
    "left_eye": (0.0, 0.0, 0.17, 0.17),
    "right_eye": (0.17, 0.0, 0.17, 0.17),
    "upper_teeth": (0.34, 0.085, 0.25, 0.085),
    "lower_teeth": (0.34, 0.0, 0.25, 0.085),
    "mouth": (0.59, 0.0, 0.20, 0.17),
    "tongue": (0.79, 0.0, 0.07, 0.17),
    "left_socket": (0.86, 0.085, 0.08, 0.085),
    "right_socket": (0.86, 0.0, 0.08, 0.085),
    "left_eye_back": (0.94, 0.085, 0.06, 0.085),
    "right_eye_back": (0.94, 0.0, 0.06, 0.085),
}

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class HeadSurface:
    """points [V, 3] metres; sides [V]: how far left of the plane of symmetry each is; faces [F, 3]; parts: the triangles of the
    skin and of each of CELLS; focus [3]: the middle of the face."""

    points: Floats
    sides: Floats
    faces: Ints
    parts: Mapping[str, Ints]
    focus: Floats


def lay_out(head: HeadSurface, artist_uv: Floats, artist_faces: Ints) -> tuple[Floats, Ints]:
    """A UV map [Vt, 2] and its faces [F, 3]; artist_uv [N, 2] and artist_faces [F, 3]: the map that there was. Raises
    TemplateError where the skin is not as the module's head says."""
    sheets, uv_faces = list[Floats](), np.zeros_like(head.faces)
    for name, mine in head.parts.items():
        if name == SKIN:
            sheet, corners = _flatten_skin(head, head.faces[mine])
        else:
            used, corners = np.unique(artist_faces[mine], return_inverse=True)
            sheet = _fit_into(artist_uv[used], CELLS[name])
        uv_faces[mine] = corners.reshape(-1, 3) + sum(map(len, sheets))
        sheets.append(sheet)
    return np.concatenate(sheets), uv_faces


def _fit_into(uv: Floats, cell: tuple[float, float, float, float]) -> Floats:
    """An island moved into the middle of a cell and scaled to fill it, its aspect kept."""
    corner, size = np.array(cell[:2]), np.array(cell[2:])
    low, span = uv.min(0), np.ptp(uv, axis=0)
    scale = ((size - 2 * _GAP) / span).min()
    return corner + size / 2 + (uv - low - span / 2) * scale


def _flatten_skin(head: HeadSurface, faces: Ints) -> tuple[Floats, Ints]:
    """Cut and flatten the skin. Returns places in the UV square [N, 2] and faces [F, 3] over these."""
    used, local = np.unique(faces, return_inverse=True)
    vertices, open_faces, (left, right, crown) = _cut_open(head.points[used], head.sides[used], local.reshape(-1, 3))
    points = head.points[used][vertices]
    height = 1 - STRIP - _GAP
    pins = ((left, 0.0), (right, 1.0), (crown, 1.5 + height))
    uv = flatten(points, open_faces, pins, _wanted_density(points, head.focus), height)
    return uv + np.array((0.0, STRIP + _GAP)), open_faces


def _cut_open(points: Floats, sides: Floats, faces: Ints) -> tuple[Ints, Ints, tuple[int, int, int]]:
    """Cut the skin from the lower border up its back to the crown.

    Returns which vertex each of the open surface was [N], its faces, and of these vertices the lower end of the cut on the
    head's right (left in the map), on its left, and the crown.
    """
    walk = _walk_up_the_back(points, sides, faces)
    copies = np.arange(len(points))
    copies[walk[:-1]] = len(points) + np.arange(len(walk) - 1)
    on_right = sides[faces].mean(1) < 0
    open_faces = np.where(on_right[:, None], copies[faces], faces)
    return np.concatenate((np.arange(len(points)), walk[:-1])), open_faces, (int(copies[walk[0]]), walk[0], walk[-1])


def _walk_up_the_back(points: Floats, sides: Floats, faces: Ints) -> list[int]:
    """Vertices in the plane of symmetry from the border up to the highest one."""
    middle = np.abs(sides) < _MIDDLE
    border = min(find_loops(faces), key=lambda loop: float(points[loop, 1].mean()))
    edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    edges = edges[middle[edges].all(1)]
    crown = int(np.flatnonzero(middle)[points[middle, 1].argmax()])
    ends = [vertex for vertex in border.tolist() if middle[vertex]]
    if not ends:
        raise TemplateError(
            "flattening: found no vertex of the skin's lower border in the plane of symmetry, expected two"
        )
    walk = [min(ends, key=lambda vertex: float(points[vertex, 2]))]
    while walk[-1] != crown:
        steps = set(edges[(edges == walk[-1]).any(1)].ravel().tolist()) - set(walk)
        if len(steps) != 1:
            raise TemplateError(
                f"flattening: found {len(steps)} ways up the back of the head at vertex {walk[-1]}, expected one"
            )
        walk.append(steps.pop())
    return walk


def _wanted_density(points: Floats, focus: Floats) -> Floats:
    """Relative length in the map of a metre at points [n, 3]."""
    distance = np.linalg.norm(points - focus, axis=1)
    near = 1 - ((distance - _FACE[0]) / (_FACE[1] - _FACE[0])).clip(0, 1)
    return 1 + (_MORE - 1) * near * near * (3 - 2 * near)
