"""The skin of a made-up head: a grid bent around a skull, sculpted by bumps, and slit for the mouth and the eyes.

Words: the *azimuth* runs around the head, 0 at the nose, positive to the head's left (+x); the *height* t runs from the
neck's edge (0) to the crown (1). A *slit* is a run of one grid row, cut open: its *edges* are an upper and a lower
copy of the row, each with an *inner* row behind it; at its two ends, the corners, they are one. Metres; x left, y up,
z out of the face, origin between the ears. All numbers in the tables are our own sketch of an adult head, 0.22 m from
chin to crown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from rgbavatar.templates.flame_data import Floats, Ints

EYE_CENTER = np.array((0.0315, 0.0220, 0.0655))  # the left one; the right one is its mirror image
EYE_RADIUS = 0.0135
_LID_RADIUS = 0.0149  # lids slide on this sphere
MOUTH_HEIGHT = -0.0500  # y of the line between the lips, at the middle

# Sections, neck to crown: front (y, z); side (x, y, z); back (y, z); exponent of the superellipse in front.
_SECTIONS = np.array(
    (
        (-0.178, 0.042, 0.061, -0.178, -0.014, -0.172, -0.080, 2.0),  # lower edge of the neck
        (-0.146, 0.036, 0.0535, -0.142, -0.016, -0.126, -0.073, 2.0),
        (-0.119, 0.036, 0.0515, -0.110, -0.013, -0.088, -0.068, 2.0),  # throat
        (-0.108, 0.056, 0.0525, -0.088, -0.007, -0.066, -0.070, 1.9),
        (-0.101, 0.078, 0.0555, -0.072, -0.003, -0.048, -0.077, 1.8),  # under the chin
        (-0.086, 0.089, 0.0595, -0.059, 0.000, -0.032, -0.086, 1.85),  # chin
        (-0.068, 0.084, 0.0630, -0.046, 0.000, -0.018, -0.094, 1.95),
        (MOUTH_HEIGHT, 0.0865, 0.0665, -0.034, 0.000, -0.005, -0.100, 2.05),
        (-0.028, 0.087, 0.0685, -0.018, 0.000, 0.010, -0.104, 2.1),  # base of the nose
        (0.000, 0.0865, 0.0705, 0.003, -0.002, 0.028, -0.106, 2.15),
        (0.022, 0.0865, 0.0725, 0.022, -0.004, 0.045, -0.106, 2.2),  # eyes
        (0.043, 0.0915, 0.0745, 0.042, -0.006, 0.062, -0.104, 2.25),  # brows
        (0.070, 0.0895, 0.0765, 0.066, -0.008, 0.082, -0.097, 2.2),
        (0.096, 0.0760, 0.0710, 0.092, -0.010, 0.102, -0.081, 2.1),
        (0.1145, 0.0530, 0.0570, 0.1125, -0.012, 0.117, -0.059, 2.0),
        (0.1255, 0.0250, 0.0330, 0.1255, -0.013, 0.127, -0.036, 2.0),
        (0.1305, -0.013, 0.0000, 0.1305, -0.013, 0.1305, -0.013, 2.0),  # crown
    )
)
_MOUTH_SECTION, _EYE_SECTION = 7, 10

# Where the grid is fine: (azimuth or metres of y, half width, weight) over a floor. One weight per unit, then
# normalised.
_AZIMUTH_FLOOR, _AZIMUTH_PEAKS = 0.5, ((0.0, 0.60, 1.7), (1.75, 0.30, 0.8))
_HEIGHT_FLOOR, _HEIGHT_PEAKS = 0.45, ((-0.050, 0.022, 1.7), (0.022, 0.017, 1.7), (-0.020, 0.016, 1.2))

# Bumps: centre (x, y), radii (x, y), shift (x, y, z). One off the middle comes with its mirror image.
_BUMPS = np.array(
    (
        (0.028, 0.042, 0.020, 0.0075, 0.0, 0.0, 0.0050),  # brow ridges
        (0.000, 0.036, 0.010, 0.0100, 0.0, 0.0, 0.0020),
        (0.034, 0.020, 0.018, 0.0140, 0.0, 0.0, -0.0110),  # eye sockets
        (0.016, 0.020, 0.006, 0.0120, 0.0, 0.0, -0.0040),
        (0.049, -0.004, 0.017, 0.0130, 0.003, 0.0, 0.0050),  # cheekbones
        (0.050, -0.045, 0.014, 0.0200, -0.003, 0.0, -0.0020),  # hollow cheeks
        (0.029, -0.034, 0.005, 0.0110, 0.0, 0.0, -0.0015),  # folds from nose to mouth
        (0.000, -0.043, 0.020, 0.0120, 0.0, 0.0, 0.0035),  # the teeth push the lips forward
        (0.000, -0.057, 0.020, 0.0090, 0.0, 0.0, 0.0025),
        (0.000, -0.040, 0.0035, 0.0060, 0.0, 0.0, -0.0012),  # philtrum
        (0.006, -0.0440, 0.0115, 0.0045, 0.0, 0.0, 0.0042),  # upper lip
        (0.000, -0.0570, 0.0165, 0.0056, 0.0, 0.0, 0.0078),  # lower lip
        (0.0265, -0.0495, 0.005, 0.0050, 0.0, 0.0, -0.0020),  # corners of the mouth
        (0.000, -0.068, 0.018, 0.0055, 0.0, 0.0, -0.0022),  # groove under the lower lip
        (0.000, -0.087, 0.014, 0.0110, 0.0, 0.0, 0.0050),  # chin
        (0.0135, -0.0215, 0.0062, 0.0066, 0.0015, 0.0, 0.0085),  # wings of the nose
        (0.0062, -0.0290, 0.0042, 0.0034, 0.0, 0.0022, -0.0040),  # nostrils
    )
)
# The nose's ridge: y, height over the face, half width.
_NOSE = np.array(
    (
        (0.050, 0.0000, 0.0080),
        (0.036, 0.0015, 0.0060),
        (0.024, 0.0040, 0.0056),
        (0.008, 0.0115, 0.0064),
        (-0.006, 0.0180, 0.0076),
        (-0.014, 0.0225, 0.0092),
        (-0.0195, 0.0220, 0.0094),
        (-0.0245, 0.0170, 0.0090),
        (-0.0290, 0.0075, 0.0075),
        (-0.0330, 0.0000, 0.0065),
    )
)


# Ears: centre and radii in (y, z), how far the rim stands off, how deep the bowl is.
_EAR_CENTER, _EAR_RADII, _EAR_RIM, _EAR_BOWL = np.array((0.012, -0.022)), np.array((0.031, 0.018)), 0.019, 0.012

_MOUTH_HALF_WIDTH = 0.0250
_EYE_HALF_WIDTH = 0.0132
_LIDS_OPEN, _LIDS_CLOSED = (
    (0.0052, -0.0040),
    (-0.0022, -0.0022),
)  # y of the upper and the lower edge off the eye's middle
_LID_REACH = 0.0065  # how far from the edges the skin follows
_LID_BLEND = 0.0015  # over how much depth the lid's sphere runs into the socket
_LENS_ROWS, _LENS_REACH = 1.2, 2.5  # in the UV map a slit opens by this many rows either way; rows so near make room


@dataclass(frozen=True)
class Slit:
    """A run of a grid row from one corner's column to the other's, and the centre of the eye that it bares."""

    row: int
    first: int
    last: int
    eye: Floats | None


@dataclass(frozen=True)
class HeadSkin:
    """The skin as a mesh; its UV map fills the unit square. uv [Vt, 2]; faces, uv_faces [F, 3].

    positions with open eyes and `closed` with closed ones [V, 3]. mouth_side, eye_side [V]: 1 above the slit's row, -1
    below it, 0 on it.
    """

    positions: Floats
    closed: Floats
    faces: Ints
    uv: Floats
    uv_faces: Ints
    mouth_side: Ints
    eye_side: Ints


@dataclass(frozen=True)
class _Sheet:
    """Grid vertices, unrolled: columns 0 and C are the same place. positions [R, C + 1, 3]; v [R, C + 1]."""

    positions: Floats
    v: Floats


def make_skin(columns: int) -> HeadSkin:
    """Bend, sculpt and slit a grid of `columns` (even) around the head and three quarters as many rows."""
    azimuths = _spread_azimuths(columns)
    heights, mouth_row, eye_row = _spread_heights(3 * columns // 4)
    grid = sculpt(bend(azimuths, heights))
    slits = _place_slits(grid, mouth_row, eye_row)
    closed = _assemble(grid, slits, _LIDS_CLOSED)
    return replace(_assemble(grid, slits, _LIDS_OPEN), closed=closed.positions)


def bend(azimuths: Floats, heights: Floats) -> Floats:
    """Bare skull and neck at azimuths [C] (radians) and heights [R] (0 to 1). Returns [R, C, 3]."""
    front_y, front_z, x, y, z, back_y, back_z, exponent = _spline(_section_heights(), _SECTIONS, heights).T[..., None]
    sine, cosine = np.sin(azimuths), np.cos(azimuths)
    power = np.where(cosine > 0, exponent, 2.0)
    radius = (np.abs(sine) ** power + np.abs(cosine) ** power) ** (-1 / power)
    along = cosine * radius
    end_y, end_z = np.where(along > 0, front_y, back_y), np.where(along > 0, front_z, back_z)
    share = np.abs(along)
    return np.stack((x * sine * radius, y + (end_y - y) * share, z + (end_z - z) * share), -1)


def sculpt(points: Floats) -> Floats:
    """Add the face's features and the ears to a bare skull. [..., 3]."""
    points = points + bump_shift(points, _BUMPS) + _nose_shift(points)
    return points + _ear_shift(points)


