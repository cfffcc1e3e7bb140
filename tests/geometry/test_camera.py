"""Cameras in other sizes, and on circles."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.orbit import orbit

CENTER = torch.tensor([0.1, 0.2, 1.5])
UP = torch.tensor([0.0, -1.0, 0.0])


def camera() -> Camera:
    return Camera(torch.eye(3, 4)[None], torch.tensor([[300.0, 310.0, 161.0, 127.0]]), 320, 256)


def project(camera: Camera, point: Tensor) -> Tensor:
    """[C, 3]: pixel coordinates with the centre of the first pixel at 0.5, and depth."""
    seen = camera.world_to_camera[:, :, :3] @ point + camera.world_to_camera[:, :, 3]
    fx, fy, cx, cy = camera.intrinsics.unbind(1)
    return torch.stack([fx * seen[:, 0] / seen[:, 2] + cx, fy * seen[:, 1] / seen[:, 2] + cy, seen[:, 2]], 1)


@pytest.mark.parametrize(("longer", "size"), [(640, (640, 512)), (160, (160, 128)), (100, (100, 80)), (33, (33, 26))])
def test_a_resized_camera_sees_the_same_in_more_or_fewer_pixels(longer: int, size: tuple[int, int]) -> None:
    before, after = camera(), camera().resized(longer)
    assert (after.width, after.height) == size
    point = torch.tensor([0.3, -0.2, 1.2])
    share = project(before, point)[0, :2] / torch.tensor([320.0, 256.0])
    torch.testing.assert_close(project(after, point)[0, :2], share * torch.tensor([float(size[0]), float(size[1])]))


def test_an_orbit_keeps_its_distance_and_begins_at_the_camera() -> None:
    cameras = orbit(camera(), CENTER, UP, 8)
    torch.testing.assert_close(cameras.world_to_camera[0], camera().world_to_camera[0], atol=1e-6, rtol=0.0)
    seen = project(cameras, CENTER)
    torch.testing.assert_close(seen, seen[:1].expand_as(seen), atol=1e-3, rtol=0.0)
    behind = cameras.world_to_camera[4, :, :3] @ torch.tensor([0.0, 0.0, 1.0])
    torch.testing.assert_close(behind, torch.tensor([0.0, 0.0, -1.0]), atol=1e-6, rtol=0.0)


def test_a_raised_orbit_looks_down_on_the_centre() -> None:
    """What is above the centre comes nearer, by the sine of the elevation; the distance to the centre stays."""
    angle = math.radians(30.0)
    cameras = orbit(camera(), CENTER, UP, 6, angle)
    centre, above = project(cameras, CENTER), project(cameras, CENTER + 0.1 * UP)
    torch.testing.assert_close(centre, project(camera(), CENTER).expand(6, 3), atol=1e-3, rtol=0.0)
    torch.testing.assert_close(centre[:, 2] - above[:, 2], torch.full((6,), 0.1 * math.sin(angle)), atol=1e-5, rtol=0.0)
    assert (above[:, 1] < centre[:, 1]).all()  # still up in the picture
