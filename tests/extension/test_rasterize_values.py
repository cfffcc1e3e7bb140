"""What rasterize() draws, judged by the dense oracle and by hand-made cases."""

from __future__ import annotations

import math
from dataclasses import replace

import gaussian_rasterization as gr
import pytest
import torch
from torch import Tensor

from tests.helpers import scenes, thresholds, tolerances
from tests.helpers.rasterization import Backend, render, run_kernel, run_oracle
from tests.helpers.scenes import CLOUDS, ball, stacked, tinted


@pytest.mark.parametrize("case", CLOUDS)
def test_images_equal_the_oracles(backend: Backend, case: str) -> None:
    scene = scenes.cloud(seed=1, **CLOUDS[case])
    assert thresholds.clearance(scene) > 3e-6
    scene = scene.to(backend.device, backend.dtype)
    actual, expected = run_kernel(scene), run_oracle(scene)
    tolerances.assert_close(actual.color, expected.color, tolerances.color(backend.dtype), "color")
    tolerances.assert_close(actual.alpha, expected.alpha, tolerances.color(backend.dtype), "alpha")
    assert actual.num_invalid.tolist() == expected.num_invalid.tolist()


def test_a_ball_is_a_gaussian_of_its_projected_width(backend: Backend) -> None:
    """Closed form on the optical axis: variance (focal scale / z)^2 + 0.3."""
    image = render(ball().to(backend.device, backend.dtype))
    variance = (40 * 0.05 / 2) ** 2 + 0.3
    d = torch.arange(33, dtype=torch.float64) - 16
    expected = 0.8 * torch.exp(-0.5 * (d[:, None] ** 2 + d**2) / variance)
    expected = torch.where(expected >= 1 / 255, expected, 0)
    tolerances.assert_close(image[0, 3], expected, tolerances.color(backend.dtype))
    tolerances.assert_close(image[0, 0], expected, tolerances.color(backend.dtype))


def test_the_background_shows_through(backend: Backend) -> None:
    scene = replace(ball(), background=torch.tensor([[0.2, 0.5, 1.0]], dtype=torch.float64))
    image = render(scene.to(backend.device, backend.dtype)).double().cpu()[0]
    expected = image[3] + (1 - image[3]) * scene.background[0, :, None, None]
    tolerances.assert_close(image[:3], expected, tolerances.color(backend.dtype))


def test_an_empty_scene_is_the_background(backend: Backend) -> None:
    scene = scenes.cloud(gaussians=0).to(backend.device, backend.dtype)
    out = gr.rasterize(*scene.arguments())
    assert torch.equal(out.color, scene.background[:, :, None, None].expand_as(out.color))
    assert not out.alpha.any()
    assert not out.num_invalid.any()


def test_a_batch_of_no_images_gives_none(backend: Backend) -> None:
    scene = scenes.cloud(images=0, gaussians=5).to(backend.device, backend.dtype)
    result = run_kernel(scene)
    assert result.color.shape == (0, 3, scene.height, scene.width)
    assert all(not g.any() for g in result.gradients)


@pytest.mark.parametrize("z", [-1.0, 0.0, 0.1, 0.2])
def test_nothing_at_or_behind_the_near_plane_is_drawn(backend: Backend, z: float) -> None:
    result = run_kernel(ball(z=z).to(backend.device, backend.dtype))
    assert not result.color.any()
    assert result.num_invalid.tolist() == [0]
    assert all(not g.any() for g in result.gradients)


def test_just_beyond_the_near_plane_is_drawn(backend: Backend) -> None:
    assert render(ball(z=0.21, scale=0.001).to(backend.device, backend.dtype)).any()


@pytest.mark.parametrize(("x", "y"), [(100.0, 0.0), (0.0, -100.0), (-3.0, 3.0)])
def test_a_gaussian_out_of_view_changes_nothing(backend: Backend, x: float, y: float) -> None:
    assert not render(ball(x=x, y=y).to(backend.device, backend.dtype)).any()


