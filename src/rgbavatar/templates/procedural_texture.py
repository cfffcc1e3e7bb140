"""The made-up head's colours, painted over its UV map from where each texel lies on the head.

Words: T texels on a side; texel (row, col) has its centre at u = (col + .5) / T, v = (row + .5) / T; row 0 is lowest.
A *layer* is a colour and how much of it covers each texel. Positions are of the average head at rest, metres. Detail
is as fine as the texture: pores, freckles, hairs, stubble, the iris's fibres, the gaps between teeth.
"""

from __future__ import annotations

import numpy as np
import torch

from rgbavatar.geometry.triangle_raster import rasterize_triangles
from rgbavatar.templates.flame_data import FlameData, Floats, Ints
from rgbavatar.templates.mouth import STRIP_ENDS, UvSquare
from rgbavatar.templates.procedural_surface import EYE_CENTER, smoothstep

SKIN_FLOOR = 0.15  # v above which the skin's chart begins
EYE_SQUARES = (UvSquare(0.16, 0.005, 0.14), UvSquare(0.01, 0.005, 0.14))  # the left eye's lies to the right
MOUTH_SQUARE = UvSquare(0.31, 0.005, 0.14)
EYE_SPAN = np.radians(115.0)  # an eyeball's chart reaches so far from the pupil; the rest is never seen

_SKIN, _RED, _FRECKLE = np.array((0.80, 0.61, 0.51)), np.array((0.78, 0.42, 0.36)), np.array((0.52, 0.32, 0.22))
_LIP, _HAIR, _STUBBLE = np.array((0.70, 0.39, 0.36)), np.array((0.17, 0.11, 0.075)), np.array((0.36, 0.28, 0.25))
_GUM, _TOOTH, _THROAT = np.array((0.62, 0.27, 0.27)), np.array((0.92, 0.89, 0.82)), np.array((0.28, 0.07, 0.07))
_WHITE, _IRIS, _PUPIL = np.array((0.93, 0.92, 0.90)), np.array((0.26, 0.42, 0.50)), np.array((0.02, 0.02, 0.02))
_IRIS_EDGE, _PUPIL_EDGE = np.radians(25.0), np.radians(10.0)  # as seen from the eyeball's centre
_TEETH = 10  # in a row, corner to corner
_SEED = 20250612


def paint_texture(data: FlameData, size: int) -> Floats:
    """Albedo of the made-up head `data`. Returns [T, T, 3] in [0, 1]; texels of no triangle fit their neighbours."""
    generator = np.random.default_rng(_SEED)
    axis = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(axis, axis)
    point, bare = _texel_positions(data, size)
    color = _paint_skin(point, u, v, generator)
    for square, paint in ((EYE_SQUARES[0], _paint_eye), (EYE_SQUARES[1], _paint_eye), (MOUTH_SQUARE, _paint_mouth)):
        a, b = (u - square.u) / square.side, (v - square.v) / square.side
        inside = (np.abs(a - 0.5) < 0.5) & (np.abs(b - 0.5) < 0.5)
        color[inside] = paint(a[inside], b[inside], generator)
    color[bare & (v > SKIN_FLOOR)] = _GUM  # between the edges of a slit
    color[bare & (v > 0.9)] = _HAIR  # between the crown's triangles
    return color.clip(0, 1)


def _texel_positions(data: FlameData, size: int) -> tuple[Floats, np.ndarray]:
    """Rest position of each texel [T, T, 3], 0 where no triangle covers it, and where that is [T, T]."""
    corners = torch.from_numpy(data.uv[data.uv_faces]) * size - 0.5
    raster = rasterize_triangles(corners, size, size)
    faces, weights = raster.face_ids.numpy(), raster.barycentrics.numpy()
    points = np.einsum("hwk,hwkc->hwc", weights, data.v_template[data.faces[faces.clip(0)]])
    return points, faces < 0


