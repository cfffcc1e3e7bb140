"""The inside of the mouth: a patch that closes the hole behind the lips of a FLAME mesh and carries the teeth.

Words: the *mouth loop* is the boundary loop of the mesh that runs along the inner edge of the lips; its two ends in x
are the *corners*, and they cut it into an *upper* and a *lower chain*. The patch is a pocket: each half is a stack of
*rows* from the lips inwards (gum, biting edge, back of the teeth, palate or floor); the halves share the *back* row
and their ends.

The loop is found by what it must be: a closed boundary, wholly in front of the jaw joint, part of which follows the
jaw and part of which does not, the part that does lying lower. A neck's or an eye's opening fails one of these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from rgbavatar.errors import TemplateError
from rgbavatar.templates.base import JAW, NECK
from rgbavatar.templates.flame_data import NUM_SHAPE, FlameData, Floats, Ints

_JAW_SPREAD = 0.3  # the lower lip's jaw weight exceeds the upper's by more than this; in FLAME by nearly 1
_COLUMNS = 17  # of each row, corner to corner: about 3 mm apart in a mouth of 50 mm
# Height above the line between the lips, depth behind it and width of each row, in units of the mouth's width (about
# 50 mm): crowns of 8 mm, the upper ones 2 mm in front of the lower and over them by 1 mm; the pocket is 40 mm deep.
_UPPER_ROWS = ((0.15, 0.07, 0.96), (-0.06, 0.08, 0.95), (0.10, 0.17, 0.86), (0.14, 0.45, 0.74))
_LOWER_ROWS = ((-0.15, 0.11, 0.94), (-0.04, 0.12, 0.93), (-0.10, 0.21, 0.86), (-0.14, 0.45, 0.74))
_BACK_ROW = (0.0, 0.8, 0.5)
# How the patch's square of the UV map is shared among the strips between rows, from either lip (0) to the back row
# (1/2).
STRIP_ENDS = (0.0, 0.05, 0.25, 0.35, 0.43, 0.5)
_UV_CELLS = 128  # resolution of the search for an unused square
_SMALLEST_SQUARE = 4  # cells; a smaller patch would get a few texels only


@dataclass(frozen=True)
class UvSquare:
    """An axis-aligned square of the UV map: lower left corner (u, v) and side."""

    u: float
    v: float
    side: float


@dataclass(frozen=True)
class _Half:
    """One half of the pocket, from the lip to the back: vertex indices of each row, in the mouth loop's direction."""

    rows: list[Ints]
    fractions: list[Floats]  # arc length of each vertex along its row, 0 to 1
    heights: Floats  # of each row in the UV square, 0 to 1


def add_mouth_interior(data: FlameData, square: UvSquare | None = None) -> FlameData:
    """Append a mouth interior to a mesh: the upper half rigid with the head, the lower half with the jaw.

    New vertices follow the identity as the loop beside them does, and no expression: teeth do not stretch. They have
    no part in the joints. The patch's texture takes `square`, by default the largest unused one of the UV map.
    Raises TemplateError where the mesh has no mouth loop (a closed or absent mouth) or the UV map no room.
    """
    lower, upper = _mouth_chains(data)
    square = square or find_unused_square(data.uv, data.uv_faces)
    first = len(data.v_template)
    positions, source, weights = _pocket(data, lower, upper)
    halves = _halves(lower, upper, _arc(data, lower), _arc(data, upper), first)
    faces, uv, uv_faces = _triangles(halves, square, len(data.uv))
    shapedirs = np.zeros((len(positions), *data.shapedirs.shape[1:]))
    shapedirs[..., :NUM_SHAPE] = np.einsum("nv,vkd->nkd", source, data.shapedirs[np.r_[lower, upper], :, :NUM_SHAPE])
    return replace(
        data,
        v_template=np.concatenate((data.v_template, positions)),
        faces=np.concatenate((data.faces, faces)),
        shapedirs=np.concatenate((data.shapedirs, shapedirs)),
        posedirs=_append_zeros(data.posedirs, len(positions), 0),
        joint_regressor=_append_zeros(data.joint_regressor, len(positions), 1),
        weights=np.concatenate((data.weights, weights)),
        uv=np.concatenate((data.uv, uv)),
        uv_faces=np.concatenate((data.uv_faces, uv_faces)),
        eyelids=_append_zeros(data.eyelids, len(positions), 0),
    )