def bump_shift(points: Floats, bumps: Floats) -> Floats:
    """Sum of bumps and their mirror images over the face, none on the back. points [..., 3]; bumps [b, 7]."""
    total = np.zeros_like(points)
    for x, y, radius_x, radius_y, *shift in bumps:
        for side in (1.0, -1.0) if x else (1.0,):
            distance = ((points[..., 0] - side * x) / radius_x) ** 2 + ((points[..., 1] - y) / radius_y) ** 2
            total += np.exp(-distance)[..., None] * np.array((side * shift[0], *shift[1:]))
    return total * smoothstep(points[..., 2], 0.0, 0.03)[..., None]


def smoothstep(x: Floats, low: float | Floats, high: float | Floats) -> Floats:
    """0 below `low`, 1 above `high` and the cubic 3 t² - 2 t³ between."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _nose_shift(points: Floats) -> Floats:
    """The nose: a ridge whose height and width depend on y."""
    order = _NOSE[::-1]
    height, width = (np.interp(points[..., 1], order[:, 0], order[:, i]) for i in (1, 2))
    forward = height * np.exp(-(np.abs(points[..., 0] / width) ** 2.0)) * smoothstep(points[..., 2], 0.02, 0.05)
    return np.stack((0 * forward, -0.12 * forward, forward), -1)


def _ear_shift(points: Floats) -> Floats:
    """The ears: an oval that stands off towards its rear rim, with a bowl in it."""
    a, b = ((points[..., 1:] - _EAR_CENTER) / _EAR_RADII).transpose(-1, *range(points.ndim - 1))
    distance = np.sqrt(a * a + b * b)
    stand = 1 - smoothstep(distance, 0.72, 1.15)
    bowl = np.exp(-((a + 0.1) ** 2 + (b - 0.1) ** 2) / 0.22)
    outward = stand * (_EAR_RIM * (0.62 - 0.38 * b) - _EAR_BOWL * bowl) * np.sign(points[..., 0])
    outward *= smoothstep(np.abs(points[..., 0]), 0.045, 0.060)
    return np.stack((outward, 0 * outward, -0.35 * np.abs(outward)), -1)


def _spline(knots: Floats, values: Floats, x: Floats) -> Floats:
    """Cubic Hermite spline through rows of values, tangents by central differences. knots [K]; values [K, D]; x [n]."""
    slopes = np.gradient(values, knots, axis=0)
    i = np.clip(np.searchsorted(knots, x, side="right") - 1, 0, len(knots) - 2)
    step = (knots[i + 1] - knots[i])[:, None]
    t = (x - knots[i])[:, None] / step
    start = (2 * t**3 - 3 * t**2 + 1) * values[i] + (t**3 - 2 * t**2 + t) * step * slopes[i]
    return start + (3 * t**2 - 2 * t**3) * values[i + 1] + (t**3 - t**2) * step * slopes[i + 1]


def _section_heights() -> Floats:
    """Height of each section: mean path length of the front, side and back curves from the neck's edge, 0 to 1."""
    paths = [np.linalg.norm(np.diff(_SECTIONS[:, part], axis=0), axis=1) for part in ((0, 1), (2, 3, 4), (5, 6))]
    steps = np.mean(paths, axis=0)
    return np.append(0.0, steps.cumsum() / steps.sum())


