"""A camera that circles a head."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rgbavatar.geometry.camera import Camera


def orbit(camera: Camera, center: Tensor, up: Tensor, frames: int, elevation: float = 0.0) -> Camera:
    """`frames` cameras on a full circle about the axis `up` through `center`, starting where `camera` [1] is.

    elevation: radians by which the circle is raised first, seen from `center`; the cameras then look down on it.

    center [3]: a point in world space, metres. up [3]: the axis, unit length. The cameras keep the intrinsics and their
    distance. Turning the camera by -a is turning the world by a: x_cam = R (Rot(up, a)(x - c) + c) + t. Returns [frames].
    """
    rotation, translation = camera.world_to_camera[0, :, :3], camera.world_to_camera[0, :, 3]
    raised = _turn(rotation[0], elevation)  # about the camera's x axis: the world's top comes towards the camera
    cameras = []
    for frame in range(frames):
        turn = raised @ _turn(up, 2.0 * math.pi * frame / frames)
        offset = rotation @ (center - turn @ center) + translation
        cameras.append(torch.cat([rotation @ turn, offset[:, None]], dim=1))
    return Camera(torch.stack(cameras), camera.intrinsics.expand(frames, -1), camera.width, camera.height)


def _turn(axis: Tensor, angle: float) -> Tensor:
    """Rotation by `angle` about a unit axis (Rodrigues). Returns [3, 3]."""
    x, y, z = axis.tolist()
    cross = axis.new_tensor([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]])
    identity = torch.eye(3, dtype=axis.dtype, device=axis.device)
    return identity + math.sin(angle) * cross + (1.0 - math.cos(angle)) * (cross @ cross)
