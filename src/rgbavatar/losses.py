"""What training minimises. Images are [B, 3, H, W] float in [0, 1]; K blendshapes weigh [B, K]; N Gaussians.

*Neighbours* of a Gaussian [N, 2] int64: those that follow it along u and along v on the UV map; itself where there is none.

Alpha is straight: an image composites over a background as `alpha rgb + (1 - alpha) background`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from rgbavatar.checks import check_image_pair, check_same_shape, describe
from rgbavatar.errors import ConfigError
from rgbavatar.metrics import LpipsMetric, similarity, ssim
from rgbavatar.types import Rendering

_LEVEL = 1.0 / 255.0  # one step of an 8-bit image
_MIN_SQUARED_NORM = 1e-20  # keeps the gradient of an all-zero basis finite
# Of the numbers of trained bases, root mean square, for 20 k Gaussians: metres, quaternion, spherical harmonic.
_BASIS_SIZES = (3e-4, 0.1, 0.2)
_JOINING_LATER = ("ssim", "lpips")
BLOCK = (4, 8)  # rows and columns of the blocks that `block_ssim` is of: the pixels of a warp on a GPU


@dataclass(frozen=True)
class LossWeights:
    """The factor of each term of the loss; a term of weight 0 is not computed. NAME_after: images before a term joins."""

    l1: float = 1.0
    ssim: float = 0.0
    block_ssim: float = 0.0
    lpips: float = 0.0
    alpha: float = 0.0
    sparsity: float = 0.0
    orthogonality: float = 0.0
    smooth_weights: float = 0.0
    smooth_bases: float = 0.0
    region: float = 0.0
    ssim_after: int = 0
    lpips_after: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 <= value < float("inf"):
                raise ConfigError(f"loss weight {name} is {value}, expected a finite number of at least 0")
        given = {name for name, factor in self.factors().items() if factor > 0.0}
        if not given:
            raise ConfigError(
                "all loss weights are 0, so there is nothing to learn; give at least one, such as l1: 1.0"
            )
        later = {name for name in _JOINING_LATER if getattr(self, f"{name}_after") > 0}
        if given <= later:
            names = " and ".join(sorted(given))
            raise ConfigError(
                f"no loss weight but that of {names} is above 0, which joins after some images, so there is nothing to learn "
                f"before; give another, such as l1: 1.0, or set loss.{min(given)}_after to 0"
            )

    def factors(self) -> dict[str, float]:
        """The factor of each term, by its name."""
        return {name: getattr(self, name) for name in _TERMS}

    def at(self, images_seen: int) -> LossWeights:
        """Those after so many images: without the terms that have not joined."""
        waiting = [name for name in _JOINING_LATER if images_seen < getattr(self, f"{name}_after")]
        if not waiting:
            return self
        changes: dict[str, Any] = dict.fromkeys(waiting, 0.0) | {f"{name}_after": 0 for name in _JOINING_LATER}
        return replace(self, **changes)


def composite(images: Tensor, background: Tensor) -> Tensor:
    """Lay images over one colour each.

    images [B, H, W, 4] uint8, straight alpha; background [B, 3] in [0, 1]. Returns [B, 3, H, W] float32.
    """
    if images.ndim != 4 or images.shape[3] != 4 or images.dtype != torch.uint8:
        raise ValueError(f"images is {describe(images)}, expected uint8 [B, H, W, 4]")
    planes = images.permute(0, 3, 1, 2)
    alpha = planes[:, 3:].float().mul_(_LEVEL)
    behind = background.to(torch.float32)[:, :, None, None]
    result = torch.empty(alpha.shape[0], 3, *alpha.shape[2:], device=images.device)
    result.copy_(planes[:, :3])
    return result.mul_(_LEVEL).sub_(behind).mul_(alpha).add_(behind)


def target_alpha(images: Tensor) -> Tensor:
    """The head mask of images [B, H, W, 4] uint8, as [B, 1, H, W] float32 in [0, 1]."""
    return images[..., 3].unsqueeze(1).to(torch.float32).mul_(_LEVEL)


def l1_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """The mean absolute difference of two tensors of one shape, as a scalar."""
    check_same_shape("prediction", prediction, "target", target)
    return functional.l1_loss(prediction, target)


def ssim_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """One minus the mean structural similarity (see rgbavatar.metrics.ssim), as a scalar."""
    return 1.0 - ssim(prediction, target).mean()


def block_ssim_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """One minus the mean structural similarity of blocks of 4 rows and 8 columns that tile the pictures, as a scalar.

    `rgbavatar.metrics.similarity` over the pixels of a block in place of a sliding window. A block is as many pixels as the
    weights of a window amount to (1 over the sum of their squares is 28). Blocks at the right and lower edge may have fewer, and
    count less.
    """
    height, width = prediction.shape[2:]
    rows, columns = -(-height // BLOCK[0]), -(-width // BLOCK[1])
    inside = _in_blocks(prediction.new_ones(1, 1, height, width), rows, columns)
    pixels = inside.sum(dim=-1, keepdim=True)
    ours, theirs = _in_blocks(prediction, rows, columns), _in_blocks(target, rows, columns)
    mean_1, mean_2 = (blocks.sum(dim=-1, keepdim=True) / pixels for blocks in (ours, theirs))
    first, second = (ours - mean_1) * inside, (theirs - mean_2) * inside
    variances = (first * first + second * second).sum(dim=-1, keepdim=True) / pixels
    covariance = (first * second).sum(dim=-1, keepdim=True) / pixels
    likeness = similarity(mean_1 * mean_2, mean_1 * mean_1 + mean_2 * mean_2, covariance, variances)
    return 1.0 - (likeness * pixels).sum() / (prediction.shape[0] * prediction.shape[1] * height * width)


def _in_blocks(images: Tensor, rows: int, columns: int) -> Tensor:
    """[B, C, H, W] as [B, C, rows, columns, pixels of a block], 0 beyond the images."""
    beyond = (0, columns * BLOCK[1] - images.shape[3], 0, rows * BLOCK[0] - images.shape[2])
    blocks = functional.pad(images, beyond).unflatten(3, (columns, BLOCK[1])).unflatten(2, (rows, BLOCK[0]))
    return blocks.transpose(3, 4).flatten(4)


def lpips_loss(prediction: Tensor, target: Tensor, lpips: LpipsMetric) -> Tensor:
    """The mean perceptual distance, as a scalar."""
    return lpips(prediction, target).mean()


def alpha_loss(alpha: Tensor, target: Tensor) -> Tensor:
    """The mean absolute difference of coverage and head mask, both [B, 1, H, W] in [0, 1]."""
    return l1_loss(alpha, target)


def weight_sparsity(weights: Tensor) -> Tensor:
    """The mean magnitude of the blendshape weights [B, K]."""
    return weights.abs().mean()


def basis_orthogonality(basis: Tensor) -> Tensor:
    """The mean squared cosine between different blendshapes, as a scalar; 0 where K is 1.

    basis [K, N, D]: the off-diagonal of the Gram matrix of its normalised rows. An all-zero one counts as orthogonal.
    """
    count = basis.shape[0]
    if count < 2:
        return basis.sum() * 0.0
    flat = basis.flatten(1)
    gram = flat @ flat.T
    norms = (gram.diagonal() + _MIN_SQUARED_NORM).sqrt()
    cosines = gram / (norms[:, None] * norms[None, :])
    off_diagonal = cosines - torch.diag_embed(cosines.diagonal())
    return off_diagonal.square().sum() / (count * (count - 1))


def weight_smoothness(steps: Tensor) -> Tensor:
    """The mean square of the changes [B, K] of the blendshape weights from each frame to the next one."""
    return steps.square().mean()


def region_loss(prediction: Tensor, target: Tensor, shares: Tensor) -> Tensor:
    """The absolute difference of images times shares [B, 1, H, W] of their pixels in [0, 1], mean over all pixels and colours."""
    return ((prediction - target).abs() * shares).mean()


def basis_smoothness(basis: Tensor, neighbors: Tensor) -> Tensor:
    """The mean squared difference between the numbers of Gaussians that are neighbours, as a scalar; 0 where none are.

    basis [K, N, D]; neighbors [N, 2]. Mean over K, pairs and D.
    """
    pairs = (neighbors != torch.arange(len(neighbors), device=neighbors.device)[:, None]).sum()
    squares = [(basis.index_select(1, next_ones) - basis).square().sum() for next_ones in neighbors.unbind(1)]
    return torch.stack(squares).sum() / (basis.shape[0] * basis.shape[2] * pairs.clamp_min(1))


def total_loss(
    rendering: Rendering,
    target: Tensor,
    target_alpha: Tensor,
    weights: LossWeights,
    *,
    blend_weights: Tensor | None = None,
    bases: Sequence[Tensor] = (),
    weight_steps: Tensor | None = None,
    neighbors: Tensor | None = None,
    region_shares: Tensor | None = None,
    lpips: LpipsMetric | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms, and each term before weighting, detached, for the log.

    target [B, 3, H, W]: composited over the rendering's background. target_alpha [B, 1, H, W]: the head mask.
    blend_weights [B, K], bases (of mean, rotation and sh, each [K, N, D]) and lpips are needed only by the terms sparsity,
    orthogonality and lpips; weight_steps [B, K], how the weights change to the next frame, by smooth_weights; bases and
    neighbors [N, 2] by smooth_bases; region_shares [B, 1, H, W], how much each pixel belongs to the region, by region.
    """
    check_image_pair(rendering.color, target)
    arguments: dict[str, tuple[Any, ...]] = {
        "l1": (rendering.color, target),
        "ssim": (rendering.color, target),
        "block_ssim": (rendering.color, target),
        "lpips": (rendering.color, target, lpips),
        "alpha": (rendering.alpha, target_alpha),
        "sparsity": (blend_weights,),
        "orthogonality": (bases or None,),
        "smooth_weights": (weight_steps,),
        "smooth_bases": (bases or None, neighbors),
        "region": (rendering.color, target, region_shares),
    }
    factors = {name: factor for name, factor in weights.factors().items() if factor > 0.0}
    terms = {name: _compute_term(name, arguments[name]) for name in factors}
    loss = torch.stack([factors[name] * terms[name] for name in factors]).sum()
    return loss, {name: term.detach() for name, term in terms.items()}


def _mean_orthogonality(bases: Sequence[Tensor]) -> Tensor:
    return torch.stack([basis_orthogonality(basis) for basis in bases]).mean()


def _mean_smoothness(bases: Sequence[Tensor], neighbors: Tensor) -> Tensor:
    """Of mean, rotation and colour, each in units of its usual size, so that none drowns the others."""
    parts = [basis_smoothness(basis, neighbors) / size**2 for basis, size in zip(bases, _BASIS_SIZES, strict=True)]
    return torch.stack(parts).mean()


_TERMS: Mapping[str, Any] = {
    "l1": l1_loss,
    "ssim": ssim_loss,
    "block_ssim": block_ssim_loss,
    "lpips": lpips_loss,
    "alpha": alpha_loss,
    "sparsity": weight_sparsity,
    "orthogonality": _mean_orthogonality,
    "smooth_weights": weight_smoothness,
    "smooth_bases": _mean_smoothness,
    "region": region_loss,
}


def _compute_term(name: str, arguments: tuple[Any, ...]) -> Tensor:
    if any(argument is None for argument in arguments):
        raise ValueError(f"the loss term {name!r} has a weight, but total_loss was not given what it needs")
    return _TERMS[name](*arguments)
