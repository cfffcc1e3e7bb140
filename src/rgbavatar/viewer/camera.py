"""Cameras of browser pages, and ours.

A *page* shows the world through a camera that its user drives: OpenCV axes (x right, y down, z forward), camera-to-world, a
vertical field of view, square pixels, and an optical axis through the middle of the picture. That is how viser tells it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.quaternion import quaternion_to_rotation

Vector = tuple[float, float, float]


@dataclass(frozen=True)
class PageCamera:
    """rotation: WXYZ, from the camera's axes to the world's. position: metres. fov: vertical, radians. Sizes in pixels."""

    rotation: tuple[float, float, float, float]
    position: Vector
    fov: float
    width: int
    height: int


@dataclass(frozen=True)
class StartView:
    """Where a page's camera stands at first. position, look_at: metres. up: unit length. fov: vertical, radians."""

    position: Vector
    look_at: Vector
    up: Vector
    fov: float


def page_to_camera(page: PageCamera) -> Camera:
    """The camera [1] that draws what a page shows: R = Q^T, t = -Q^T p for the page's rotation Q and position p."""
    to_world = quaternion_to_rotation(torch.tensor(page.rotation, dtype=torch.float64))
    offset = -to_world.T @ torch.tensor(page.position, dtype=torch.float64)
    focal = 0.5 * page.height / math.tan(0.5 * page.fov)
    intrinsics = torch.tensor([[focal, focal, 0.5 * page.width, 0.5 * page.height]])
    return Camera(torch.cat([to_world.T, offset[:, None]], dim=1)[None].float(), intrinsics, page.width, page.height)


def start_view(camera: Camera, middle: Tensor, aspect: float) -> StartView:
    """Stand where the tracked camera [1] stands and look at `middle` [3], metres, as wide as the tracked picture is at least.

    The camera turns about its own place, so the head is seen from where it was filmed. aspect: width by height of the page.
    """
    rotation, translation = camera.world_to_camera[0, :, :3].double(), camera.world_to_camera[0, :, 3].double()
    fx, fy, _, _ = camera.intrinsics[0].tolist()
    slope = max(0.5 * camera.height / fy, 0.5 * camera.width / fx / aspect)
    return StartView(
        position=_vector(-rotation.T @ translation),
        look_at=_vector(middle),
        up=_vector(-rotation[1]),
        fov=2.0 * math.atan(slope),
    )


def middle_of(vertices: Tensor) -> Tensor:
    """The middle of the box around vertices [V, 3]. Returns [3]."""
    return 0.5 * (vertices.amin(dim=0) + vertices.amax(dim=0))


def fit_pixels(camera: Camera, pixels: float) -> Camera:
    """The same view in a picture of so many pixels at most."""
    shrink = math.sqrt(pixels / (camera.width * camera.height))
    return camera if shrink >= 1.0 else camera.resized(max(1, int(shrink * max(camera.width, camera.height))))


def _vector(values: Tensor) -> Vector:
    x, y, z = values.tolist()
    return x, y, z