def _paint_skin(point: Floats, u: Floats, v: Floats, generator: np.random.Generator) -> Floats:
    """Skin, lips, brows, lashes, stubble and hair by position. point [T, T, 3]; u, v [T, T]. Returns [T, T, 3]."""
    x, y, z = np.abs(point[..., 0]), point[..., 1], point[..., 2]
    front = smoothstep(z, 0.0, 0.03)
    color = _SKIN * (1 + 0.10 * _noise(u, v, (9, 9), generator) + 0.10 * _noise(u, v, (300, 300), generator))[..., None]
    flush = _spot(x, y, 0.045, -0.012, 0.020) + _spot(x, y, 0.0, -0.016, 0.014) + 0.6 * _spot(x, y, 0.0, -0.09, 0.02)
    color = _cover(color, _RED, 0.55 * front * flush.clip(0, 1))
    freckled = front * (_spot(x, y, 0.035, -0.004, 0.026) + _spot(x, y, 0.0, 0.0, 0.020)).clip(0, 1)
    color = _cover(color, _FRECKLE, 0.75 * _dots(u, v, 110, 0.34, generator) * freckled)
    beard = front * smoothstep(-y, 0.036, 0.050) * (1 - smoothstep(-y, 0.100, 0.118)) * smoothstep(z, 0.02, 0.05)
    color = _cover(color, _STUBBLE, beard * (0.22 + 0.60 * _dots(u, v, 230, 0.42, generator)))
    color = _cover(color, _LIP * (1 + 0.35 * _noise(u, v, (420, 30), generator))[..., None], front * _lips(x, y))
    color = _cover(color, _PUPIL, 0.85 * front * _spot(x, y, 0.0062, -0.0285, 0.0034))  # nostrils
    color = _cover(
        color, _RED, 0.8 * front * _spot(x, y, EYE_CENTER[0] - 0.0125, EYE_CENTER[1], 0.0035)
    )  # eyes' corners
    strands = 0.75 + 0.45 * _noise(u, v, (330, 45), generator)
    hairs = _HAIR * (1 + 0.7 * _noise(u, v, (400, 28), generator))[..., None]
    return _cover(
        color, hairs, (front * (_brows(x, y) + _lashes(x, y))).clip(0, 1) * strands.clip(0, 1) + _hair_cap(point)
    )


def _cover(below: Floats, color: Floats, share: Floats) -> Floats:
    """Lay a layer over a picture. below [..., 3]; color [3] or [..., 3]; share [...], clipped to [0, 1]."""
    share = share.clip(0, 1)[..., None]
    return below * (1 - share) + color * share


def _spot(x: Floats, y: Floats, center_x: float, center_y: float, radius: float) -> Floats:
    """A soft round spot, 1 in the middle."""
    return np.exp(-((x - center_x) ** 2 + (y - center_y) ** 2) / radius**2)


def _lips(x: Floats, y: Floats) -> Floats:
    """Cover of the lips' red: two arcs that meet at the corners, the upper one bowed."""
    lens = np.sqrt((1 - (x / 0.026) ** 2).clip(0))
    top = -0.0500 + lens * (0.0088 - 0.0020 * np.exp(-((x / 0.004) ** 2)))
    bottom = -0.0500 - 0.0112 * lens
    return smoothstep(top - y, -0.0005, 0.0010) * smoothstep(y - bottom, -0.0005, 0.0012) * (lens > 0)


def _brows(x: Floats, y: Floats) -> Floats:
    """Cover of the eyebrows: an arched band, thinner outwards."""
    along = ((x - 0.013) / 0.034).clip(0, 1)
    middle = 0.0425 + 0.0060 * np.sin(2.2 * along)
    thickness = 0.0046 - 0.0026 * along
    ends = smoothstep(x, 0.011, 0.015) * (1 - smoothstep(x, 0.043, 0.049))
    return ends * (1 - smoothstep(np.abs(y - middle), 0.5 * thickness, thickness))


def _lashes(x: Floats, y: Floats) -> Floats:
    """Cover of the lashes: a line along the upper lid's edge, fainter along the lower."""
    lens = (1 - ((x - EYE_CENTER[0]) / 0.0126) ** 2).clip(0) ** 0.7
    upper = np.abs(y - EYE_CENTER[1] - 0.0054 * lens)
    lower = np.abs(y - EYE_CENTER[1] + 0.0042 * lens)
    return (lens > 0) * (0.9 * (1 - smoothstep(upper, 0.0003, 0.0014)) + 0.35 * (1 - smoothstep(lower, 0.0002, 0.0008)))


def _hair_cap(point: Floats) -> Floats:
    """Cover of the hair: above a line that runs from the forehead over the ears to the nape."""
    x, y, z = np.abs(point[..., 0]), point[..., 1], point[..., 2]
    line = np.interp(
        z, (-0.10, -0.05, -0.03, 0.01, 0.03, 0.06, 0.09), (-0.055, -0.045, 0.048, 0.038, 0.070, 0.086, 0.088)
    )
    line = line - 0.0015 * np.cos(900 * x) * smoothstep(z, 0.03, 0.06)
    return smoothstep(y - line, -0.003, 0.004)