def find_unused_square(uv: Floats, uv_faces: Ints) -> UvSquare:
    """Largest square of the UV map that no triangle's bounding box meets. uv [Vt, 2]; uv_faces [F, 3]."""
    corners = uv[uv_faces] * _UV_CELLS
    low = np.floor(corners.min(1)).astype(np.int64).clip(0, _UV_CELLS - 1)
    high = np.floor(corners.max(1)).astype(np.int64).clip(0, _UV_CELLS - 1) + 1
    steps = np.zeros((_UV_CELLS + 1, _UV_CELLS + 1), np.int64)  # summed twice: boxes over each cell
    for u, v, sign in ((low, low, 1), (high, low, -1), (low, high, -1), (high, high, 1)):
        np.add.at(steps, (u[:, 0], v[:, 1]), sign)
    used = steps.cumsum(0).cumsum(1)[:-1, :-1] > 0
    area = np.pad(used.cumsum(0).cumsum(1), ((1, 0), (1, 0)))
    for side in range(_UV_CELLS, _SMALLEST_SQUARE - 1, -1):
        inside = area[side:, side:] - area[:-side, side:] - area[side:, :-side] + area[:-side, :-side]
        if not inside.all():
            u, v = np.argwhere(inside == 0)[0] / _UV_CELLS
            return UvSquare(float(u), float(v), side / _UV_CELLS)
    raise TemplateError("mouth interior: the UV map has no unused square to hold it; turn the mouth interior off")


def boundary_loops(faces: Ints) -> list[Ints]:
    """Closed boundaries of a mesh, each in the direction of the triangles that are missing. faces [F, 3]."""
    edges = np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]))
    present = set(map(tuple, edges.tolist()))
    following = {b: a for a, b in present if (b, a) not in present}
    loops = []
    while following:
        loop = list(following.popitem())
        while loop[-1] in following:
            loop.append(following.pop(loop[-1]))
        loops.append(np.array(loop[:-1]))
    return loops


def _mouth_chains(data: FlameData) -> tuple[Ints, Ints]:
    """Lower chain, from the right corner to the left, and upper chain, back again; both hold both corners."""
    loops = [loop for loop in boundary_loops(data.faces) if _is_mouth(data, loop)]
    if len(loops) != 1:
        raise TemplateError(
            f"mouth interior: found {len(loops)} boundary loops between the lips, expected 1 (before the jaw joint, "
            "its lower part moving with the jaw); turn the mouth interior off for this template"
        )
    x = data.v_template[loops[0], 0]
    loop = np.roll(loops[0], -int(x.argmin()))
    left = int(data.v_template[loop, 0].argmax())
    return loop[: left + 1], np.append(loop[left:], loop[0])


def _is_mouth(data: FlameData, loop: Ints) -> bool:
    """Whether a boundary loop runs along the lips; the criterion is in the module's head."""
    position, jaw = data.v_template[loop], data.weights[loop, JAW]
    joint = data.joint_regressor[JAW] @ data.v_template
    moves = jaw > (jaw.min() + jaw.max()) / 2
    if np.ptp(jaw) < _JAW_SPREAD or (position[:, 2] <= joint[2]).any():
        return False
    return bool(position[moves, 1].mean() < position[~moves, 1].mean())


def _arc(data: FlameData, chain: Ints) -> Floats:
    """Arc length along a chain, 0 at its start and 1 at its end."""
    steps = np.linalg.norm(np.diff(data.v_template[chain], axis=0), axis=1)
    return np.append(0.0, steps.cumsum() / steps.sum())


def _pocket(data: FlameData, lower: Ints, upper: Ints) -> tuple[Floats, Floats, Floats]:
    """The new vertices: rest positions [n, 3]; shares [n, L] of the chains' vertices (lower, then upper); skinning [n,
    5].

    Order: the lower rows, then the upper rows without their ends, then the back row; each from right to left.
    """
    s = np.linspace(0, 1, _COLUMNS)
    share = 0.5 * np.concatenate((_resample(_arc(data, lower), s), _resample(_arc(data, upper), s)[::-1]), 1)
    line = share @ data.v_template[np.r_[lower, upper]]  # halfway between the lips
    width = line[-1, 0] - line[0, 0]
    taper = 1 - (2 * s - 1) ** 4  # the halves meet at the corners
    rows = [_row(line, width, taper, offsets) for offsets in (*_LOWER_ROWS, *_UPPER_ROWS, _BACK_ROW)]
    ends, inner = len(_LOWER_ROWS), slice(1, -1)
    cut = [slice(None) if i < ends or i == len(rows) - 1 else inner for i in range(len(rows))]
    joints = [_one_hot(JAW)] * ends + [_one_hot(NECK)] * ends + [(_one_hot(JAW) + _one_hot(NECK)) / 2]
    weights = [np.tile(joint, (_COLUMNS, 1)) for joint in joints]
    for row in weights:
        row[0], row[-1] = data.weights[lower[0]], data.weights[lower[-1]]
    return (
        np.concatenate([row[part] for row, part in zip(rows, cut, strict=True)]),
        np.concatenate([share[part] for part in cut]),
        np.concatenate([row[part] for row, part in zip(weights, cut, strict=True)]),
    )


