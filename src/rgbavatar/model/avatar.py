"""The avatar: base Gaussians, reduced bases, and the network that weighs them for a frame's code."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from gaussian_rasterization import blend
from torch import Tensor, nn

from rgbavatar.model.basis import GaussianBasis
from rgbavatar.model.coefficients import CoefficientNetwork, HiddenFactors, fold_scaling
from rgbavatar.model.gaussians import BaseGaussians, colors_from_sh
from rgbavatar.types import Gaussians


@dataclass(frozen=True)
class AvatarShape:
    """What fixes the sizes of an avatar's tensors: N Gaussians, K bases, C code entries, the MLP's hidden width."""

    count: int
    bases: int
    code_width: int
    hidden_width: int


class AvatarModel(nn.Module):
    """Gaussians of B frames in the triangles' frames, from the frames' codes (Eq. 3 of the paper).

    Opacity and scale are common to all frames; mean, rotation and colour are base + sum_k w_k basis_k.
    """

    def __init__(
        self, shape: AvatarShape, generator: torch.Generator, opacity: float = 0.5, scale: float = 0.0008
    ) -> None:
        super().__init__()
        self.shape = shape
        self.base = BaseGaussians(shape.count, opacity, scale)
        self.basis = GaussianBasis(shape.bases, shape.count)
        self.network = CoefficientNetwork(shape.code_width, shape.hidden_width, shape.bases, generator)

    def weights(self, codes: Tensor, hidden_factors: HiddenFactors | None = None) -> Tensor:
        """codes [B, C]. Returns the weights of the bases [B, K]. hidden_factors: of the network's hidden units."""
        weights: Tensor = self.network(codes, hidden_factors)
        return weights

    def blended(self, weights: Tensor) -> Gaussians:
        """Local Gaussians under the weights [B, K]; differentiable to base, basis and weights."""
        base, basis = self.base, self.basis
        return Gaussians(
            means=blend(base.mean, basis.mean, weights),
            rotations=blend(base.rotation, basis.rotation, weights),
            colors=colors_from_sh(blend(base.sh, basis.sh, weights)),
            scales=base.scales(),
            opacities=base.opacities(),
        )

    def unblended(self, batch_size: int) -> Gaussians:
        """The base alone, the same for every image: what trains before the bases join."""
        base = self.base
        return Gaussians(
            means=base.mean.expand(batch_size, -1, -1),
            rotations=base.rotation.expand(batch_size, -1, -1),
            colors=colors_from_sh(base.sh).expand(batch_size, -1, -1),
            scales=base.scales(),
            opacities=base.opacities(),
        )

    def take(self, state: dict[str, Tensor]) -> None:
        """Become the avatar of a state dict, limits of its codes included. Raises RuntimeError where it is of another shape."""
        self.network.limit_as(state)
        self.load_state_dict(state)

    def select(self, indices: Tensor) -> AvatarModel:
        """A copy that keeps only the Gaussians at `indices` [M] int64, as pruning leaves it.

        Its network gives the same weights, without a scaling of codes.
        """
        shape = AvatarShape(len(indices), self.shape.bases, self.shape.code_width, self.shape.hidden_width)
        chosen = AvatarModel(shape, torch.Generator()).to(indices.device)
        state = fold_scaling(self.state_dict())
        for name in state:
            if name.startswith("base."):
                state[name] = state[name][indices]
            elif name.startswith("basis."):
                state[name] = state[name][:, indices]
        chosen.take(state)
        return chosen


def parameters_in_order(model: AvatarModel) -> list[Tensor]:
    """The tensors of an avatar in the order of gaussian_rasterization.fused.VALUES."""
    base, basis = model.base, model.basis
    tensors = [base.mean, base.rotation, base.sh, base.log_scale, base.opacity_logit]
    return [*tensors, basis.mean, basis.rotation, basis.sh, *model.network.parameters()]
