"""The page's camera is ours, and it starts where the tracked one stands."""

from __future__ import annotations

import math

import pytest
import torch

from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.quaternion import rotation_to_quaternion
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.viewer.camera import PageCamera, fit_pixels, page_to_camera, start_view

MIDDLE = torch.tensor([0.05, -0.02, -1.2])


def tracked_camera(width: int = 640, height: int = 480) -> Camera:
    """As a dataset has it: half a turn about x from the world to OpenCV's axes, and a little more. The axis is off centre."""
    rotation = axis_angle_to_rotation(torch.tensor([math.pi, 0.0, 0.0])) @ axis_angle_to_rotation(
        torch.tensor([0.05, 0.1, -0.08])
    )
    pose = torch.cat([rotation, torch.tensor([[0.1], [0.2], [-0.05]])], dim=1)
    return Camera(pose[None], torch.tensor([[900.0, 900.0, 310.0, 250.0]]), width, height)


def page_at(camera: Camera, width: int, height: int) -> PageCamera:
    """A page whose camera is a given one, as viser would tell it."""
    rotation, translation = camera.world_to_camera[0, :, :3], camera.world_to_camera[0, :, 3]
    w, x, y, z = rotation_to_quaternion(rotation.T).tolist()
    px, py, pz = (-rotation.T @ translation).tolist()
    fov = 2.0 * math.atan(0.5 * camera.height / float(camera.intrinsics[0, 1]))
    return PageCamera((w, x, y, z), (px, py, pz), fov, width, height)


def look(page: PageCamera, view_at: torch.Tensor, up: torch.Tensor) -> Camera:
    """The camera of a page that looks at a point: what a browser makes of a StartView."""
    position = torch.tensor(page.position)
    forward = torch.nn.functional.normalize(view_at - position, dim=0)
    right = torch.nn.functional.normalize(torch.linalg.cross(forward, up), dim=0)
    to_world = torch.stack([right, torch.linalg.cross(forward, right), forward], dim=1)
    w, x, y, z = rotation_to_quaternion(to_world).tolist()
    return page_to_camera(PageCamera((w, x, y, z), page.position, page.fov, page.width, page.height))


def project(camera: Camera, point: torch.Tensor) -> tuple[float, float]:
    x, y, z = (camera.world_to_camera[0, :, :3] @ point + camera.world_to_camera[0, :, 3]).tolist()
    fx, fy, cx, cy = camera.intrinsics[0].tolist()
    return fx * x / z + cx, fy * y / z + cy


def test_a_page_at_the_tracked_camera_gives_the_tracked_camera() -> None:
    tracked = tracked_camera()
    camera = page_to_camera(page_at(tracked, 640, 480))
    assert torch.allclose(camera.world_to_camera, tracked.world_to_camera, atol=1e-6)
    assert (camera.width, camera.height) == (640, 480)
    assert camera.intrinsics[0].tolist() == pytest.approx([900.0, 900.0, 320.0, 240.0], rel=1e-5)


@pytest.mark.parametrize(("width", "height"), [(640, 480), (1600, 480), (300, 480), (640, 960)])
def test_the_field_of_view_is_the_vertical_one_whatever_the_pages_shape(width: int, height: int) -> None:
    camera = page_to_camera(page_at(tracked_camera(), width, height))
    assert camera.intrinsics[0].tolist() == pytest.approx(
        [900.0 * height / 480, 900.0 * height / 480, width / 2, height / 2], rel=1e-5
    )


@pytest.mark.parametrize("aspect", [0.5, 4 / 3, 3.0])
def test_the_start_shows_the_head_in_the_middle_upright_and_all_of_the_tracked_picture(aspect: float) -> None:
    tracked = tracked_camera()
    view = start_view(tracked, MIDDLE, aspect)
    page = PageCamera((1.0, 0.0, 0.0, 0.0), view.position, view.fov, round(600 * aspect), 600)
    camera = look(page, torch.tensor(view.look_at), torch.tensor(view.up))
    center = camera.world_to_camera[0, :, :3].T @ -camera.world_to_camera[0, :, 3]
    expected = tracked.world_to_camera[0, :, :3].T @ -tracked.world_to_camera[0, :, 3]
    assert torch.allclose(center, expected, atol=1e-5)
    assert project(camera, MIDDLE) == pytest.approx((camera.width / 2, camera.height / 2), abs=1e-2)
    tracked_up = -tracked.world_to_camera[0, 1, :3]
    above, middle = project(camera, MIDDLE + 0.1 * tracked_up), project(camera, MIDDLE)
    assert above[1] < middle[1] - 10.0
    assert above[0] == pytest.approx(middle[0], abs=0.02 * camera.width)
    fx, fy, _, _ = camera.intrinsics[0].tolist()
    assert camera.width / fx >= 640 / 900 - 1e-5
    assert camera.height / fy >= 480 / 900 - 1e-5


def test_a_picture_is_shrunk_to_a_number_of_pixels_and_never_grows() -> None:
    camera = page_to_camera(page_at(tracked_camera(), 640, 480))
    small = fit_pixels(camera, 640 * 480 / 4)
    assert (small.width, small.height) == (320, 240)
    assert small.intrinsics[0].tolist() == pytest.approx([450.0, 450.0, 160.0, 120.0], rel=1e-5)
    assert fit_pixels(camera, 1e9) is camera
    assert fit_pixels(camera, 0.1).width >= 1
