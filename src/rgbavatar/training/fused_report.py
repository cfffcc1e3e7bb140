"""Reports of fused steps. A fused step writes no pictures: where one is asked for, it is rendered then."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.losses import composite
from rgbavatar.metrics import MIN_SQUARED_ERROR
from rgbavatar.training.fused import ERROR_COLUMNS, Stretch, StretchNumbers
from rgbavatar.training.step_report import StepReport
from rgbavatar.training.trainer import Trainer


@dataclass(frozen=True)
class FusedReport:
    """One step of a stretch. errors [B, fused.ERRORS]: of the step's images.

    position: of the step's first image in the dataset. background [3]: behind it.
    """

    images_seen: int
    images: int
    errors: Tensor
    invalid: int
    seen: int
    position: int
    background: Tensor
    trainer: Trainer
    dataset: HeadDataset

    def loss(self) -> float:
        factors = self.trainer.config.loss.factors()
        return sum(factors[name] * term for name, term in self.terms().items())

    def terms(self) -> dict[str, float]:
        factors, means = self.trainer.config.loss.factors(), self._means().mean(dim=0)
        return {name: float(means[column]) for name, column in ERROR_COLUMNS.items() if factors[name] > 0.0}

    def quality(self) -> float:
        return float((-10.0 * self._means()[:, 1].clamp_min(MIN_SQUARED_ERROR).log10()).mean())

    def image_errors(self) -> Tensor:
        return self._means()[:, 0]

    def num_invalid(self) -> int:
        return self.invalid

    def num_seen(self) -> int:
        return self.seen

    @torch.no_grad()
    def pictures(self) -> tuple[Tensor, Tensor]:
        trainer = self.trainer
        batch = self.dataset.batch(torch.tensor([self.position]), trainer.device)
        background = self.background.to(trainer.device)[None]
        return composite(batch.images, background)[0], trainer.show(batch, background).color[0]

    def _means(self) -> Tensor:
        """[B, fused.ERRORS], over colours and pixels."""
        images = self.dataset.images
        return self.errors.double() / (3 * images.width * images.height)


def fused_reports(
    trainer: Trainer, dataset: HeadDataset, stretch: Stretch, numbers: StretchNumbers
) -> list[StepReport]:
    """A report for each step of the stretch with which the trainer has just finished."""
    steps, batch = stretch.positions.shape
    own = trainer.processes.part(batch).start
    first = trainer.images_seen - steps * batch
    return [
        FusedReport(
            images_seen=first + (step + 1) * batch,
            images=batch,
            errors=numbers.errors[step],
            invalid=int(numbers.num_invalid[step]),
            seen=numbers.num_seen,
            position=int(stretch.positions[step, own]),
            background=stretch.rows.background[step, own],
            trainer=trainer,
            dataset=dataset,
        )
        for step in range(steps)
    ]
