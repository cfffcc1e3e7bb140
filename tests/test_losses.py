"""Losses, judged by loops in numpy and by finite differences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch import Tensor

from rgbavatar import losses
from rgbavatar.errors import ConfigError
from rgbavatar.losses import LossWeights, composite, l1_loss, target_alpha, total_loss
from rgbavatar.metrics import ssim
from rgbavatar.types import Rendering


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def random_rgba(count: int, height: int, width: int) -> Tensor:
    images = torch.randint(0, 256, (count, height, width, 4), dtype=torch.uint8, generator=generator())
    images[:, 0, :, 3] = 0
    images[:, 1, :, 3] = 255
    return images


def composite_by_loops(images: np.ndarray, background: np.ndarray) -> np.ndarray:
    count, height, width, _ = images.shape
    result = np.empty((count, 3, height, width))
    for b, y, x, c in itertools.product(range(count), range(height), range(width), range(3)):
        alpha = images[b, y, x, 3] / 255
        result[b, c, y, x] = images[b, y, x, c] / 255 * alpha + background[b, c] * (1 - alpha)
    return result


def test_compositing_is_straight_alpha_over_each_images_own_background() -> None:
    images, background = random_rgba(3, 5, 7), torch.rand(3, 3, generator=generator())
    found = composite(images, background)
    assert found.dtype == torch.float32
    assert found.is_contiguous()
    # float32 rounds three times at values up to 1: 2e-7 at most
    np.testing.assert_allclose(found, composite_by_loops(images.numpy(), background.numpy()), rtol=0, atol=3e-7)


def test_compositing_reads_views_and_other_float_types_and_leaves_them_alone() -> None:
    images, background = random_rgba(4, 6, 8), torch.rand(4, 3, generator=generator(), dtype=torch.float64)
    before = images.clone()
    view = images[::2, :, ::2]
    found = composite(view, background[::2])
    np.testing.assert_allclose(found, composite_by_loops(view.numpy(), background[::2].numpy()), rtol=0, atol=3e-7)
    assert torch.equal(images, before)


def test_the_background_shows_exactly_where_alpha_is_zero() -> None:
    images, background = random_rgba(1, 4, 9), torch.rand(1, 3, generator=generator())
    assert torch.equal(composite(images, background)[0, :, 0], background[0][:, None].expand(3, 9))


@pytest.mark.parametrize("images", [torch.zeros(1, 4, 4, 4), torch.zeros(1, 4, 4, 3, dtype=torch.uint8)])
def test_compositing_refuses_other_images(images: Tensor) -> None:
    with pytest.raises(ValueError, match=r"expected uint8 \[B, H, W, 4\]"):
        composite(images, torch.zeros(1, 3))


def test_the_target_alpha_is_the_mask_in_unit_range() -> None:
    images = random_rgba(2, 3, 4)
    found = target_alpha(images)
    assert found.shape == (2, 1, 3, 4)
    np.testing.assert_allclose(found[:, 0], images[..., 3].numpy() / 255, atol=1e-7)


def test_l1_is_the_mean_difference_and_its_gradient_the_sign() -> None:
    first, second = torch.rand(2, 2, 3, 5, 6, generator=generator(), dtype=torch.float64)
    second[0, 0, 0, :3] = first[0, 0, 0, :3]  # where the gradient is 0
    loss = l1_loss(first.requires_grad_(), second)
    loss.backward()
    difference = first.detach().numpy() - second.numpy()
    assert loss.item() == pytest.approx(np.abs(difference).mean(), rel=1e-12)
    np.testing.assert_allclose(first.grad, np.sign(difference) / difference.size, rtol=1e-12)


def test_tensors_that_would_broadcast_are_our_mistake() -> None:
    with pytest.raises(ValueError, match="expected one shape"):
        l1_loss(torch.zeros(2, 3, 4, 4), torch.zeros(1, 3, 4, 4))
    with pytest.raises(ValueError, match="expected one shape"):
        losses.alpha_loss(torch.zeros(2, 1, 4, 4), torch.zeros(2, 4, 4))


def orthogonality_by_loops(basis: np.ndarray) -> float:
    rows = [row.ravel() for row in basis]
    pairs = [(a, b) for a, b in itertools.product(range(len(rows)), repeat=2) if a != b]
    cosines = [rows[a] @ rows[b] / (np.linalg.norm(rows[a]) * np.linalg.norm(rows[b])) for a, b in pairs]
    return float(np.mean(np.square(cosines)))


@pytest.mark.parametrize("width", [3, 4])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_orthogonality_is_the_mean_squared_cosine_between_bases(width: int, scale: float) -> None:
    basis = scale * torch.randn(5, 7, width, generator=generator(), dtype=torch.float64)
    assert losses.basis_orthogonality(basis).item() == pytest.approx(orthogonality_by_loops(basis.numpy()), rel=1e-6)
    assert torch.autograd.gradcheck(losses.basis_orthogonality, (basis / scale).requires_grad_())


def test_orthogonal_bases_cost_nothing_and_equal_ones_cost_one() -> None:
    basis = torch.eye(6, dtype=torch.float64).reshape(6, 2, 3)
    assert losses.basis_orthogonality(basis).item() == pytest.approx(0, abs=1e-12)
    assert losses.basis_orthogonality(basis[:1].expand(4, 2, 3)).item() == pytest.approx(1, rel=1e-12)


@pytest.mark.parametrize("count", [1, 4])
def test_bases_of_zero_as_at_the_start_have_a_finite_gradient(count: int) -> None:
    basis = torch.zeros(count, 5, 3, requires_grad=True)
    loss = losses.basis_orthogonality(basis)
    loss.backward()
    assert loss.item() == 0
    assert basis.grad is not None
    assert torch.equal(basis.grad, torch.zeros_like(basis))


def smoothness_by_loops(basis: np.ndarray, beside: list[list[int]]) -> float:
    squares = [
        float((basis[k, other, d] - basis[k, own, d]) ** 2)
        for k, own, d in itertools.product(*map(range, basis.shape))
        for other in beside[own]
        if other != own
    ]
    return sum(squares) / len(squares)


def test_bases_without_neighbours_are_smooth() -> None:
    basis = torch.randn(2, 5, 3, generator=generator())
    assert float(losses.basis_smoothness(basis, torch.arange(5)[:, None].expand(5, 2))) == 0.0


def make_rendering() -> tuple[Rendering, Tensor, Tensor]:
    color, target = torch.rand(2, 2, 3, 16, 17, generator=generator(), dtype=torch.float64)
    alpha, mask = torch.rand(2, 2, 1, 16, 17, generator=generator(), dtype=torch.float64)
    rendering = Rendering(color.requires_grad_(), alpha.requires_grad_(), torch.zeros(2, dtype=torch.int32))
    return rendering, target, mask


def block_ssim_by_loops(first: np.ndarray, second: np.ndarray) -> float:
    """Of pictures [B, 3, H, W], by numpy's own variances of each block, each counted by its pixels."""
    count, channels, height, width = first.shape
    total = 0.0
    for b, c, y, x in itertools.product(range(count), range(channels), range(0, height, 4), range(0, width, 8)):
        ours, theirs = (image[b, c, y : y + 4, x : x + 8].astype(float).ravel() for image in (first, second))
        (variance, covariance), (_, other) = np.cov(ours, theirs, bias=True)
        means = 2 * ours.mean() * theirs.mean() + 1e-4, ours.mean() ** 2 + theirs.mean() ** 2 + 1e-4
        total += len(ours) * means[0] * (2 * covariance + 9e-4) / (means[1] * (variance + other + 9e-4))
    return total / first.size


