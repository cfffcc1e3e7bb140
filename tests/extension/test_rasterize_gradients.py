"""Gradients of rasterize(), judged by the oracle's autograd, by gradcheck, and by finite differences."""

from __future__ import annotations

from dataclasses import replace

import gaussian_rasterization as gr
import pytest
import torch

from tests.helpers import scenes, thresholds, tolerances
from tests.helpers.rasterization import NAMES, Backend, Result, loss_weights, run_kernel, run_oracle
from tests.helpers.scenes import CLOUDS, Scene, ball, stacked


def assert_gradients_close(actual: Result, expected: Result, tolerance: tolerances.Tolerance) -> None:
    for name, a, b in zip(NAMES, actual.gradients, expected.gradients, strict=True):
        tolerances.assert_close(a, b, tolerance, f"gradient to {name}")


@pytest.mark.parametrize("case", CLOUDS)
def test_gradients_equal_the_oracles(backend: Backend, case: str) -> None:
    scene = scenes.cloud(seed=1, **CLOUDS[case])
    assert thresholds.clearance(scene) > 3e-6
    scene = scene.to(backend.device, backend.dtype)
    assert_gradients_close(run_kernel(scene), run_oracle(scene), tolerances.gradient(backend.dtype))


@pytest.mark.parametrize(("cameras", "shared"), [(1, True), (2, False)])
def test_gradcheck_of_the_compiled_operator(cameras: int, shared: bool) -> None:
    scene = scenes.cloud(seed=3, gaussians=5, width=9, height=7, cameras=cameras, shared=shared)
    assert thresholds.clearance(scene) > 1e-3
    leaves = scene.requiring_grad()

    def images(*differentiable: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        out = gr.rasterize(*differentiable, *leaves.arguments()[5:])
        return out.color, out.alpha

    assert torch.autograd.gradcheck(images, leaves.differentiable(), eps=1e-6, atol=1e-6, rtol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_finite_differences_of_a_loss(name: str) -> None:
    """Along random directions, of a scene with more than one tile, in float64."""
    scene = scenes.cloud(seed=21, gaussians=12, width=25, height=20)
    assert thresholds.clearance(scene) > 1e-4
    result = run_kernel(scene)
    gradient = result.gradients[NAMES.index(name)]
    a, b = loss_weights(scene, result.color, result.alpha)

    def loss(value: torch.Tensor) -> float:
        out = gr.rasterize(*replace(scene, **{name: value}).arguments())
        return ((out.color * a).sum() + (out.alpha * b).sum()).item()

    value, step = getattr(scene, name), 1e-6
    for seed in range(3):
        direction = scenes.normal(scenes.generator_of(seed), *value.shape)
        difference = (loss(value + step * direction) - loss(value - step * direction)) / (2 * step)
        expected = (gradient * direction).sum()
        tolerances.assert_close(torch.tensor(difference), expected, tolerances.FINITE_DIFFERENCES, name)


def test_the_clamp_of_alpha_passes_the_gradient_as_if_it_were_not_there(backend: Backend) -> None:
    """Unclamped, alpha in the middle is the opacity itself, so its derivative is the loss's derivative by alpha: 1
    here."""
    scene = ball(opacity=1.0).to(backend.device, backend.dtype).requiring_grad()
    out = gr.rasterize(*scene.arguments())
    assert out.alpha[0, 0, 16, 16].item() == pytest.approx(0.99, rel=1e-6)
    out.alpha[0, 0, 16, 16].backward()
    assert scene.opacities.grad is not None
    assert scene.opacities.grad.item() == pytest.approx(1.0, rel=1e-5)


def test_clamped_layers_have_the_oracles_gradients(backend: Backend) -> None:
    scene = stacked(*[ball(x=0.02 * i, z=2.0 + 0.1 * i, opacity=0.995) for i in range(3)])
    scene = replace(scene, colors=scenes.uniform(scenes.generator_of(0), 1, 3, 3)).to(backend.device, backend.dtype)
    assert_gradients_close(run_kernel(scene), run_oracle(scene), tolerances.gradient(backend.dtype))


def test_a_wide_view_has_the_oracles_gradients_where_the_jacobian_is_clamped(backend: Backend) -> None:
    """Large Gaussians beside the image, beyond 1.3 half fields of view, that reach into it."""
    middle = ball(z=1.0)
    beside = [
        replace(ball(x=x, y=y, z=1.0, scale=0.35), background=middle.background)
        for x, y in ((0.62, 0.1), (0.05, -0.65))
    ]
    scene = stacked(middle, *beside)
    g = scenes.generator_of(4)
    scene = replace(
        scene, rotations=scenes.normal(g, 1, 3, 4), scales=scene.scales * scenes.uniform(g, 3, 3, low=0.7, high=1.3)
    )
    assert thresholds.clearance(scene) > 3e-6
    scene = scene.to(backend.device, backend.dtype)
    actual, expected = run_kernel(scene), run_oracle(scene)
    assert (expected.gradients[0][0, 1:].abs() > 1e-3).any()
    assert_gradients_close(actual, expected, tolerances.gradient(backend.dtype))


def test_two_renders_before_backward_do_not_share_buffers(backend: Backend) -> None:
    first = scenes.cloud(seed=1).to(backend.device, backend.dtype).requiring_grad()
    second = scenes.cloud(seed=2).to(backend.device, backend.dtype).requiring_grad()
    alone = run_kernel(first)
    one, two = gr.rasterize(*first.arguments()), gr.rasterize(*second.arguments())
    a, b = loss_weights(first, one.color, one.alpha)
    two.color.sum().backward()
    ((one.color * a).sum() + (one.alpha * b).sum()).backward()
    for leaf, expected in zip(first.differentiable(), alone.gradients, strict=True):
        assert leaf.grad is not None
        assert torch.equal(leaf.grad, expected)


def test_backward_twice_gives_the_same_bits(backend: Backend) -> None:
    scene = scenes.cloud(seed=4).to(backend.device, backend.dtype).requiring_grad()
    loss = gr.rasterize(*scene.arguments()).color.square().sum()
    first = torch.autograd.grad(loss, scene.differentiable(), retain_graph=True)
    second = torch.autograd.grad(loss, scene.differentiable())
    assert all(torch.equal(x, y) for x, y in zip(first, second, strict=True))


def test_gradients_of_a_batch_are_those_of_a_loop_of_singles(backend: Backend) -> None:
    scene = scenes.cloud(seed=7, images=4, cameras=4, shared=False).to(backend.device, backend.dtype)
    batch = _sum_of_squares_gradients(scene)
    singles = [_sum_of_squares_gradients(scene.image(i)) for i in range(4)]
    for i, expected in enumerate(batch):
        assert torch.equal(torch.cat([single[i] for single in singles]), expected)


def test_a_shared_attribute_gets_the_sum_over_the_batch(backend: Backend) -> None:
    scene = scenes.cloud(seed=7, images=4).to(backend.device, backend.dtype)
    batch = _sum_of_squares_gradients(scene)
    singles = [_sum_of_squares_gradients(scene.image(i)) for i in range(4)]
    for name in ("scales", "opacities"):
        i = NAMES.index(name)
        total = torch.stack([single[i] for single in singles]).double().sum(0)
        tolerances.assert_close(batch[i], total, tolerances.BATCH_GRADIENT, name)


def _sum_of_squares_gradients(scene: Scene) -> tuple[torch.Tensor, ...]:
    leaves = scene.requiring_grad()
    return torch.autograd.grad(gr.rasterize(*leaves.arguments()).color.square().sum(), leaves.differentiable())


def test_thread_count_does_not_change_a_bit() -> None:
    before = torch.get_num_threads()
    scene = scenes.cloud(seed=13, images=3, gaussians=9000, width=90, height=70).to("cpu", torch.float32)
    results = []
    try:
        for threads in (1, 2, 5):
            torch.set_num_threads(threads)
            results.append(run_kernel(scene))
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        assert torch.equal(other.color, results[0].color)
        assert torch.equal(other.alpha, results[0].alpha)
        assert all(torch.equal(x, y) for x, y in zip(other.gradients, results[0].gradients, strict=True))


@pytest.mark.parametrize("used", ["color", "alpha"])
def test_a_loss_on_one_output_alone_has_a_gradient(backend: Backend, used: str) -> None:
    scene = scenes.cloud(seed=14).to(backend.device, backend.dtype).requiring_grad()
    getattr(gr.rasterize(*scene.arguments()), used).sum().backward()
    assert scene.means.grad is not None
    assert scene.means.grad.any()


def test_only_what_requires_a_gradient_gets_one(backend: Backend) -> None:
    scene = scenes.cloud(seed=14).to(backend.device, backend.dtype)
    colors = scene.colors.clone().requires_grad_()
    gr.rasterize(*replace(scene, colors=colors).arguments()).color.sum().backward()
    assert colors.grad is not None
    assert scene.means.grad is None


def test_camera_and_background_get_no_gradient(backend: Backend) -> None:
    scene = scenes.cloud(seed=14).to(backend.device, backend.dtype).requiring_grad()
    constants = {
        name: getattr(scene, name).clone().requires_grad_() for name in ("world_to_camera", "intrinsics", "background")
    }
    gr.rasterize(*replace(scene, **constants).arguments()).color.sum().backward()
    assert all(x.grad is None for x in constants.values())


def test_gradients_of_strided_gradients_are_right(backend: Backend) -> None:
    """sum() and expand() send gradients of stride 0 back."""
    scene = scenes.cloud(seed=15).to(backend.device, backend.dtype)
    leaves, others = scene.requiring_grad(), scene.requiring_grad()
    gr.rasterize(*leaves.arguments()).color.sum().backward()
    color = gr.rasterize(*others.arguments()).color
    color.backward(torch.ones_like(color))
    assert leaves.means.grad is not None
    assert torch.equal(leaves.means.grad, others.means.grad)
