"""The target colours that rasterize_with_color_sums() gathers."""

from __future__ import annotations

import gaussian_rasterization as gr
import pytest
import torch
from gaussian_rasterization import reference
from torch import Tensor

from tests.helpers import scenes, tolerances
from tests.helpers.rasterization import Backend, run_kernel
from tests.helpers.scenes import Scene, ball


def random_targets(scene: Scene, seed: int = 0) -> Tensor:
    """[B, H, W, 4] uint8, of every mask level."""
    shape = (scene.images, scene.height, scene.width, 4)
    return torch.randint(0, 256, shape, generator=scenes.generator_of(seed), dtype=torch.uint8)


def plain_targets(scene: Scene, *rgba: int) -> Tensor:
    return torch.tensor(rgba, dtype=torch.uint8).expand(scene.images, scene.height, scene.width, 4)


def sums_of(scene: Scene, targets: Tensor, unseen: Tensor | None = None) -> gr.ColorSums:
    unseen = torch.ones(scene.gaussians, dtype=torch.bool) if unseen is None else unseen
    device = scene.means.device
    return gr.rasterize_with_color_sums(*scene.arguments(), targets.to(device), unseen.to(device))[1]


def share_clearance(scene: Scene) -> float:
    """Least distance of a share to the threshold 0.1, where the sums jump."""
    shares = torch.stack([image.shares for image in reference._images(*scene.arguments())])
    return (shares - reference.MIN_SEEN_WEIGHT).abs().min().item()


@pytest.mark.parametrize("cameras", [1, 3])
def test_sums_equal_the_oracles(backend: Backend, cameras: int) -> None:
    scene = scenes.cloud(seed=1, images=3, gaussians=30, width=35, height=27, cameras=cameras)
    assert share_clearance(scene) > 1e-6
    targets = random_targets(scene)
    unseen = scenes.uniform(scenes.generator_of(1), 30) < 0.7
    rgb, weight = reference.color_sums(*scene.arguments(), target_images=targets, unseen=unseen)
    assert (weight > 0).sum() > 10
    sums = sums_of(scene.to(backend.device, backend.dtype), targets, unseen)
    tolerances.assert_close(sums.rgb, rgb, tolerances.color(backend.dtype), "rgb")
    tolerances.assert_close(sums.weight, weight, tolerances.color(backend.dtype), "weight")


def test_the_ratio_of_the_sums_is_the_colour_of_a_plain_target(backend: Backend) -> None:
    scene = ball().to(backend.device, backend.dtype)
    sums = sums_of(scene, plain_targets(scene, 51, 102, 255, 255))
    ratio = (sums.rgb / sums.weight[:, None]).double().cpu()
    tolerances.assert_close(ratio, torch.tensor([[0.2, 0.4, 1.0]]), tolerances.COLOR_FLOAT32)


def test_the_weight_is_the_sum_of_alphas_above_a_tenth(backend: Backend) -> None:
    scene = ball().to(backend.device, backend.dtype)
    sums = sums_of(scene, plain_targets(scene, 0, 0, 0, 255))
    alpha = gr.rasterize(*scene.arguments()).alpha
    tolerances.assert_close(sums.weight, alpha[alpha > 0.1].sum()[None], tolerances.COLOR_FLOAT32)


@pytest.mark.parametrize(("mask", "counted"), [(0, False), (127, False), (128, True), (255, True)])
def test_only_foreground_pixels_count(backend: Backend, mask: int, counted: bool) -> None:
    scene = ball().to(backend.device, backend.dtype)
    assert bool(sums_of(scene, plain_targets(scene, 9, 9, 9, mask)).weight.any()) is counted


def test_gaussians_already_seen_get_zero(backend: Backend) -> None:
    scene = scenes.cloud(seed=2).to(backend.device, backend.dtype)
    targets = plain_targets(scene, 255, 255, 255, 255)
    everyone, nobody = sums_of(scene, targets), sums_of(scene, targets, torch.zeros(scene.gaussians, dtype=torch.bool))
    assert everyone.weight.any()
    assert not nobody.weight.any()
    assert not nobody.rgb.any()


def test_the_sums_of_a_batch_are_those_of_its_images(backend: Backend) -> None:
    scene = scenes.cloud(seed=3, images=3, cameras=3, shared=False).to(backend.device, backend.dtype)
    targets = random_targets(scene)
    singles = [sums_of(scene.image(i), targets[i : i + 1]) for i in range(3)]
    total = torch.stack([single.weight.double() for single in singles]).sum(0)
    tolerances.assert_close(sums_of(scene, targets).weight, total, tolerances.BATCH_GRADIENT)


def test_images_and_gradients_are_those_of_a_plain_render(backend: Backend) -> None:
    scene = scenes.cloud(seed=4).to(backend.device, backend.dtype)
    plain = run_kernel(scene)
    leaves = scene.requiring_grad()
    unseen = torch.ones(scene.gaussians, dtype=torch.bool, device=backend.device)
    out, sums = gr.rasterize_with_color_sums(*leaves.arguments(), random_targets(scene).to(backend.device), unseen)
    assert torch.equal(out.color, plain.color)
    assert torch.equal(out.alpha, plain.alpha)
    assert not sums.rgb.requires_grad
    out.color.sum().backward()
    others = scene.requiring_grad()
    gr.rasterize(*others.arguments()).color.sum().backward()
    for a, b in zip(leaves.differentiable(), others.differentiable(), strict=True):
        assert torch.equal(a.grad, b.grad)  # type: ignore[arg-type]


def test_thread_count_does_not_change_a_bit() -> None:
    before = torch.get_num_threads()
    scene = scenes.cloud(seed=5, images=3, gaussians=5000, width=70, height=60).to("cpu", torch.float32)
    targets, results = random_targets(scene), []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            results.append(sums_of(scene, targets))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0].rgb, results[1].rgb)
    assert torch.equal(results[0].weight, results[1].weight)


def test_an_empty_scene_has_empty_sums(backend: Backend) -> None:
    scene = scenes.cloud(gaussians=0).to(backend.device, backend.dtype)
    sums = sums_of(scene, random_targets(scene))
    assert sums.rgb.shape == (0, 3)
    assert sums.weight.shape == (0,)


def test_a_wrong_target_is_named(device: str) -> None:
    scene = scenes.cloud(gaussians=3, width=8, height=6).to(device, torch.float32)
    targets, unseen = random_targets(scene).to(device), torch.ones(3, dtype=torch.bool, device=device)
    with pytest.raises(
        ValueError, match=r"target_images has shape \[2, 6, 8, 3\]; expected \[B = 2, H = 6, W = 8, 4\]"
    ):
        gr.rasterize_with_color_sums(*scene.arguments(), targets[..., :3], unseen)
    with pytest.raises(TypeError, match="target_images is Float; expected Byte"):
        gr.rasterize_with_color_sums(*scene.arguments(), targets.float(), unseen)
    with pytest.raises(ValueError, match=r"unseen has shape \[2\]; expected \[N = 3\]"):
        gr.rasterize_with_color_sums(*scene.arguments(), targets, unseen[:2])
    with pytest.raises(TypeError, match="unseen is Byte; expected Bool"):
        gr.rasterize_with_color_sums(*scene.arguments(), targets, unseen.byte())
