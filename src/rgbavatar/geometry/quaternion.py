"""Quaternions, WXYZ: q = w + x i + y j + z k, the Hamilton product, so that ij = k.

The unit quaternion (cos(a/2), sin(a/2) n) turns by the angle a about the unit axis n; q and -q are the same rotation.
Every function takes any batch shape "...", is differentiable, and stays finite where squares do.
"""

from __future__ import annotations

import torch
from torch import Tensor

_SMALLEST_NORM = 1e-12  # below it a quaternion has no direction


def normalize_quaternion(q: Tensor) -> Tensor:
    """Scale to unit length. q [..., 4]. Returns [..., 4]; a zero quaternion stays zero."""
    return q / torch.linalg.vector_norm(q, dim=-1, keepdim=True).clamp_min(_SMALLEST_NORM)


def multiply_quaternions(left: Tensor, right: Tensor) -> Tensor:
    """Hamilton product: the rotation `right` first, then `left`. [..., 4] each, broadcast. Returns [..., 4]."""
    w1, x1, y1, z1 = left.unbind(-1)
    w2, x2, y2, z2 = right.unbind(-1)
    return torch.stack(
        (
            w1 * w2 - x1 * x2 - y1 * y2 - z1 * z2,
            w1 * x2 + x1 * w2 + y1 * z2 - z1 * y2,
            w1 * y2 - x1 * z2 + y1 * w2 + z1 * x2,
            w1 * z2 + x1 * y2 - y1 * x2 + z1 * w2,
        ),
        dim=-1,
    )


def quaternion_to_rotation(q: Tensor) -> Tensor:
    """Rotation matrix of a quaternion of any length but zero (zero gives the identity). q [..., 4]. Returns [..., 3, 3].

    R v is the vector part of q v q* for unit q; expanded, R = I + 2 w [u]x + 2 [u]x² with u = (x, y, z).
    """
    w, x, y, z = normalize_quaternion(q).unbind(-1)
    rows = (
        torch.stack((1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)), -1),
        torch.stack((2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)), -1),
        torch.stack((2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)), -1),
    )
    return torch.stack(rows, -2)


def rotation_to_quaternion(rotation: Tensor) -> Tensor:
    """Unit quaternion of a rotation matrix. rotation [..., 3, 3]. Returns [..., 4], its entry of largest magnitude positive.

    The ten numbers 4 q_i q_j are linear in the matrix (the equation of `quaternion_to_rotation`, solved), so each row i of
    that symmetric 4 x 4 table is 4 q_i q. The row of the largest diagonal 4 q_i² >= 1 is far from zero: normalise it.
    """
    (a, b, c), (d, e, f), (g, h, i) = (row.unbind(-1) for row in rotation.unbind(-2))
    table = torch.stack(
        (
            torch.stack((1 + a + e + i, h - f, c - g, d - b), -1),
            torch.stack((h - f, 1 + a - e - i, b + d, c + g), -1),
            torch.stack((c - g, b + d, 1 - a + e - i, f + h), -1),
            torch.stack((d - b, c + g, f + h, 1 - a - e + i), -1),
        ),
        -2,
    )
    largest = table.diagonal(dim1=-2, dim2=-1).argmax(-1)
    row = torch.take_along_dim(table, largest[..., None, None], dim=-2).squeeze(-2)
    return normalize_quaternion(row)
