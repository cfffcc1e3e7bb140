"""Colours for the free head, painted over its UV map by where each texel lies: for pictures that a face landmarker can read.

T texels on a side; texel (row, col) has its centre at u = (col + .5) / T, v = (row + .5) / T, row 0 is lowest. Positions are of
the neutral head, metres; most are told relative to an eye or to the edge of a lip or lid.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError
from rgbavatar.geometry.triangle_raster import rasterize_triangles
from rgbavatar.templates.blendshape_data import BlendshapeData
from rgbavatar.templates.flatten import find_loops
from rgbavatar.templates.head_uv import CELLS, STRIP
from rgbavatar.templates.procedural_surface import smoothstep

_IRIS_EDGE, _PUPIL_EDGE = np.radians(29.0), np.radians(11.0)  # as seen from the eyeball's centre
_RED_LIP = 0.0095  # metres that the lips' red reaches from where they meet, in the middle
_LASH = 0.0030  # metres from a lid's inner edge that lashes cover
_BROW = (0.010, 0.046)  # metres from the middle of the face: where a brow begins and ends
_BROW_HEIGHT, _BROW_ARCH, _BROW_THICKNESS = 0.0175, 0.004, 0.0042  # metres above the eye's centre
_SEED = 7

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Complexion:
    """Colours, RGB in [0, 1]."""

    skin: tuple[float, float, float] = (0.80, 0.61, 0.52)
    lip: tuple[float, float, float] = (0.66, 0.36, 0.34)
    hair: tuple[float, float, float] = (0.16, 0.11, 0.08)
    iris: tuple[float, float, float] = (0.28, 0.40, 0.46)


_INSIDE = {
    "mouth": (0.34, 0.10, 0.10),
    "tongue": (0.66, 0.32, 0.32),
    "upper_teeth": (0.90, 0.87, 0.80),
    "lower_teeth": (0.88, 0.85, 0.78),
    "left_socket": (0.70, 0.42, 0.38),
    "right_socket": (0.70, 0.42, 0.38),
}


def paint_free_head(data: BlendshapeData, size: int, look: Complexion) -> Floats:
    """Albedo of the free head. Returns [size, size, 3] in [0, 1]. Raises TemplateError for a template without eyes."""
    if data.eyes is None:
        raise TemplateError("painting: found a template without eye joints, expected the free head")
    generator = np.random.default_rng(_SEED)
    points = _texel_points(data, size)
    color = _paint_skin(data, points, look, generator)
    axis = (np.arange(size) + 0.5) / size
    u, v = np.meshgrid(axis, axis)
    for name, (left, low, width, height) in CELLS.items():
        inside = (u >= left) & (u < left + width) & (v >= low) & (v < low + height)
        if "eye" in name:
            color[inside] = _paint_eye(points[inside] - data.eyes.centers[int("right" in name)], look)
        else:
            color[inside] = np.array(_INSIDE[name])
    return color.clip(0, 1)


def _texel_points(data: BlendshapeData, size: int) -> Floats:
    """Neutral position of each texel [T, T, 3]; where no triangle is, that of the nearest texel that has one."""
    raster = rasterize_triangles(torch.from_numpy(data.uv[data.uv_faces]) * size - 0.5, size, size)
    faces, weights = raster.face_ids.numpy(), raster.barycentrics.numpy()
    points = np.einsum("hwk,hwkc->hwc", weights, data.neutral[data.faces[faces.clip(0)]])
    bare = (faces < 0).astype(np.uint8)
    _, labels = cv2.distanceTransformWithLabels(bare, cv2.DIST_L2, 5, labelType=cv2.DIST_LABEL_PIXEL)
    nearest = np.zeros((int(labels.max()) + 1, 3))
    nearest[labels[bare == 0]] = points[bare == 0]
    return np.asarray(nearest[labels])


def _paint_skin(data: BlendshapeData, points: Floats, look: Complexion, generator: np.random.Generator) -> Floats:
    """Skin, lips, brows, lashes by position [T, T, 3]."""
    assert data.eyes is not None
    eye = np.abs(data.eyes.centers).mean(0)
    mouth, lids = _edges(data, eye[1])
    x, y, z = np.abs(points[..., 0]), points[..., 1] - eye[1], points[..., 2]
    front = smoothstep(z, eye[2] - 0.03, eye[2] - 0.01)
    size = len(points)
    color = np.array(look.skin) * (1 + 0.05 * _noise(size, 12, generator) + 0.06 * _noise(size, size // 4, generator))
    flush = np.exp(-(((x - 0.036) / 0.02) ** 2) - ((y + 0.038) / 0.018) ** 2)
    color = _cover(color, (0.78, 0.44, 0.38), 0.3 * front * flush)
    to_mouth = _distance(points, mouth, 0.02)
    reach = _RED_LIP * np.sqrt((1 - (x / (np.abs(mouth[:, 0]).max() + 0.002)) ** 2).clip(0))
    color = _cover(color, look.lip, front * (1 - smoothstep(to_mouth - reach, -0.0010, 0.0010)))
    color = _cover(color, (0.30, 0.10, 0.10), front * (1 - smoothstep(to_mouth, 0.0005, 0.0025)))
    to_lid = _distance(points, lids, 0.01)
    lashes = np.where(y > 0, 0.9, 0.4) * (1 - smoothstep(to_lid, _LASH / 2, _LASH))
    hairs = front * (0.9 * _brows(x, y) + lashes) * (0.8 + 0.3 * _noise(size, size // 3, generator)[..., 0])
    return _cover(color, look.hair, hairs + _hair(points, data.eyes.centers.mean(0), float(data.neutral[:, 1].max())))


def _hair(points: Floats, middle: Floats, crown: float) -> Floats:
    """Cover of the hair: above a line that falls from the forehead to the nape. middle [3]: between the eyes."""
    y, z = np.moveaxis((points - middle) / (crown - middle[1]), -1, 0)[1:]
    hairline = 0.62 - 0.85 * (-0.35 - z).clip(0, 1.3)
    return smoothstep(y - hairline, 0.0, 0.05)


def _edges(data: BlendshapeData, eye_height: float) -> tuple[Floats, Floats]:
    """Points where the skin ends at the mouth [m, 3] and at the lids [n, 3]."""
    skin = data.faces[data.uv[data.uv_faces][..., 1].min(1) > STRIP]
    loops = [data.neutral[loop].astype(np.float64) for loop in find_loops(skin)]
    inner = [_densify(np.asarray(loop)) for loop in loops if loop[:, 2].min() > 0]
    lids = [loop for loop in inner if abs(loop[:, 1].mean() - eye_height) < 0.015]
    mouth = [loop for loop in inner if loop[:, 1].mean() < eye_height - 0.03]
    return np.concatenate(mouth), np.concatenate(lids)


def _densify(loop: Floats) -> Floats:
    """A closed walk of points [n, 3] with seven more between each two."""
    shares = np.linspace(0, 1, 8, endpoint=False)[:, None, None]
    return ((1 - shares) * loop + shares * np.roll(loop, -1, axis=0)).reshape(-1, 3)


def _distance(points: Floats, edge: Floats, far: float) -> Floats:
    """Distance of points [T, T, 3] to the nearest of a few [m, 3], where it is below `far`, else `far` or more."""
    low, high = edge.min(0) - far, edge.max(0) + far
    distance = np.full(points.shape[:2], far)
    near = ((points > low) & (points < high)).all(-1)
    best = np.full(int(near.sum()), np.inf)
    for point in edge:
        best = np.minimum(best, np.linalg.norm(points[near] - point, axis=1))
    distance[near] = best
    return distance


def _brows(x: Floats, y: Floats) -> Floats:
    """Cover of the eyebrows: an arched band, thinner outwards. x from the middle, y from the eye's centre."""
    along = ((x - _BROW[0]) / (_BROW[1] - _BROW[0])).clip(0, 1)
    middle = _BROW_HEIGHT + _BROW_ARCH * np.sin(2.4 * along)
    thickness = _BROW_THICKNESS * (1 - 0.55 * along)
    ends = smoothstep(x, _BROW[0] - 0.002, _BROW[0] + 0.003) * (1 - smoothstep(x, _BROW[1] - 0.006, _BROW[1]))
    return ends * (1 - smoothstep(np.abs(y - middle), 0.5 * thickness, thickness))