def test_fainter_than_a_level_is_not_drawn(backend: Backend) -> None:
    assert not render(ball(opacity=0.99 / 255).to(backend.device, backend.dtype)).any()
    assert render(ball(opacity=1.01 / 255).to(backend.device, backend.dtype)).any()


def test_the_nearer_one_covers_the_farther_one_whatever_their_order(backend: Backend) -> None:
    red, green = tinted(ball(z=2.0), 1, 0, 0), tinted(ball(z=3.0, scale=0.075), 0, 1, 0)
    first = render(stacked(red, green).to(backend.device, backend.dtype))
    second = render(stacked(green, red).to(backend.device, backend.dtype))
    assert torch.equal(first, second)
    middle = first[0, :, 16, 16].double().cpu()
    tolerances.assert_close(middle, torch.tensor([0.8, 0.2 * 0.8, 0.0, 0.96]), tolerances.color(torch.float32))


def test_at_equal_depth_the_lower_index_is_in_front(backend: Backend) -> None:
    red, green = tinted(ball(), 1, 0, 0), tinted(ball(), 0, 1, 0)
    for scene, front in ((stacked(red, green), 0), (stacked(green, red), 1)):
        middle = render(scene.to(backend.device, backend.dtype))[0, :, 16, 16].double().cpu()
        assert middle[front].item() == pytest.approx(0.8, rel=1e-5)
        assert middle[1 - front].item() == pytest.approx(0.16, rel=1e-5)


def test_many_at_one_depth_composite_in_the_order_of_their_indices(backend: Backend) -> None:
    scene = scenes.cloud(seed=2, images=1, gaussians=60)
    scene = replace(scene, means=torch.cat([scene.means[..., :2], torch.full_like(scene.means[..., 2:], 2.0)], -1))
    assert thresholds.clearance(scene) > 3e-6
    scene = scene.to(backend.device, backend.dtype)
    tolerances.assert_close(run_kernel(scene).color, run_oracle(scene).color, tolerances.color(backend.dtype))


def test_a_pixel_finishes_before_its_transmittance_falls_under_the_floor(backend: Backend) -> None:
    """Alpha 0.9 each: 1, 0.1, 0.01, 0.001, 1e-4 (not under the floor, up to rounding, so 0.91 keeps clear of it)."""
    layers = [ball(z=2.0 + 0.1 * i, opacity=0.91) for i in range(6)]
    alpha = render(stacked(*layers).to(backend.device, backend.dtype))[0, 3, 16, 16].item()
    assert alpha == pytest.approx(1 - 0.09**3, rel=1e-6)


def test_opacity_is_clamped_under_one(backend: Backend) -> None:
    for opacity in (1.0, 5.0):
        alpha = render(ball(opacity=opacity).to(backend.device, backend.dtype))[0, 3, 16, 16].item()
        assert alpha == pytest.approx(0.99, rel=1e-6)


def test_the_length_of_a_quaternion_does_not_matter(backend: Backend) -> None:
    scene = scenes.cloud(seed=5).to(backend.device, backend.dtype)
    longer = replace(scene, rotations=scene.rotations * 4)
    assert torch.equal(render(scene), render(longer))


def test_the_sign_of_a_scale_does_not_matter(backend: Backend) -> None:
    scene = scenes.cloud(seed=5).to(backend.device, backend.dtype)
    assert torch.equal(render(scene), render(replace(scene, scales=-scene.scales)))


def test_a_point_is_drawn_as_the_blur(backend: Backend) -> None:
    image = render(ball(scale=0.0).to(backend.device, backend.dtype))[0, 3, 16].double().cpu()
    assert image[17].item() == pytest.approx(0.8 * math.exp(-0.5 / 0.3), rel=1e-5)


