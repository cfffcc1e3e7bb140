"""Points all over the face of a person's mesh: what a picture is compared at, where landmarks are too few.

Words. L points, E expressions. A point is the middle of a triangle that turns with the head, is no eyeball, lies near a landmark,
and can be seen from the front or from a side while the face is at rest: so nothing inside the mouth is one. Places are metres in
the head's own axes about the face model's centre, as in `pose`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray

from rgbavatar.geometry.triangle_raster import rasterize_triangles
from rgbavatar.templates.blendshape_data import BlendshapeData
from rgbavatar.track.face_model import TURNING, FaceModel
from rgbavatar.track.turns import turn_by

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
POINTS = 4000  # at most; of triangles that are drawn more than once, one is left
NEAR = 0.06  # metres from a landmark: the face and the ears, but not the hair behind them
_VIEWS = np.radians((-50.0, -25.0, 0.0, 25.0, 50.0))  # to the sides, from where a triangle has to be seen
_SPAN, _SIDE = 0.4, 400  # metres and pixels of a view
_SEEN = 3  # pixels, of all views


@dataclass(frozen=True)
class Surface:
    """L points of a person. rest [L, 3]; expression [E, 3 L] float32: their deltas; normals [L, 3]: outward, at rest."""

    rest: Floats
    expression: NDArray[np.float32]
    normals: Floats

    def __len__(self) -> int:
        return len(self.rest)

    def place(self, expression: Floats) -> Floats:
        """The points [n, L, 3] of n expressions [n, E]."""
        moved = expression.astype(np.float32) @ self.expression
        return self.rest + moved.reshape(len(expression), -1, 3)

    @cached_property
    def expression_columns(self) -> Floats:
        """The deltas by axis [3, L, E], as `pose.along` takes them."""
        deltas = self.expression.reshape(len(self.expression), -1, 3).astype(np.float64)
        return np.ascontiguousarray(deltas.transpose(2, 1, 0))


def make_surface(data: BlendshapeData, model: FaceModel, identity: Floats) -> Surface:
    """The points of a person. identity [S]."""
    vertices = data.neutral - model.center
    for share, mode in zip(identity, data.identity, strict=True):
        vertices = vertices + share * mode.astype(np.float64)
    normals = _normals(vertices[data.faces])
    landmarks = model.neutral + np.einsum("s,slc->lc", identity, model.identity)
    able = _is_skin(data) & _near(vertices[data.faces].mean(1), landmarks) & _seen(vertices, data.faces)
    chosen = _spread(able, np.linalg.norm(normals, axis=1))
    deltas = data.expression[:, data.faces[chosen]].astype(np.float32).mean(2)
    lengths = np.linalg.norm(normals[chosen], axis=1, keepdims=True)
    return Surface(
        rest=vertices[data.faces[chosen]].mean(1),
        expression=deltas.reshape(len(deltas), -1),
        normals=normals[chosen] / np.maximum(lengths, 1e-15),
    )


def _normals(corners: Floats) -> Floats:
    """Outward normals [F, 3] of triangles [F, 3, 3], as long as these are large."""
    return np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])


def _is_skin(data: BlendshapeData) -> NDArray[np.bool_]:
    """Triangles [F] that turn with the head alone."""
    still = data.head_weights >= TURNING
    if data.eyes is not None:
        still &= data.eyes.weights.sum(1) == 0
    return np.asarray(still[data.faces].all(1))


def _near(middles: Floats, landmarks: Floats) -> NDArray[np.bool_]:
    square = np.full(len(middles), np.inf)
    for landmark in landmarks:  # a table of all distances would be large
        square = np.minimum(square, ((middles - landmark) ** 2).sum(1))
    return square < NEAR**2


def _seen(vertices: Floats, faces: Ints) -> NDArray[np.bool_]:
    """Triangles [F] that nothing hides from all views."""
    seen = np.zeros(len(faces), np.int64)
    for yaw in _VIEWS:
        turned = vertices @ turn_by(np.array((0.0, yaw, 0.0))).T
        flat = torch.from_numpy((turned[:, :2] / _SPAN + 0.5) * _SIDE)
        found = rasterize_triangles(flat[faces], _SIDE, _SIDE, torch.from_numpy(-turned[:, 2])[faces]).face_ids.numpy()
        seen += np.bincount(found[found >= 0], minlength=len(faces))
    return seen >= _SEEN


def _spread(able: NDArray[np.bool_], areas: Floats) -> Ints:
    """At most POINTS of the triangles that are able to, evenly by their areas."""
    triangles = np.flatnonzero(able)
    if not len(triangles):
        return triangles
    upto = np.cumsum(areas[triangles])
    drawn = np.searchsorted(upto, (np.arange(POINTS) + 0.5) / POINTS * upto[-1])
    return np.unique(triangles[drawn])
