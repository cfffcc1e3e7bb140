"""What a step of training showed, however it was computed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from rgbavatar.metrics import psnr
from rgbavatar.types import Rendering


class StepReport(Protocol):
    """Asking for a number may wait for the device.

    images_seen: after the step. images: of the step, over all processes. Numbers and pictures are those of this process.
    """

    @property
    def images_seen(self) -> int: ...

    @property
    def images(self) -> int: ...

    def loss(self) -> float:
        """The weighted sum of the terms."""

    def terms(self) -> dict[str, float]:
        """Each term of the loss by name, before weighting."""

    def quality(self) -> float:
        """PSNR in dB over the step's backgrounds, mean over the images, before the step's update."""

    def image_errors(self) -> Tensor:
        """Mean absolute difference of the colours of each image [B], on the CPU, before the step's update."""

    def num_invalid(self) -> int:
        """Gaussians, counted for each image, that were not drawn because a number of theirs is not finite."""

    def num_seen(self) -> int:
        """Gaussians that have a first colour, after the step or a few more."""

    def pictures(self) -> tuple[Tensor, Tensor]:
        """Truth and avatar of the step's first image, [3, H, W] each."""


@dataclass(frozen=True)
class PlainReport:
    """The report of a plain step, whose tensors lie on its device.

    rendering: before the step's update. target [B, 3, H, W]. loss_value: scalar. term_values: scalars. seen [N] bool.
    """

    images_seen: int
    images: int
    rendering: Rendering
    target: Tensor
    loss_value: Tensor
    term_values: dict[str, Tensor]
    seen: Tensor

    def loss(self) -> float:
        return float(self.loss_value)

    def terms(self) -> dict[str, float]:
        return {name: float(value) for name, value in self.term_values.items()}

    def quality(self) -> float:
        return float(psnr(self.rendering.color.detach(), self.target).mean())

    def image_errors(self) -> Tensor:
        return (self.rendering.color.detach() - self.target).abs().mean(dim=(1, 2, 3)).cpu()

    def num_invalid(self) -> int:
        return int(self.rendering.num_invalid.sum())

    def num_seen(self) -> int:
        return int(self.seen.sum())

    def pictures(self) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            return self.target[0], self.rendering.color[0]
