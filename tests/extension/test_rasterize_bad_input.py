"""What is not finite, not a rotation, or not of a sensible size: never a crash, never a NaN in what others get."""

from __future__ import annotations

import math
from dataclasses import replace

import gaussian_rasterization as gr
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from tests.helpers import scenes, tolerances
from tests.helpers.rasterization import NAMES, Backend, render, run_kernel, run_oracle
from tests.helpers.scenes import Scene, ball, stacked

BAD = [math.nan, math.inf, -math.inf]
FUZZ = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def with_value(scene: Scene, name: str, index: tuple[int, ...], value: float) -> Scene:
    changed = getattr(scene, name).clone()
    changed[index] = value
    return replace(scene, **{name: changed})


@pytest.mark.parametrize("value", BAD)
@pytest.mark.parametrize("name", NAMES)
def test_a_gaussian_that_is_not_finite_is_left_out_and_counted(backend: Backend, name: str, value: float) -> None:
    """Oracle: the scene without that Gaussian, in the images where it is bad."""
    scene = scenes.cloud(seed=1, images=2, shared=False).to(backend.device, backend.dtype)
    index = (1, 7) if name == "opacities" else (1, 7, 0)
    result = run_kernel(with_value(scene, name, index, value))
    expected = run_kernel(with_value(scene, "opacities", (1, 7), 0.0))
    assert result.num_invalid.tolist() == [0, 1]
    assert torch.equal(result.color, expected.color)
    for of, gradient, clean in zip(NAMES, result.gradients, expected.gradients, strict=True):
        assert torch.equal(gradient, clean), of
        assert not gradient[1, 7].any(), of


def test_a_zero_quaternion_is_left_out_and_counted(backend: Backend) -> None:
    scene = scenes.cloud(seed=1).to(backend.device, backend.dtype)
    rotations = scene.rotations.clone()
    rotations[0, 3] = 0
    rotations[1, 4] = 1e-20
    result = run_kernel(replace(scene, rotations=rotations))
    assert result.num_invalid.tolist() == [1, 1]
    assert not result.gradients[0][0, 3].any()
    assert all(g.isfinite().all() for g in result.gradients)


def test_what_is_invalid_is_counted_wherever_it_is(backend: Backend) -> None:
    """Behind the camera, too: it is the attributes that are wrong."""
    behind = with_value(ball(z=-5.0), "colors", (0, 0, 1), math.nan)
    assert run_kernel(behind.to(backend.device, backend.dtype)).num_invalid.tolist() == [1]


def test_no_gaussian_is_valid(backend: Backend) -> None:
    scene = scenes.cloud(seed=1).to(backend.device, backend.dtype)
    result = run_kernel(replace(scene, means=torch.full_like(scene.means, math.nan)))
    assert result.num_invalid.tolist() == [scene.gaussians] * scene.images
    assert torch.equal(result.color, scene.background[:, :, None, None].expand_as(result.color))
    assert all(not g.any() for g in result.gradients)


@pytest.mark.parametrize("name", ["world_to_camera", "intrinsics"])
@pytest.mark.parametrize("value", [*BAD, 0.0])
def test_a_camera_that_is_none_sees_nothing_or_something_but_does_not_crash(
    backend: Backend, name: str, value: float
) -> None:
    scene = scenes.cloud(seed=2).to(backend.device, backend.dtype)
    result = run_kernel(replace(scene, **{name: torch.full_like(getattr(scene, name), value)}))
    assert result.color.isfinite().all()
    assert all(g.isfinite().all() for g in result.gradients)


@pytest.mark.parametrize("size", [1e3, 1e8, 1e20, 1e30])
def test_an_enormous_splat_is_drawn_or_left_out_but_harms_nothing(backend: Backend, size: float) -> None:
    scene = stacked(ball(), ball(z=3.0, scale=size), ball(x=0.2, z=3.0)).to(backend.device, backend.dtype)
    result = run_kernel(scene)
    assert result.color.isfinite().all()
    assert all(g.isfinite().all() for g in result.gradients)
    assert result.num_invalid.tolist() == [0]


@pytest.mark.parametrize("opacity", [1.1e6, 1e20, 2e36])
def test_an_opacity_that_no_gradient_can_hold_counts_as_not_finite(backend: Backend, opacity: float) -> None:
    scene = scenes.cloud(seed=2).to(backend.device, backend.dtype)
    result, expected = (
        run_kernel(with_value(scene, "opacities", (5,), opacity)),
        run_kernel(with_value(scene, "opacities", (5,), 0.0)),
    )
    assert result.num_invalid.tolist() == [1, 1]
    assert torch.equal(result.color, expected.color)
    bound = run_kernel(with_value(scene, "opacities", (5,), 1e6))
    assert bound.num_invalid.tolist() == [0, 0]
    assert all(g.isfinite().all() for g in (*result.gradients, *bound.gradients))


@pytest.mark.parametrize("far", [1e6, 1e15, 1e30])
@pytest.mark.parametrize("axis", [0, 1, 2])
def test_a_gaussian_far_out_is_not_drawn(backend: Backend, far: float, axis: int) -> None:
    """Screen coordinates up to 1e32 pixels: no integer may overflow on the way to finding that out."""
    for sign in (-1, 1):
        scene = with_value(ball(), "means", (0, 0, axis), sign * far).to(backend.device, backend.dtype)
        result = run_kernel(scene)
        assert result.color.isfinite().all()
        if axis < 2:
            assert not result.color.any()
        assert all(g.isfinite().all() for g in result.gradients)