def _paint_eye(a: Floats, b: Floats, generator: np.random.Generator) -> Floats:
    """White, veins, iris and pupil over the disc in the unit square. a, b [n]. Returns [n, 3]."""
    polar = np.hypot(a - 0.5, b - 0.5) / 0.49 * EYE_SPAN
    turn = np.arctan2(b - 0.5, a - 0.5) / (2 * np.pi) + 0.5
    veins = smoothstep(_noise(turn, polar, (60, 6), generator), 0.35, 0.8) * smoothstep(polar, 0.5, 1.2)
    color = _cover(_WHITE * np.ones((*a.shape, 1)), _RED, 0.6 * veins)
    fibres = 1 + 0.55 * _noise(turn, polar, (90, 4), generator)
    ring = smoothstep(polar, 0.78 * _IRIS_EDGE, _IRIS_EDGE)
    color = _cover(
        color,
        _IRIS * (fibres * (1 - 0.75 * ring))[:, None],
        1 - smoothstep(polar, 0.97 * _IRIS_EDGE, 1.06 * _IRIS_EDGE),
    )
    color = _cover(color, _PUPIL, 1 - smoothstep(polar, 0.93 * _PUPIL_EDGE, 1.07 * _PUPIL_EDGE))
    glint = np.exp(-((a - 0.545) ** 2 + (b - 0.555) ** 2) / 0.013**2)
    return _cover(color, np.ones(3), glint)


def _paint_mouth(a: Floats, b: Floats, generator: np.random.Generator) -> Floats:
    """Gums, two rows of teeth, and the throat over the mouth interior's unit square. a, b [n]. Returns [n, 3]."""
    depth = 0.5 - np.abs(b - 0.5)
    lip, gum, crown, tongue = STRIP_ENDS[1:5]
    color = _cover(
        _GUM * (1 + 0.2 * _noise(a, b, (40, 60), generator))[:, None], _THROAT, smoothstep(depth, crown, tongue)
    )
    phase = _TEETH * a - np.floor(_TEETH * a)
    gap = np.minimum(phase, 1 - phase)
    root = lip + 0.035 + 0.03 * (2 * gap - 1) ** 2
    tooth = smoothstep(depth - root, 0.0, 0.012) * (1 - smoothstep(depth, crown - 0.03, crown))
    shade = (0.55 + 0.45 * smoothstep(gap, 0.0, 0.10)) * (1 - 0.25 * smoothstep(np.abs(a - 0.5), 0.2, 0.5))
    return _cover(color, _TOOTH * shade[:, None] * (1 - 0.3 * smoothstep(depth, gum, crown))[:, None], tooth)


def _noise(u: Floats, v: Floats, cells: tuple[int, int], generator: np.random.Generator) -> Floats:
    """Smooth noise in [-1, 1] with so many cells along u and v; it repeats along u, so that seams do not show."""
    grid = generator.uniform(-1, 1, (cells[1] + 2, cells[0]))
    a, b = u * cells[0], v.clip(0, 1.99) * cells[1] / max(1.0, float(v.max()))
    i, j = np.floor(a).astype(np.int64), np.floor(b).astype(np.int64)
    s, t = smoothstep(a - i, 0, 1), smoothstep(b - j, 0, 1)
    left, right = i % cells[0], (i + 1) % cells[0]
    low = grid[j, left] * (1 - s) + grid[j, right] * s
    high = grid[j + 1, left] * (1 - s) + grid[j + 1, right] * s
    return low * (1 - t) + high * t


def _dots(u: Floats, v: Floats, cells: int, radius: float, generator: np.random.Generator) -> Floats:
    """Cover of scattered dots, one in each of cells² cells, of random place, size, strength; radius in cells."""
    center = generator.uniform(0.25, 0.75, (cells + 2, cells + 2, 2))
    size = radius * generator.uniform(0.3, 1.0, (cells + 2, cells + 2))
    strength = generator.uniform(0.0, 1.0, (cells + 2, cells + 2)) ** 2
    i, j = _cell_of(u, cells), _cell_of(v, cells)
    distance = np.hypot(u * cells - i - center[j, i, 0], v * cells - j - center[j, i, 1])
    return strength[j, i] * (1 - smoothstep(distance / size[j, i], 0.5, 1.0))


def _cell_of(x: Floats, cells: int) -> Ints:
    """Index of the cell that holds each x in [0, 1]."""
    return np.floor(x * cells).astype(np.int64)
