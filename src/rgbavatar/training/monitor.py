"""What a run shows and saves while it trains: progress bar, curves, pictures, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from rgbavatar.io.avatar_ply import export_avatar_ply
from rgbavatar.io.checkpoint import save_checkpoint
from rgbavatar.io.images import side_by_side, to_picture
from rgbavatar.io.metrics_log import MetricsLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.metrics import psnr
from rgbavatar.trained import to_table, trained_from_checkpoint
from rgbavatar.training.trainer import StepReport, Trainer


@dataclass(frozen=True)
class TrainingSpeed:
    """What speed.txt says. seconds: from the first step to the last, with saving and logging."""

    images: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds > 0 else 0.0


class Monitor:
    """Looks at each step, and acts at the intervals of `training.*_every`, counted in images.

    latest: the numbers last read, by name, for a progress bar.
    """

    def __init__(self, trainer: Trainer, run: RunDir, log: MetricsLog) -> None:
        self._trainer = trainer
        self._run = run
        self._log = log
        self.latest: dict[str, str] = {}

    def after_step(self, report: StepReport, count: int) -> None:
        """Take note of a step on `count` images. Raises TrainingError where training has diverged."""
        settings = self._trainer.config.training
        if self._is_due(settings.log_every, count):
            self._show_numbers(report)
        if self._is_due(settings.picture_every, count):
            self._show_picture(report)
        if self._is_due(settings.checkpoint_every, count):
            self._trainer.check_finite(report)
            save_checkpoint(self._run.checkpoint, self._trainer.checkpoint())

    def _is_due(self, interval: int, count: int) -> bool:
        """Whether the last `count` images went past a multiple of `interval`."""
        seen = self._trainer.images_seen
        return seen // interval > (seen - count) // interval

    def _show_numbers(self, report: StepReport) -> None:
        self._trainer.check_finite(report)
        loss = float(report.loss)
        self.latest = {"loss": f"{loss:.4f}"}
        values = {f"loss/{name}": float(value) for name, value in report.terms.items()}
        values |= {"loss/total": loss, "psnr/train": float(psnr(report.rendering.color.detach(), report.target).mean())}
        values |= {"gaussians/seen": float(self._trainer.color_init.seen.sum())}
        self._log.scalars(self._trainer.images_seen, values)

    def _show_picture(self, report: StepReport) -> None:
        with torch.no_grad():
            pair = [to_picture(report.target[0]), to_picture(report.rendering.color[0])]
        self._log.picture(self._trainer.images_seen, "truth and avatar", side_by_side(pair))


def save_run(trainer: Trainer, run: RunDir) -> None:
    """Write the checkpoint, and model.ply from it. Raises OutputError; what was there before is kept then."""
    checkpoint = trainer.checkpoint()
    save_checkpoint(run.checkpoint, checkpoint)
    export_avatar_ply(run.ply, to_table(trained_from_checkpoint(checkpoint, str(run.checkpoint))))
