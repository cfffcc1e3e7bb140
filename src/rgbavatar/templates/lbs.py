"""Linear blend skinning with blendshapes, after the SMPL (Loper et al. 2015) and FLAME (Li et al. 2017) papers.

Words: n frames, V vertices, J joints, D coefficients. A *global* rotation or position is in the space of the rest
mesh; a *local* rotation is relative to the joint's parent. Joint 0 is the root and parents come before children.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def blend_offsets(offsets: Tensor, coefficients: Tensor) -> Tensor:
    """Sum of weighted vertex offsets (SMPL Eq. 8). offsets [V, 3, D]; coefficients [n, D]. Returns [n, V, 3]."""
    flat = coefficients @ offsets.flatten(0, 1).T
    return flat.unflatten(1, offsets.shape[:2])


def pose_features(local_rotations: Tensor) -> Tensor:
    """What corrective offsets are linear in: R - I of every joint but the root, row by row (SMPL Eq. 9).

    local_rotations [n, J, 3, 3]. Returns [n, 9 (J - 1)].
    """
    eye = torch.eye(3, dtype=local_rotations.dtype, device=local_rotations.device)
    return (local_rotations[:, 1:] - eye).flatten(1)


def joint_transforms(local_rotations: Tensor, joints: Tensor, parents: Sequence[int]) -> Tensor:
    """Rigid motion of each joint from rest to pose, along the kinematic chain (SMPL Eq. 3 and 4).

    local_rotations [n, J, 3, 3]; joints [J, 3] at rest, metres; parents[j] < j, parents[0] unused.
    Returns [n, J, 3, 4]: x_posed = A[:, :3] x_rest + A[:, 3].
    """
    rotations = [local_rotations[:, 0]]
    positions = [joints[0].expand(len(local_rotations), 3)]
    for j in range(1, len(joints)):
        parent = parents[j]
        bone = rotations[parent] @ (joints[j] - joints[parent])
        rotations.append(rotations[parent] @ local_rotations[:, j])
        positions.append(positions[parent] + bone)
    rotation, position = torch.stack(rotations, 1), torch.stack(positions, 1)
    translation = position - (rotation @ joints[..., None]).squeeze(-1)
    return torch.cat((rotation, translation[..., None]), -1)


def move_after(transforms: Tensor, rotations: Tensor, translations: Tensor) -> Tensor:
    """Follow each frame's motions by a motion of the frame. transforms [n, J, 3, 4]; rotations [n, 3, 3]; translations [n, 3]."""
    turned = rotations[:, None] @ transforms
    return torch.cat((turned[..., :3], turned[..., 3:] + translations[:, None, :, None]), -1)


def skin(vertices: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    """Move each vertex by the weighted mean of the joints' motions (SMPL Eq. 2).

    vertices [n, V, 3] at rest; weights [V, J], rows sum to 1; transforms [n, J, 3, 4]. Returns [n, V, 3].
    """
    blended = (transforms.permute(0, 2, 3, 1).flatten(0, 2) @ weights.T).view(-1, 3, 4, len(weights))
    posed = blended[:, :, 3]
    for axis in range(3):  # vertices lie next to each other in memory, not the three numbers of one
        posed = torch.addcmul(posed, blended[:, :, axis], vertices[:, None, :, axis])
    return posed.mT
