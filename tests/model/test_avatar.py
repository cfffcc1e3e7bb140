from __future__ import annotations

import pytest
import torch
from gaussian_rasterization import ColorSums

from rgbavatar.config import OptimizerConfig
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.model.color_init import ColorInitializer
from rgbavatar.model.gaussians import colors_from_sh, sh_from_colors
from rgbavatar.training.optimizer import Pace, image_progress, learning_rates, make_optimizer, mean_rate

SHAPE = AvatarShape(count=7, bases=3, code_width=5, hidden_width=6)


def make_model(seed: int = 0) -> AvatarModel:
    model = AvatarModel(SHAPE, torch.Generator().manual_seed(seed))
    generator = torch.Generator().manual_seed(seed + 1)
    for parameter in model.basis.parameters():
        parameter.data.copy_(torch.randn(parameter.shape, generator=generator))
    return model


def test_a_new_avatar_has_the_published_first_values() -> None:
    model = AvatarModel(SHAPE, torch.Generator())
    gaussians = model.blended(torch.ones(2, 3))
    assert torch.equal(gaussians.means, torch.zeros(2, 7, 3))
    assert torch.equal(gaussians.rotations[1, 4], torch.tensor([1.0, 0.0, 0.0, 0.0]))
    assert torch.allclose(gaussians.opacities, torch.full((7,), 0.5))
    assert torch.allclose(gaussians.scales, torch.full((7, 3), 0.0008))
    assert torch.equal(gaussians.colors, torch.full((2, 7, 3), 0.5))


def test_attributes_are_the_base_plus_the_weighted_bases() -> None:
    model = make_model()
    weights = torch.tensor([[0.5, -2.0, 0.0], [0.0, 0.0, 3.0]])
    gaussians = model.blended(weights)
    for image in range(2):
        expected = model.base.mean.clone()
        for k in range(3):
            expected = expected + weights[image, k] * model.basis.mean[k]
        assert torch.allclose(gaussians.means[image], expected, atol=1e-6)


def test_without_weights_blended_is_unblended() -> None:
    model = make_model()
    blended, plain = model.blended(torch.zeros(2, 3)), model.unblended(2)
    assert torch.equal(blended.means, plain.means)
    assert torch.equal(blended.rotations, plain.rotations)
    assert torch.equal(blended.colors, plain.colors)


def test_colors_and_harmonics_are_inverse_and_never_negative() -> None:
    colors = torch.linspace(0.0, 1.5, 12).reshape(4, 3)
    assert torch.allclose(colors_from_sh(sh_from_colors(colors)), colors, atol=1e-6)
    assert float(colors_from_sh(torch.full((1, 3), -5.0)).max()) == 0.0


def test_selection_keeps_the_chosen_gaussians_and_the_network() -> None:
    model = make_model()
    chosen = model.select(torch.tensor([5, 0]))
    codes = torch.randn(2, 5, generator=torch.Generator().manual_seed(9))
    whole, part = model.blended(model.weights(codes)), chosen.blended(chosen.weights(codes))
    assert chosen.shape.count == 2
    assert torch.allclose(part.means, whole.means[:, [5, 0]], atol=1e-6)
    assert torch.equal(part.scales, whole.scales[[5, 0]])


def test_the_network_is_drawn_from_its_own_generator() -> None:
    torch_state = torch.random.get_rng_state()
    first, second, other = (AvatarModel(SHAPE, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    codes = torch.ones(1, 5)
    assert torch.equal(first.weights(codes), second.weights(codes))
    assert not torch.equal(first.weights(codes), other.weights(codes))
    assert torch.equal(torch.random.get_rng_state(), torch_state)


def test_a_first_color_needs_enough_weight_and_comes_once() -> None:
    initializer = ColorInitializer(torch.tensor([False, False, True]))
    rgb = torch.tensor([[0.2, 0.1, 0.0], [0.04, 0.04, 0.04], [9.0, 9.0, 9.0]])
    sh = torch.zeros(3, 3)
    initializer.apply(ColorSums(rgb, torch.tensor([0.4, 0.08, 10.0])), sh)
    assert torch.allclose(colors_from_sh(sh[0]), torch.tensor([0.5, 0.25, 0.0]), atol=1e-6)
    assert torch.equal(sh[1:], torch.zeros(2, 3))
    assert initializer.seen.tolist() == [True, False, True]


def test_the_rate_of_the_means_falls_linearly_in_its_logarithm() -> None:
    config = OptimizerConfig()
    rates = [mean_rate(config, image_progress(config, images)) for images in (0, 15_000, 30_000, 90_000)]
    assert rates == pytest.approx([8e-4, 8e-5, 8e-6, 8e-6])


def test_every_parameter_has_a_rate_and_the_published_one() -> None:
    model = make_model()
    optimizer = make_optimizer(model, OptimizerConfig())
    grouped = [id(parameter) for group in optimizer.param_groups for parameter in group["params"]]
    assert sorted(grouped) == sorted(id(parameter) for parameter in model.parameters())
    rates = learning_rates(OptimizerConfig(), Pace(0.0))
    assert rates == pytest.approx(
        {"mean": 8e-4, "rotation": 0.005, "color": 0.0125, "opacity": 0.25, "scale": 0.025, "mlp": 1e-3}
        | {"basis_mean": 4e-5, "basis_rotation": 0.0025, "basis_color": 0.00625}
    )
    assert {group["name"]: group["lr"] for group in optimizer.param_groups} == rates
