"""What training minimises. Images are [B, 3, H, W] float in [0, 1]; K blendshapes weigh [B, K]; N Gaussians.

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
from rgbavatar.metrics import LpipsMetric, ssim
from rgbavatar.types import Rendering

_LEVEL = 1.0 / 255.0  # one step of an 8-bit image
_MIN_SQUARED_NORM = 1e-20  # keeps the gradient of an all-zero basis finite


@dataclass(frozen=True)
class LossWeights:
    """The factor of each term of the loss; a term of weight 0 is not computed. ssim_after: images before its term joins."""

    l1: float = 1.0
    ssim: float = 0.0
    lpips: float = 0.0
    alpha: float = 0.0
    sparsity: float = 0.0
    orthogonality: float = 0.0
    ssim_after: int = 0

    def __post_init__(self) -> None:
        for name, value in asdict(self).items():
            if not 0.0 <= value < float("inf"):
                raise ConfigError(f"loss weight {name} is {value}, expected a finite number of at least 0")
        given = {name for name, factor in self.factors().items() if factor > 0.0}
        if not given:
            raise ConfigError(
                "all loss weights are 0, so there is nothing to learn; give at least one, such as l1: 1.0"
            )
        if given == {"ssim"} and self.ssim_after > 0:
            raise ConfigError(
                f"loss weight ssim is the only one and joins after {self.ssim_after} images, so there is nothing to learn "
                f"before; give another, such as l1: 1.0, or set loss.ssim_after to 0"
            )

    def factors(self) -> dict[str, float]:
        """The factor of each term, by its name."""
        return {name: getattr(self, name) for name in _TERMS}

    def at(self, images_seen: int) -> LossWeights:
        """Those after so many images: without the terms that have not joined."""
        return self if images_seen >= self.ssim_after else replace(self, ssim=0.0, ssim_after=0)


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


def total_loss(
    rendering: Rendering,
    target: Tensor,
    target_alpha: Tensor,
    weights: LossWeights,
    *,
    blend_weights: Tensor | None = None,
    bases: Sequence[Tensor] = (),
    lpips: LpipsMetric | None = None,
) -> tuple[Tensor, dict[str, Tensor]]:
    """The weighted sum of the terms, and each term before weighting, detached, for the log.

    target [B, 3, H, W]: composited over the rendering's background. target_alpha [B, 1, H, W]: the head mask.
    blend_weights [B, K], bases (each [K, N, D]) and lpips are needed only by the terms sparsity, orthogonality and lpips.
    """
    check_image_pair(rendering.color, target)
    arguments: dict[str, tuple[Any, ...]] = {
        "l1": (rendering.color, target),
        "ssim": (rendering.color, target),
        "lpips": (rendering.color, target, lpips),
        "alpha": (rendering.alpha, target_alpha),
        "sparsity": (blend_weights,),
        "orthogonality": (bases or None,),
    }
    factors = {name: factor for name, factor in weights.factors().items() if factor > 0.0}
    terms = {name: _compute_term(name, arguments[name]) for name in factors}
    loss = torch.stack([factors[name] * terms[name] for name in factors]).sum()
    return loss, {name: term.detach() for name, term in terms.items()}


def _mean_orthogonality(bases: Sequence[Tensor]) -> Tensor:
    return torch.stack([basis_orthogonality(basis) for basis in bases]).mean()


_TERMS: Mapping[str, Any] = {
    "l1": l1_loss,
    "ssim": ssim_loss,
    "lpips": lpips_loss,
    "alpha": alpha_loss,
    "sparsity": weight_sparsity,
    "orthogonality": _mean_orthogonality,
}


def _compute_term(name: str, arguments: tuple[Any, ...]) -> Tensor:
    if any(argument is None for argument in arguments):
        raise ValueError(f"the loss term {name!r} has a weight, but total_loss was not given what it needs")
    return _TERMS[name](*arguments)