def test_a_splat_wider_than_a_million_pixels_is_degenerate(backend: Backend) -> None:
    """Focal length 40 over z = 2: a scale of 40,000 is 800,000 pixels, one of 60,000 is 1,200,000."""
    assert render(ball(scale=4e4).to(backend.device, backend.dtype)).any()
    assert not render(ball(scale=6e4).to(backend.device, backend.dtype)).any()


def test_scales_of_zero_have_finite_gradients(backend: Backend) -> None:
    scene = scenes.cloud(seed=3)
    scales = scene.scales.clone()
    scales[:, 0] = 0
    scales[5] = 0
    scene = replace(scene, scales=scales).to(backend.device, backend.dtype)
    actual, expected = run_kernel(scene), run_oracle(scene)
    for name, a, b in zip(NAMES, actual.gradients, expected.gradients, strict=True):
        tolerances.assert_close(a, b, tolerances.gradient(backend.dtype), name)


ANY_NUMBER = st.one_of(
    st.floats(-3, 3, width=32),
    st.floats(width=32),
    st.sampled_from([0.0, 1.0, math.nan, math.inf, -math.inf, 1e-30, 1e30, -1e30]),
)


@FUZZ
@given(st.lists(ANY_NUMBER, min_size=56, max_size=56), st.integers(1, 40), st.integers(1, 40))
def test_any_numbers_give_finite_images_and_gradients(
    backend: Backend, numbers: list[float], width: int, height: int
) -> None:
    """Four Gaussians of 14 numbers each. An image's range: convex mixes of finite colours and the background."""
    values = torch.tensor(numbers, dtype=torch.float64).to(backend.device, backend.dtype).reshape(1, 4, 14)
    means, rotations, scales, opacities, colors = values.split([3, 4, 3, 1, 3], -1)
    pose, intrinsics = scenes.camera_at_origin(width, height, 30.0)
    place = Scene(
        means,
        rotations,
        scales[0],
        opacities[0, :, 0],
        colors.clamp(-10, 10),  # NaN stays NaN: images of colours of 1e38 may well overflow
        pose.to(values),
        intrinsics.to(values),
        torch.full((1, 3), 0.5).to(values),
        width,
        height,
    )
    scene = place.requiring_grad()
    out = gr.rasterize(*scene.arguments())
    assert out.color.isfinite().all()
    assert ((out.alpha >= 0) & (out.alpha <= 1)).all()
    assert 0 <= out.num_invalid.item() <= 4
    gradients = torch.autograd.grad(out.color.sum(), scene.differentiable())
    assert not any(g.isnan().any() for g in gradients)


def changed_argument(arguments: tuple, position: int, value: Tensor | int) -> tuple:
    return (*arguments[:position], value, *arguments[position + 1 :])


@pytest.mark.parametrize(
    ("position", "shape", "message"),
    [
        (0, (2, 6, 2), r"means has shape \[2, 6, 2\]; expected \[B, N, 3\]"),
        (0, (6, 3), r"means has shape \[6, 3\]; expected \[B, N, 3\]"),
        (1, (2, 6, 3), r"rotations has shape \[2, 6, 3\]; expected \[B = 2, N = 6, 4\]"),
        (2, (2, 3), r"scales has shape \[2, 3\]; expected \[N = 6, 3\] or \[B = 2, N = 6, 3\]"),
        (3, (6, 1), r"opacities has shape \[6, 1\]; expected \[N = 6\] or \[B = 2, N = 6\]"),
        (4, (1, 6, 3), r"colors has shape \[1, 6, 3\]; expected \[B = 2, N = 6, 3\]"),
        (5, (4, 4), r"world_to_camera has shape \[4, 4\]; expected \[C = 1, 3, 4\] or \[C = 2, 3, 4\]"),
        (6, (2, 4), r"intrinsics has shape \[2, 4\]; expected \[C = 1, 4\]"),
        (7, (3,), r"background has shape \[3\]; expected \[B = 2, 3\]"),
    ],
)
def test_a_wrong_shape_is_named(device: str, position: int, shape: tuple[int, ...], message: str) -> None:
    arguments = scenes.cloud(gaussians=6).to(device, torch.float32).arguments()
    with pytest.raises(ValueError, match=message):
        gr.rasterize(*changed_argument(arguments, position, torch.zeros(shape, device=device)))


@pytest.mark.parametrize("position", range(1, 8))
def test_a_wrong_type_is_named(device: str, position: int) -> None:
    arguments = scenes.cloud(gaussians=6).to(device, torch.float32).arguments()
    names = (*NAMES, "world_to_camera", "intrinsics", "background")
    with pytest.raises(TypeError, match=f"{names[position]} is Double; expected Float"):
        gr.rasterize(*changed_argument(arguments, position, arguments[position].double()))


def test_a_type_no_kernel_has_is_named(device: str) -> None:
    arguments = scenes.cloud(gaussians=6).to(device, torch.float16).arguments()
    with pytest.raises(TypeError, match="means is Half; expected float32"):
        gr.rasterize(*arguments)


@pytest.mark.parametrize(("width", "height"), [(0, 5), (5, -1), (40_000, 5)])
def test_an_impossible_image_size_is_named(device: str, width: int, height: int) -> None:
    scene = replace(scenes.cloud(gaussians=6), width=width, height=height).to(device, torch.float32)
    with pytest.raises(ValueError, match=f"the image is {width} x {height} pixels"):
        gr.rasterize(*scene.arguments())


@pytest.mark.gpu
def test_a_tensor_on_another_device_is_named(backend: Backend) -> None:
    if backend.device == "cpu":
        pytest.skip("needs two devices")
    arguments = scenes.cloud(gaussians=6).to(backend.device, backend.dtype).arguments()
    with pytest.raises(ValueError, match="rotations is on cpu; expected cuda:0"):
        gr.rasterize(*changed_argument(arguments, 1, arguments[1].cpu()))
