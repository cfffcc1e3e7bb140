"""What a run shows and saves while it trains: numbers for a progress bar, curves, pictures, checkpoints."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType

from rgbavatar.io.avatar_ply import export_avatar_ply
from rgbavatar.io.checkpoint import move_to_cpu, save_checkpoint
from rgbavatar.io.checkpoint_writer import CheckpointWriter
from rgbavatar.io.images import side_by_side, to_picture
from rgbavatar.io.metrics_log import MetricsLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.trained import checkpoint_table
from rgbavatar.training.step_report import StepReport
from rgbavatar.training.trainer import Trainer


@dataclass(frozen=True)
class TrainingSpeed:
    """What speed.txt says. seconds: from the first step to the last, with saving and logging."""

    images: int
    seconds: float

    @property
    def images_per_second(self) -> float:
        return self.images / self.seconds if self.seconds > 0 else 0.0


class Curves:
    """Logs numbers and pictures of steps at the intervals `training.log_every` and `training.picture_every`, in images.

    latest: the numbers last read, by name, for a progress bar.
    """

    def __init__(self, trainer: Trainer, log: MetricsLog) -> None:
        self._trainer = trainer
        self._log = log
        self.latest: dict[str, str] = {}

    def after_step(self, report: StepReport) -> None:
        """Take note of a step. Raises TrainingError where training has diverged."""
        settings = self._trainer.config.training
        if _is_due(settings.log_every, report):
            self._show_numbers(report)
        if _is_due(settings.picture_every, report):
            self._show_picture(report)

    def _show_numbers(self, report: StepReport) -> None:
        self._trainer.check_finite(report)
        loss = report.loss()
        self.latest = {"loss": f"{loss:.4f}"}
        values = {f"loss/{name}": value for name, value in report.terms().items()}
        values |= {"loss/total": loss, "psnr/train": report.quality()}
        values |= {"gaussians/seen": float(report.num_seen())}
        self._log.scalars(report.images_seen, values)

    def _show_picture(self, report: StepReport) -> None:
        pair = [to_picture(image) for image in report.pictures()]
        self._log.picture(report.images_seen, "truth and avatar", side_by_side(pair))


class Monitor:
    """Curves, and checkpoints at the interval `training.checkpoint_every`, counted in images.

    Checkpoints are written beside training; leaving the context waits for the last one, so that what is saved after it is not
    overwritten.
    """

    def __init__(self, trainer: Trainer, run: RunDir, log: MetricsLog, ends_at: int | None = None) -> None:
        """ends_at: images after which the run ends, where that is known. The checkpoint due there is left to save_run."""
        self._trainer = trainer
        self._curves = Curves(trainer, log)
        self._ends_at = ends_at
        self._writer = CheckpointWriter(run.checkpoint)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, traceback)

    @property
    def latest(self) -> dict[str, str]:
        """Those of the curves."""
        return self._curves.latest

    def after_step(self, report: StepReport) -> None:
        """Take note of a step. Raises TrainingError where training has diverged, OutputError where a checkpoint failed."""
        self._writer.raise_failure()
        self._curves.after_step(report)
        if _is_due(self._trainer.config.training.checkpoint_every, report) and not self._has_ended(report):
            self._trainer.check_finite(report)
            if self._trainer.processes.is_first:
                self._writer.write(self._trainer.checkpoint())

    def _has_ended(self, report: StepReport) -> bool:
        return self._ends_at is not None and report.images_seen >= self._ends_at


def _is_due(interval: int, report: StepReport) -> bool:
    """Whether the step went past a multiple of `interval`."""
    return report.images_seen // interval > (report.images_seen - report.images) // interval


def save_run(trainer: Trainer, run: RunDir) -> None:
    """Write the checkpoint, and model.ply from it; of several processes, the first does.

    Raises OutputError; what was there before is kept then. A monitor of the run must have been left before, or a checkpoint
    of its own might come after this one.
    """
    if not trainer.processes.is_first:
        return
    checkpoint = move_to_cpu(trainer.checkpoint())
    save_checkpoint(run.checkpoint, checkpoint)
    export_avatar_ply(run.ply, checkpoint_table(checkpoint, str(run.checkpoint)))