def test_the_similarity_of_blocks_is_that_of_their_pixels() -> None:
    """Sizes that are no multiples of a block's."""
    ours, theirs = torch.rand(2, 2, 3, 10, 21, generator=generator(), dtype=torch.float64)
    expected = 1 - block_ssim_by_loops(ours.numpy(), theirs.numpy())
    assert losses.block_ssim_loss(ours, theirs).item() == pytest.approx(expected, rel=1e-9)
    assert losses.block_ssim_loss(ours, ours).item() == pytest.approx(0.0, abs=1e-12)
    assert losses.block_ssim_loss(torch.ones_like(ours), torch.ones_like(ours)).item() == pytest.approx(0.0, abs=1e-12)
    assert torch.autograd.gradcheck(losses.block_ssim_loss, (ours.requires_grad_(), theirs))


def test_the_total_is_the_weighted_sum_of_its_terms() -> None:
    rendering, target, mask = make_rendering()
    blend, basis = torch.randn(2, 4, generator=generator()), torch.randn(4, 6, 3, generator=generator())
    bases, beside = (basis, 2 * basis, 0.5 * basis), torch.tensor([[1, 2], [2, 1], [2, 5], [3, 3], [4, 4], [5, 0]])
    weights = LossWeights(
        l1=0.8, ssim=0.2, block_ssim=0.6, lpips=0.3, alpha=0.5, sparsity=0.01, orthogonality=0.1, smooth_weights=0.4,
        smooth_bases=1e-7, region=0.7,
    )  # fmt: skip
    loss, terms = total_loss(
        rendering, target, mask, weights, blend_weights=blend, bases=bases, weight_steps=3 * blend, neighbors=beside,
        region_shares=mask,
        lpips=lambda a, b: (a - b).square().mean(dim=(1, 2, 3)),  # type: ignore[arg-type]
    )  # fmt: skip
    color, alpha = rendering.color.detach(), rendering.alpha.detach()
    expected = {
        "l1": (color - target).abs().mean().item(),
        "ssim": 1 - ssim(color, target).mean().item(),
        "block_ssim": 1 - block_ssim_by_loops(color.numpy(), target.numpy()),
        "lpips": (color - target).square().mean().item(),
        "alpha": (alpha - mask).abs().mean().item(),
        "sparsity": blend.abs().mean().item(),
        "orthogonality": orthogonality_by_loops(basis.numpy()),
        "smooth_weights": 9 * (blend.double() ** 2).mean().item(),
        "smooth_bases": smoothness_by_loops(basis.numpy(), beside.tolist())
        * (1 / 0.0003**2 + 4 / 0.1**2 + 0.25 / 0.2**2)
        / 3,
    }
    expected["region"] = ((color - target).abs() * mask).mean().item()
    assert {name: term.item() for name, term in terms.items()} == pytest.approx(expected, rel=1e-5)
    assert loss.item() == pytest.approx(
        sum(getattr(weights, name) * value for name, value in expected.items()), rel=1e-5
    )
    assert loss.requires_grad
    assert not any(term.requires_grad for term in terms.values())


