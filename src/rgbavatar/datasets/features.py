"""From tracked frames to what the network and the mesh binding take: codes and posed vertices.

The *world* of a tracked subject is the camera's space with the template's axes: origin at the camera, x right, y up, z
towards the camera's back, so that a head that faces the camera upright is not turned. (In the camera's own OpenCV axes it
would be turned by 180 degrees: the rotation that moves to the neck below would then tear the neck from its root.) The rigid
motion becomes a turn of the neck, so that the code sees the head turn. Computed in float64, handed out in float32.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.geometry.rotation import rot6d_to_rotation
from rgbavatar.templates.base import HeadParameters, HeadTemplate

WORLD_TO_OPENCV = torch.diag(torch.tensor([1.0, -1.0, -1.0], dtype=torch.float64))
"""Half a turn about x: from the world's axes to OpenCV's (x right, y down, z forward), and back."""


def join_frames(frames: Sequence[TrackedFrame]) -> HeadParameters:
    """The parameters of n tracked frames: the tracker's camera pose is the root motion in the world.

    The identity is that of the first frame; the caller has checked that all agree.
    """
    n = len(frames)

    def stack(name: str) -> Tensor:
        return torch.stack([getattr(frame, name) for frame in frames])

    return HeadParameters(
        shape=frames[0].shape,
        expression=stack("expression"),
        neck=rot6d_to_rotation(stack("neck")),
        jaw=rot6d_to_rotation(stack("jaw")),
        eyes=rot6d_to_rotation(stack("eyes").view(n, 2, 6)),
        eyelids=stack("eyelids"),
        root=WORLD_TO_OPENCV.T @ stack("rotation"),
        translation=stack("translation") @ WORLD_TO_OPENCV,
    )


def compute_features(template: HeadTemplate, parameters: HeadParameters) -> tuple[Tensor, Tensor]:
    """Posed vertices [n, V, 3] in the world, metres, and codes [n, C] of n frames; both float32."""
    retargeted = template.retarget(parameters)
    return template.pose(retargeted).to(torch.float32), template.encode(retargeted).to(torch.float32)
