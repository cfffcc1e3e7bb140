"""Small rotations as vectors (axis times angle in radians), in numpy: a fit turns a head thousands of times a second."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


def turn_by(vectors: Floats) -> Floats:
    """Rotation matrices of vectors [..., 3], by Rodrigues' formula. Returns [..., 3, 3]."""
    angle = np.linalg.norm(vectors, axis=-1)[..., None, None]
    cross = cross_matrix(vectors)
    half = np.sinc(angle / (2 * np.pi))
    return np.eye(3) + np.sinc(angle / np.pi) * cross + 0.5 * half * half * (cross @ cross)


def turn_between(first: Floats, second: Floats) -> Floats:
    """The vectors v with second = turn_by(v) first, for matrices [..., 3, 3] less than half a turn apart. Returns [..., 3]."""
    turn = second @ np.swapaxes(first, -1, -2)
    twice = np.stack(
        (turn[..., 2, 1] - turn[..., 1, 2], turn[..., 0, 2] - turn[..., 2, 0], turn[..., 1, 0] - turn[..., 0, 1]), -1
    )
    sine = np.linalg.norm(twice, axis=-1) / 2
    angle = np.arctan2(sine, (np.trace(turn, axis1=-2, axis2=-1) - 1) / 2)
    return 0.5 * twice * _ratio(angle, sine)[..., None]


def cross_matrix(v: Floats) -> Floats:
    """[v]x, with [v]x u = v x u. v [..., 3]. Returns [..., 3, 3]."""
    x, y, z = np.moveaxis(v, -1, 0)
    zero = np.zeros_like(x)
    rows = ((zero, -z, y), (z, zero, -x), (-y, x, zero))
    return np.stack([np.stack(row, -1) for row in rows], -2)


def _ratio(angle: Floats, sine: Floats) -> Floats:
    """angle / sine, 1 where both are next to nothing."""
    return np.where(sine > 1e-9, angle / np.maximum(sine, 1e-9), 1.0)