def _row(line: Floats, width: float, taper: Floats, offsets: tuple[float, float, float]) -> Floats:
    """One row of the pocket from the line between the lips [n, 3] and its height, depth and relative width."""
    height, depth, narrowing = offsets
    middle = (line[0, 0] + line[-1, 0]) / 2
    x = middle + narrowing * (line[:, 0] - middle)
    return np.stack((x, line[:, 1] + height * width * taper, line[:, 2] - depth * width), -1)


def _one_hot(joint: int) -> Floats:
    """Skinning weights of a vertex that one joint moves. [5]."""
    return np.eye(5)[joint]


def _resample(arc: Floats, s: Floats) -> Floats:
    """Linear interpolation along a chain as a matrix. arc [L] rising from 0 to 1; s [n] in [0, 1]. Returns [n, L]."""
    return np.stack([np.interp(s, arc, unit) for unit in np.eye(len(arc))], -1)


def _halves(lower: Ints, upper: Ints, lower_arc: Floats, upper_arc: Floats, first: int) -> tuple[_Half, _Half]:
    """Rows of vertex indices, in the order that `_pocket` lays the new vertices out, starting at index `first`."""
    count, inner = len(_LOWER_ROWS), _COLUMNS - 2
    below = first + np.arange(count * _COLUMNS).reshape(count, _COLUMNS)
    above = first + below.size + np.arange(count * inner).reshape(count, inner)
    above = np.concatenate((below[:, :1], above, below[:, -1:]), 1)  # ends are shared
    back = first + below.size + count * inner + np.arange(_COLUMNS)
    s = [np.linspace(0, 1, _COLUMNS)] * (count + 1)
    heights = np.array(STRIP_ENDS)
    return (
        _Half([lower, *below, back], [lower_arc, *s], heights),
        _Half([upper, *above[:, ::-1], back[::-1]], [upper_arc, *s], 1 - heights),
    )


def _triangles(halves: tuple[_Half, _Half], square: UvSquare, first_uv: int) -> tuple[Ints, Floats, Ints]:
    """Faces [F, 3] of the pocket, with their own UV vertices [n, 2] and UV faces [F, 3]."""
    faces: list[Ints] = []
    uv: list[Floats] = []
    uv_faces: list[Ints] = []
    for half, direction in zip(halves, (1, -1), strict=True):
        first = first_uv + sum(len(row) for row in uv)
        starts = first + np.cumsum([0, *map(len, half.rows)])
        for i, (outer, inner) in enumerate(zip(half.rows[:-1], half.rows[1:], strict=True)):
            strip = _stitch(half.fractions[i], half.fractions[i + 1])
            faces.append(np.concatenate((outer, inner))[strip])
            uv_faces.append(starts[i] + strip)
        for s, height in zip(half.fractions, half.heights, strict=True):
            across = s if direction > 0 else 1 - s
            uv.append(_place(square, across, np.full_like(s, height)))
    return np.concatenate(faces), np.concatenate(uv), np.concatenate(uv_faces)


def _place(square: UvSquare, across: Floats, up: Floats) -> Floats:
    """Points of the unit square in the UV map, a hundredth of the side away from the edge. [n] each. Returns [n, 2]."""
    inset = 0.01 + 0.98 * np.stack((across, up), -1)
    return np.array((square.u, square.v)) + square.side * inset


def _stitch(outer: Floats, inner: Floats) -> Ints:
    """Triangles between two rows of points, given their arc lengths. Returns indices into both rows, joined."""
    triangles, i, j = [], 0, 0
    while i < len(outer) - 1 or j < len(inner) - 1:
        ahead = j == len(inner) - 1 or (i < len(outer) - 1 and outer[i + 1] <= inner[j + 1])
        third = i + 1 if ahead else len(outer) + j + 1
        triangles.append((i, third, len(outer) + j))
        i, j = (i + 1, j) if ahead else (i, j + 1)
    return np.array(triangles)


def _append_zeros(array: Floats, count: int, axis: int) -> Floats:
    """Lengthen an axis by zeros."""
    widths = [(0, count if i == axis else 0) for i in range(array.ndim)]
    return np.pad(array, widths)
