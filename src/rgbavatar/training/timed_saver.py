"""Saving an online run: at intervals of time, whatever the speed, and so that a full disk costs nothing that was trained.

A checkpoint that cannot be written is told of once and tried again later; training goes on. At the end, the run waits for the
disk as long as the configuration allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType

from rgbavatar.cli import Tell
from rgbavatar.errors import OutputError
from rgbavatar.io.checkpoint_writer import CheckpointWriter
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.monitor import save_run
from rgbavatar.training.step_report import StepReport
from rgbavatar.training.trainer import Trainer

RETRY_SECONDS = 2.0  # between two attempts to write to a disk that was full


class TimedSaver:
    """A context in which checkpoints are written every `online.checkpoint_seconds`; leaving it waits for the last one.

    tell: takes a line for the user.
    """

    def __init__(self, trainer: Trainer, run: RunDir, tell: Tell) -> None:
        self._trainer = trainer
        self._writer = CheckpointWriter(run.checkpoint)
        self._tell = tell
        self._last = time.monotonic()

    def __enter__(self) -> TimedSaver:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
        except OutputError as failure:
            self._tell(f"warning: {failure}")

    def when_due(self, report: StepReport | None) -> None:
        """Begin to write a checkpoint where it is time. The trainer stands still; report: of a step before.

        Raises TrainingError where training has diverged: the file then keeps what was good.
        """
        now = time.monotonic()
        if report is None or self._writer.is_writing:
            return
        try:
            self._writer.raise_failure()
            if now - self._last < self._trainer.config.online.checkpoint_seconds:
                return
            self._last = now
            self._trainer.check_finite(report)
            self._writer.write(self._trainer.checkpoint())
        except OutputError as failure:
            self._tell(f"warning: {failure}; training goes on, the last checkpoint is kept")


def save_patiently(trainer: Trainer, run: RunDir, tell: Tell, gives_up: Callable[[], bool]) -> None:
    """Write the run's files; where the disk refuses, try again for `online.save_patience_seconds`, or until `gives_up`.

    Raises OutputError; what was there before is kept then.
    """
    patience = trainer.config.online.save_patience_seconds
    until, told = time.monotonic() + patience, False
    while True:
        try:
            save_run(trainer, run)
            return
        except OutputError as failure:
            if time.monotonic() + RETRY_SECONDS > until or gives_up():
                raise
            if not told:
                tell(f"{failure}; trying again for {patience:.0f} s, Ctrl-C gives up")
                told = True
        time.sleep(RETRY_SECONDS)
