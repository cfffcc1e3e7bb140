"""Rotation matrices [..., 3, 3], acting on column vectors, and the two short forms that trackers store.

*rot6d*: the first two rows of the matrix, flattened (Zhou et al., "On the Continuity of Rotation Representations in Neural
Networks", 2019, with rows in the place of columns). *Axis-angle*: the axis times the angle in radians.
Every function takes any batch shape "...", is differentiable, and stays finite where squares do.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

_PARALLEL = 1e-8  # a sine or a length below this gives no direction worth keeping


def rotation_to_rot6d(rotation: Tensor) -> Tensor:
    """First two rows, flattened. rotation [..., 3, 3]. Returns [..., 6]."""
    return rotation[..., :2, :].flatten(-2)


def rot6d_to_rotation(rot6d: Tensor) -> Tensor:
    """Nearest first row, then Gram-Schmidt: a proper rotation for any input. rot6d [..., 6]. Returns [..., 3, 3].

    A zero first row counts as the x axis; a second row along the first is replaced by the axis least along it.
    """
    first, second = rot6d.unflatten(-1, (2, 3)).unbind(-2)
    x = _unit_or(first, torch.eye(3, dtype=rot6d.dtype, device=rot6d.device)[0])
    y = _unit_or(_reject(_unit_or(second, x), x), _perpendicular(x))
    return torch.stack((x, y, torch.linalg.cross(x, y)), -2)


def axis_angle_to_rotation(axis_angle: Tensor) -> Tensor:
    """Rodrigues' formula. axis_angle [..., 3], radians. Returns [..., 3, 3].

    R = I + (sin a / a) [v]x + ((1 - cos a) / a²) [v]x² with a = |v|; written with sinc, it needs no case for small a.
    """
    angle = torch.linalg.vector_norm(axis_angle, dim=-1)[..., None, None]
    cross = _cross_matrix(axis_angle)
    eye = torch.eye(3, dtype=axis_angle.dtype, device=axis_angle.device)
    half = torch.sinc(angle / (2 * math.pi))
    return eye + torch.sinc(angle / math.pi) * cross + 0.5 * half * half * (cross @ cross)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation nearest to each matrix [..., 3, 3] (orthogonal Procrustes): the chordal mean, for a mean of rotations."""
    u, _, vh = torch.linalg.svd(matrix)
    flip = torch.ones(matrix.shape[:-1], dtype=matrix.dtype, device=matrix.device)
    flip[..., 2] = torch.linalg.det(u @ vh)
    return u * flip[..., None, :] @ vh


def _cross_matrix(v: Tensor) -> Tensor:
    """[v]x, with [v]x u = v x u. v [..., 3]. Returns [..., 3, 3]."""
    x, y, z = v.unbind(-1)
    zero = torch.zeros_like(x)
    entries = (zero, -z, y, z, zero, -x, -y, x, zero)
    return torch.stack(entries, -1).unflatten(-1, (3, 3))


def _unit_or(v: Tensor, fallback: Tensor) -> Tensor:
    """v scaled to unit length, or the fallback where v is shorter than _PARALLEL. [..., 3]."""
    length = torch.linalg.vector_norm(v, dim=-1, keepdim=True)
    return torch.where(length > _PARALLEL, v / length.clamp_min(_PARALLEL), fallback)


def _reject(v: Tensor, unit: Tensor) -> Tensor:
    """The part of v that is perpendicular to a unit vector. [..., 3]."""
    return v - (v * unit).sum(-1, keepdim=True) * unit


def _perpendicular(unit: Tensor) -> Tensor:
    """A unit vector perpendicular to a given one: the coordinate axis least along it, made perpendicular. [..., 3]."""
    axis = torch.nn.functional.one_hot(unit.abs().argmin(-1), 3).to(unit)
    return torch.nn.functional.normalize(_reject(axis, unit), dim=-1)