def test_a_term_of_weight_zero_is_not_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in set(losses._TERMS) - {"l1"}:
        monkeypatch.setitem(losses._TERMS, name, pytest.fail)
    rendering, target, mask = make_rendering()
    loss, terms = total_loss(rendering, target, mask, LossWeights())
    assert list(terms) == ["l1"]
    assert loss.item() == terms["l1"].item()


def test_gradients_reach_colour_and_alpha() -> None:
    rendering, target, mask = make_rendering()
    loss, _ = total_loss(rendering, target, mask, LossWeights(ssim=1, alpha=1))
    loss.backward()
    assert rendering.color.grad.abs().sum() > 0
    assert rendering.alpha.grad.abs().sum() > 0


@pytest.mark.parametrize("name", ["lpips", "sparsity", "orthogonality", "smooth_weights", "smooth_bases", "region"])
def test_a_term_without_its_input_is_our_mistake(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' has a weight"):
        total_loss(*make_rendering(), LossWeights(**{name: 0.1}))


@pytest.mark.parametrize("wrong", [{"l1": -1.0}, {"ssim": float("nan")}, {"alpha": float("inf")}, {"l1": 0.0}])
def test_weights_that_cannot_be_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=r"loss weight"):
        LossWeights(**wrong)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_compositing_and_the_total_agree_between_cpu_and_gpu() -> None:
    images, background = random_rgba(2, 16, 17), torch.rand(2, 3, generator=generator())
    found = composite(images.cuda(), background.cuda())
    torch.testing.assert_close(found.cpu(), composite(images, background), rtol=0, atol=3e-7)
    rendering, target, mask = make_rendering()
    moved = Rendering(*(tensor.detach().cuda() for tensor in (rendering.color, rendering.alpha, rendering.num_invalid)))
    weights = LossWeights(ssim=0.2, alpha=0.1)
    ours, theirs = (
        total_loss(*args, weights)[0] for args in ((rendering, target, mask), (moved, target.cuda(), mask.cuda()))
    )
    torch.testing.assert_close(theirs.cpu(), ours)