def _density(x: Floats, floor: float, peaks: tuple[tuple[float, float, float], ...]) -> Floats:
    """How fine the grid is: a floor and a bump for each peak (centre, half width, weight)."""
    bells = [weight * np.exp(-(((x - center) / width) ** 2)) for center, width, weight in peaks]
    return floor + np.sum(bells, axis=0)


def _even_steps(x: Floats, density: Floats, count: int) -> Floats:
    """`count` + 1 values from x[0] to x[-1], equally far apart as the density counts. x, density [n]."""
    area = np.append(0.0, ((density[1:] + density[:-1]) / 2 * np.diff(x)).cumsum())
    return np.interp(np.linspace(0, area[-1], count + 1), area, x)


def _spread_azimuths(columns: int) -> Floats:
    """Azimuths of the grid's columns, -pi to pi, both ends included, mirror-symmetric. Returns [C + 1]."""
    half = np.linspace(0, np.pi, 2001)
    left = _even_steps(half, _density(half, _AZIMUTH_FLOOR, _AZIMUTH_PEAKS), columns // 2)
    return np.concatenate((-left[:0:-1], left))


def _spread_heights(rows: int) -> tuple[Floats, int, int]:
    """Heights of the grid's rows without the crown; the row that is on the mouth, and the one on the eyes."""
    knots = _section_heights()
    ends = (0.0, knots[_MOUTH_SECTION], knots[_EYE_SECTION], 1.0)
    parts = [np.linspace(low, high, 1001) for low, high in pairwise(ends)]
    densities = [_density(_spline(knots, _SECTIONS[:, :1], t)[:, 0], _HEIGHT_FLOOR, _HEIGHT_PEAKS) for t in parts]
    areas = np.array([np.trapezoid(density, t) for density, t in zip(densities, parts, strict=True)])
    counts = np.maximum(2, np.rint(rows * areas / areas.sum()).astype(int))
    pieces = [_even_steps(t, d, n)[:-1] for t, d, n in zip(parts, densities, counts, strict=True)]
    return np.concatenate(pieces), int(counts[0]), int(counts[0] + counts[1])


def _place_slits(grid: Floats, mouth_row: int, eye_row: int) -> list[Slit]:
    """The mouth's slit and the two eyes', their corners at the columns nearest to where they should be."""

    def column(row: int, x: float) -> int:
        facing = np.where(grid[row, :, 2] > 0, np.abs(grid[row, :, 0] - x), np.inf)
        return int(facing.argmin())

    mouth = Slit(mouth_row, column(mouth_row, -_MOUTH_HALF_WIDTH), column(mouth_row, _MOUTH_HALF_WIDTH), None)
    slits = [mouth]
    for side in (1, -1):
        eye = EYE_CENTER * (side, 1, 1)
        ends = [column(eye_row, eye[0] + way * _EYE_HALF_WIDTH) for way in (-1, 1)]
        slits.append(Slit(eye_row, ends[0], ends[1], eye))
    return slits


def _lens(slit: Slit, columns: int) -> Floats:
    """How far a slit opens at each column, 0 from the corners outwards to 1 in the middle. Returns [columns]."""
    s = (2 * np.arange(columns) - slit.first - slit.last) / (slit.last - slit.first)
    return np.maximum(1 - s * s, 0) ** 0.7


def _open(grid: Floats, slits: list[Slit], lids: tuple[float, float], copy: int) -> _Sheet:
    """Move the lids, and make room for the slits in the UV map. copy: 1 or -1, on which side the slits' own rows go."""
    rows, columns = grid.shape[:2]
    row, v, y = (
        np.arange(rows)[:, None],
        np.arange(rows, dtype=np.float64)[:, None].repeat(columns, 1),
        grid[..., 1].copy(),
    )
    for slit in slits:
        way = np.sign(2 * (row - slit.row) + copy)
        lens = _lens(slit, columns)
        v += way * lens * _LENS_ROWS * np.exp(-(((row - slit.row) / _LENS_REACH) ** 2))
        if slit.eye is not None:
            distance = (grid[..., 1] - grid[slit.row, :, 1]) / _LID_REACH
            y += lens * np.where(way > 0, *lids) * np.exp(-(distance**2))
    return _Sheet(_settle_lids(np.stack((grid[..., 0], y, grid[..., 2]), -1)), v / rows)


def _settle_lids(points: Floats) -> Floats:
    """Lift the skin over the eyeballs: a smooth maximum of its z and of a sphere a lid's thickness around each eye."""
    z = points[..., 2]
    lift = np.zeros_like(z)
    for side in (1, -1):
        center = EYE_CENTER * (side, 1, 1)
        across = ((points[..., :2] - center[:2]) ** 2).sum(-1)
        outside = np.maximum(np.sqrt(across) - _LID_RADIUS, 0)
        ball = center[2] + np.sqrt(np.maximum(_LID_RADIUS**2 - across, 0)) - 8 * outside  # falls off steeply, no edge
        lift += np.where(z > 0, (ball - z + np.sqrt((z - ball) ** 2 + _LID_BLEND**2)) / 2, 0)
    z = z + lift
    return np.concatenate((points[..., :2], z[..., None]), -1)


def _behind(edge: Floats, slit: Slit, way: int) -> Floats:
    """The inner row of a slit's edge: rolled in behind the lip, or back to the eyeball. edge [m, 3]."""
    if slit.eye is None:
        return edge + np.array((0.0, way * 0.0012, -0.0060))
    toward = edge - slit.eye
    return slit.eye + toward * (0.965 * EYE_RADIUS / np.linalg.norm(toward, axis=1, keepdims=True))


class _Builder:
    """Collects UV vertices: positions, places in the UV map and grid rows, side by side."""

    def __init__(self) -> None:
        self.count = 0
        self.positions: list[Floats] = []
        self.uv: list[Floats] = []
        self.rows: list[Floats] = []

    def add(self, positions: Floats, u: Floats, v: Floats, rows: Floats) -> Ints:
        """Append vertices [..., 3] with their place in the UV map and grid row [...]. Returns their indices [...]."""
        self.positions.append(positions.reshape(-1, 3))
        self.uv.append(np.stack((u.ravel(), v.ravel()), -1))
        self.rows.append(rows.ravel())
        first, self.count = self.count, self.count + u.size
        return np.arange(first, self.count).reshape(u.shape)


def _assemble(grid: Floats, slits: list[Slit], lids: tuple[float, float]) -> HeadSkin:
    """Join the grid, the upper copies of the slits' rows, their inner rows and the crown into one mesh.

    The row that a vertex remembers is the grid's; of a slit's copies the upper one is half a row higher, the lower
    lower.
    """
    rows, columns = grid.shape[0], grid.shape[1] - 1
    lower, upper = _open(grid, slits, lids, -1), _open(grid, slits, lids, 1)
    u, row = np.broadcast_arrays(np.linspace(0, 1, columns + 1), np.arange(rows, dtype=np.float64)[:, None])
    row = row.copy()
    for slit in slits:
        row[slit.row, slit.first + 1 : slit.last] -= 0.5
    builder = _Builder()
    below = builder.add(lower.positions, u, lower.v, row)
    above, quads = below.copy(), []
    for slit in slits:
        inside = np.s_[slit.row, slit.first + 1 : slit.last]
        above[inside] = builder.add(upper.positions[inside], u[inside], upper.v[inside], row[inside] + 1)
        backs: dict[int, Ints] = {}
        for way, sheet, edges in ((1, upper, above), (-1, lower, below)):
            edge = edges[slit.row, slit.first : slit.last + 1]
            behind = backs[way] = edge.copy()
            v = slit.row / rows + 0.35 * (sheet.v[inside] - slit.row / rows)
            behind[1:-1] = builder.add(
                _behind(sheet.positions[inside], slit, way), u[inside], v, row[inside] + (1 if way > 0 else 0)
            )
            quads.append(_quads(*((behind, edge) if way > 0 else (edge, behind))))
        if slit.eye is not None:
            quads.append(_quads(backs[-1], backs[1]))  # seen in the corners of the eye, inside the eyeball between them
    quads += [_quads(above[r], below[r + 1]) for r in range(rows - 1)]
    crown = np.broadcast_to((0.0, _SECTIONS[-1, 3], _SECTIONS[-1, 4]), (columns, 3))
    middle = (u[0, 1:] + u[0, :-1]) / 2
    pole = builder.add(crown, middle, np.ones(columns), np.full(columns, float(rows)))
    quads.append(np.stack((below[-1, :-1], below[-1, 1:], pole), -1))
    alias = np.arange(builder.count)
    alias[below[:, -1]], alias[pole] = below[:, 0], pole[0]
    return _weld(builder, np.concatenate(quads), alias, slits)


def _quads(bottom: Ints, top: Ints) -> Ints:
    """Triangles between two rows of vertices, diagonals mirrored about the middle; none with two equal corners."""
    a, b, c, d = bottom[:-1], bottom[1:], top[1:], top[:-1]
    left = np.arange(len(a)) * 2 < len(a)
    first = np.where(left, (a, b, c), (a, b, d)).T
    second = np.where(left, (a, c, d), (b, c, d)).T
    triangles = np.concatenate((first, second))
    distinct = (triangles != np.roll(triangles, 1, axis=1)).all(1)
    return triangles[distinct]


def _weld(builder: _Builder, uv_faces: Ints, alias: Ints, slits: list[Slit]) -> HeadSkin:
    """Make one vertex of the UV vertices that are the same place. alias [Vt]: the UV vertex that stands for each."""
    kept, vertex_of_uv = np.unique(alias, return_inverse=True)
    row, positions = np.concatenate(builder.rows)[kept], np.concatenate(builder.positions)[kept]
    return HeadSkin(
        positions=positions,
        closed=positions,
        faces=vertex_of_uv[uv_faces],
        uv=np.concatenate(builder.uv),
        uv_faces=uv_faces,
        mouth_side=np.sign(row - slits[0].row).astype(np.int64),
        eye_side=np.sign(row - slits[1].row).astype(np.int64),
    )