def test_a_splat_reaches_exactly_one_pixel_of_the_next_tile(backend: Backend) -> None:
    """Closed form: a ball on the axis of column 12, so opaque that column 16 of its row is above 1/255 by a tenth, and
    nothing else there."""
    variance = (40 * 0.05 / 2) ** 2 + 0.3
    opacity = 1.1 / 255 * math.exp(0.5 * 16 / variance)
    scene = ball(opacity=opacity)
    scene = replace(scene, intrinsics=torch.tensor([[40.0, 40.0, 12.5, 5.5]], dtype=torch.float64))
    alpha = render(scene.to(backend.device, backend.dtype))[0, 3]
    assert alpha[:, 16:].count_nonzero() == 1
    assert alpha[5, 16].item() == pytest.approx(1.1 / 255, rel=1e-4)


def test_thin_diagonal_ellipses_lose_no_pixel_to_culling(backend: Backend) -> None:
    g = scenes.generator_of(6)
    scene = scenes.cloud(seed=6, images=1, gaussians=30, width=75, height=66)
    thin = torch.tensor([0.3, 0.0005, 0.0005], dtype=torch.float64).expand(30, 3)
    scene = replace(scene, scales=thin * scenes.uniform(g, 30, 1, low=0.3))
    assert thresholds.clearance(scene) > 3e-6
    scene = scene.to(backend.device, backend.dtype)
    tolerances.assert_close(run_kernel(scene).alpha, run_oracle(scene).alpha, tolerances.color(backend.dtype))


def test_a_batch_equals_a_loop_of_singles_to_the_last_bit(backend: Backend) -> None:
    scene = scenes.cloud(seed=7, images=4, cameras=4, shared=False).to(backend.device, backend.dtype)
    singles = torch.cat([render(scene.image(i)) for i in range(4)])
    assert torch.equal(render(scene), singles)


def test_a_common_camera_equals_one_for_each_image(backend: Backend) -> None:
    scene = scenes.cloud(seed=8, images=3).to(backend.device, backend.dtype)
    repeated = replace(
        scene, world_to_camera=scene.world_to_camera.expand(3, -1, -1), intrinsics=scene.intrinsics.expand(3, -1)
    )
    assert torch.equal(render(scene), render(repeated))


def test_memory_layout_does_not_matter(backend: Backend) -> None:
    def scattered(x: Tensor) -> Tensor:
        return (
            torch.stack([x, torch.full_like(x, torch.nan)], -1).transpose(0, -1).contiguous().transpose(0, -1)[..., 0]
        )

    scene = scenes.cloud(seed=9).to(backend.device, backend.dtype)
    strided = scene._map(scattered)
    assert not strided.means.is_contiguous()
    assert torch.equal(render(scene), render(strided))


def test_two_runs_give_the_same_bits(backend: Backend) -> None:
    scene = scenes.cloud(seed=10, gaussians=100).to(backend.device, backend.dtype)
    assert torch.equal(render(scene), render(scene))


def test_arguments_are_left_as_they_were(backend: Backend) -> None:
    scene = scenes.cloud(seed=11).to(backend.device, backend.dtype)
    before = scene._map(torch.clone)
    run_kernel(scene)
    assert all(torch.equal(x, y) for x, y in zip(scene.arguments()[:8], before.arguments()[:8], strict=True))


@pytest.mark.gpu
def test_a_side_stream_gives_the_same_image() -> None:
    _need_cuda(1)
    scene = scenes.cloud(seed=12).to("cuda", torch.float32)
    expected = render(scene)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        actual = render(scene)
    stream.synchronize()
    assert torch.equal(actual, expected)


@pytest.mark.gpu
def test_a_second_device_gives_the_same_image() -> None:
    _need_cuda(2)
    scene = scenes.cloud(seed=12)
    assert torch.equal(render(scene.to("cuda:0", torch.float32)).cpu(), render(scene.to("cuda:1", torch.float32)).cpu())


def _need_cuda(devices: int) -> None:
    if torch.cuda.device_count() < devices or "cuda" not in gr.backends():
        pytest.skip(f"needs the CUDA backend and {devices} CUDA devices")
