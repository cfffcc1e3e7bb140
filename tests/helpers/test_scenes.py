"""The scene makers make what they say."""

from __future__ import annotations

import math

import pytest
import torch
from gaussian_rasterization import reference

from tests.helpers import scenes, thresholds


def test_a_seed_is_one_scene() -> None:
    first, second, other = scenes.cloud(3), scenes.cloud(3), scenes.cloud(4)
    assert torch.equal(first.means, second.means)
    assert not torch.equal(first.means, other.means)


def test_most_of_a_cloud_is_seen() -> None:
    scene = scenes.cloud(images=1, gaussians=200)
    constants = (scene.world_to_camera[0], scene.intrinsics[0], scene.background[0], scene.width, scene.height)
    attributes = (scene.means[0], scene.rotations[0], scene.scales, scene.opacities, scene.colors[0])
    image = reference.render_image(*attributes, *constants)
    assert (image.shares.amax((1, 2)) > 0).double().mean() > 0.6


def test_the_image_of_a_scene_holds_that_image_alone() -> None:
    scene = scenes.cloud(images=3, cameras=3, shared=False)
    one = scene.image(1)
    assert one.images == 1
    assert torch.equal(one.means[0], scene.means[1])
    assert torch.equal(one.scales[0], scene.scales[1])
    assert torch.equal(one.intrinsics[0], scene.intrinsics[1])


def test_cameras_are_rigid() -> None:
    pose, _ = scenes.turned_cameras(scenes.generator_of(0), 4, 30, 20, 25.0)
    rotation = pose[..., :3]
    assert torch.allclose(rotation @ rotation.mT, torch.eye(3, dtype=torch.float64))
    assert torch.allclose(torch.linalg.det(rotation), torch.ones(4, dtype=torch.float64))


def test_splats_of_the_head_are_45_to_75_pixels_large() -> None:
    scene = scenes.head(images=1, gaussians=500)
    splats = reference.project(
        scene.means[0], scene.rotations[0], scene.scales, scene.world_to_camera[0], scene.intrinsics[0], 512, 512
    )
    cutoff = 2 * math.log(0.5 / reference.MIN_ALPHA)
    area = math.pi * cutoff * torch.linalg.det(splats.covariances).sqrt()
    assert splats.visible.all()
    assert 45 < area.mean() < 75


def test_clearance_finds_an_alpha_at_the_threshold() -> None:
    scene = scenes.cloud(images=1, gaussians=1, width=1, height=1)
    projected = reference.project(
        scene.means[0], scene.rotations[0], scene.scales, scene.world_to_camera[0], scene.intrinsics[0], 1, 1
    )
    offset = -projected.centers[0]
    form = offset @ torch.linalg.inv(projected.covariances[0]) @ offset
    opacity = reference.MIN_ALPHA * torch.exp(0.5 * form) * (1 + 1e-6)
    near = scenes.Scene(**{**scene.__dict__, "opacities": opacity[None]})
    assert thresholds.clearance(near) == pytest.approx(1e-6, rel=1e-3)