def _paint_eye(arms: Floats, look: Complexion) -> Floats:
    """White, iris and pupil by arms [n, 3] from the eyeball's centre, which looks along z. Returns [n, 3]."""
    polar = np.arccos((arms[:, 2] / np.maximum(np.linalg.norm(arms, axis=1), 1e-9)).clip(-1, 1))
    color = np.broadcast_to((0.92, 0.91, 0.89), arms.shape)
    iris = np.array(look.iris) * (1 - 0.6 * smoothstep(polar, 0.75 * _IRIS_EDGE, _IRIS_EDGE))[:, None]
    color = _cover(color, iris, 1 - smoothstep(polar, 0.96 * _IRIS_EDGE, 1.05 * _IRIS_EDGE))
    return _cover(color, (0.02, 0.02, 0.02), 1 - smoothstep(polar, 0.9 * _PUPIL_EDGE, 1.1 * _PUPIL_EDGE))


def _cover(below: Floats, color: Floats | tuple[float, float, float], share: Floats) -> Floats:
    """Lay a colour over a picture. share [...]: how much it covers, clipped to [0, 1]."""
    share = share.clip(0, 1)[..., None]
    return below * (1 - share) + np.asarray(color) * share


def _noise(size: int, cells: int, generator: np.random.Generator) -> Floats:
    """Smooth noise in [-1, 1], [size, size, 1]."""
    grid = generator.uniform(-1, 1, (cells, cells))
    return np.asarray(cv2.resize(grid, (size, size), interpolation=cv2.INTER_CUBIC), np.float64)[..., None]
