"""Online training: the avatar grows while frames arrive.

Three threads: one takes frames from the source, one trains, and this one shows how it goes, hears signals and saves.
"""

from __future__ import annotations

import sys
from contextlib import ExitStack
from dataclasses import dataclass

from tqdm import tqdm

from rgbavatar.cli import Tell
from rgbavatar.datasets.stream import FrameSource
from rgbavatar.errors import DataError, RgbAvatarError, Stopped
from rgbavatar.io.images import save_png
from rgbavatar.io.metrics_log import MetricsLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.intake import FrameIntake
from rgbavatar.training.monitor import Curves, TrainingSpeed
from rgbavatar.training.observer import Observer, Show, observe_nothing, show_nothing
from rgbavatar.training.stop_signal import PauseSignal, StopSignal
from rgbavatar.training.stream_records import QualityRecord, SampleRecord
from rgbavatar.training.stream_training import HELD_FRAMES, Outputs, StreamTraining
from rgbavatar.training.timed_saver import TimedSaver, save_patiently
from rgbavatar.training.trainer import Trainer

_SHOW_SECONDS = 0.1  # between two looks at how it goes
_PREVIEW_SECONDS = 1.0  # between two previews
_TOLD_PROBLEMS = 20  # broken frames that get a line each; all are counted


@dataclass(frozen=True)
class OnlineReport:
    """How a run went. speed: of all training; arrived, dropped, skipped: frames; stream_*: until the stream ended."""

    speed: TrainingSpeed
    arrived: int
    dropped: int
    skipped: int
    stream_seconds: float
    stream_images: int

    def lines(self) -> dict[str, int | float]:
        """For speed.txt."""
        return {
            "frames_arrived": self.arrived,
            "frames_dropped": self.dropped,
            "frames_skipped": self.skipped,
            "stream_seconds": self.stream_seconds,
            "images_during_stream": self.stream_images,
        }


def train_online(
    trainer: Trainer,
    source: FrameSource,
    run: RunDir,
    log: MetricsLog,
    *,
    resumes: bool = False,
    view: bool = False,
    observer: Observer = observe_nothing,
    show: Show = show_nothing,
) -> OnlineReport:
    """Train beside a stream until it ends, then `online.post_process_epochs` over what is held, and save.

    resumes: records are appended to. view: keep preview.png up to date. observer, show: see rgbavatar.training.observer.
    Raises Stopped after a signal, with the state saved; DataError where no frame came; TrainingError where training diverges,
    with the last good checkpoint kept; OutputError where the disk stays full.
    """
    with StopSignal() as stop:
        with ExitStack() as stack:
            bar = stack.enter_context(tqdm(total=source.expected, unit="frame", desc=source.subject, mininterval=0.5))
            tell = _teller(bar)
            outputs = _open_outputs(stack, trainer, run, log, tell, resumes, observer)
            intake = FrameIntake(source, HELD_FRAMES)
            training = StreamTraining(trainer, source, intake, outputs)
            stack.enter_context(PauseSignal(training.toggle_pause))
            stack.enter_context(intake)
            training.start()
            _attend(training, intake, stop, bar, tell, run if view else None, show)
            seconds = training.seconds
        if training.error is not None:
            raise training.error
        _require_training(training, intake, source, stop)
        save_patiently(trainer, run, tell, lambda: stop.requested)
        _raise_unless_ended(intake, stop, run, tell)
    return OnlineReport(
        TrainingSpeed(training.images, seconds),
        intake.arrived,
        intake.dropped,
        intake.skipped,
        training.stream_seconds,
        training.stream_images,
    )


def _teller(bar: tqdm) -> Tell:
    def tell(line: str) -> None:
        bar.write(line, file=sys.stderr)

    return tell


def _open_outputs(
    stack: ExitStack,
    trainer: Trainer,
    run: RunDir,
    log: MetricsLog,
    tell: Tell,
    resumes: bool,
    observer: Observer,
) -> Outputs:
    settings = trainer.config
    samples = None
    if settings.online.record_samples:
        record = SampleRecord(run.samples, settings.training.batch_size, resumes, tell)
        samples = stack.enter_context(record)
    return Outputs(
        curves=Curves(trainer, log),
        saver=stack.enter_context(TimedSaver(trainer, run, tell)),
        quality=stack.enter_context(QualityRecord(run.quality, resumes, tell)),
        samples=samples,
        observer=observer,
    )


def _attend(
    training: StreamTraining,
    intake: FrameIntake,
    stop: StopSignal,
    bar: tqdm,
    tell: Tell,
    preview: RunDir | None,
    show: Show,
) -> None:
    """Show how training goes until it has ended."""
    told, last_preview = 0, 0.0
    while not training.wait(_SHOW_SECONDS):
        if stop.requested:
            training.stop()
        told = _tell_problems(intake, told, tell)
        show(_show(training, intake, bar))
        if preview is not None and training.seconds - last_preview > _PREVIEW_SECONDS:
            last_preview = training.seconds
            _write_preview(training, preview, tell)
    _tell_problems(intake, told, tell)
    show(_show(training, intake, bar))


def _show(training: StreamTraining, intake: FrameIntake, bar: tqdm) -> dict[str, object]:
    """Show the numbers in the bar. Returns them."""
    quality, seconds = training.running_quality, training.seconds
    shown: dict[str, object] = {
        "images": training.images,
        "images/s": f"{training.images / seconds:.0f}" if seconds > 0 else "0",
    }
    shown |= {"dropped": intake.dropped} | ({"broken": intake.skipped} if intake.skipped else {})
    shown |= {"psnr": f"{quality:.2f}"} if quality is not None else {}
    shown |= {"paused": "yes"} if training.is_paused else {}
    bar.n = intake.arrived
    bar.set_postfix(shown, refresh=False)
    bar.update(0)
    return {"frames": intake.arrived, **shown}


def _tell_problems(intake: FrameIntake, told: int, tell: Tell) -> int:
    """Tell of the broken frames since the last call. Returns how many there were in all."""
    skipped, problems = intake.skipped, list(intake.problems)
    for count, problem in enumerate(problems, start=skipped - len(problems)):  # broken frames before it
        if told <= count < _TOLD_PROBLEMS:
            tell(f"warning: skipped a frame: {problem}")
    return skipped


def _write_preview(training: StreamTraining, run: RunDir, tell: Tell) -> None:
    picture = training.take_picture()
    if picture is None:
        return
    try:
        save_png(run.preview, picture)
    except RgbAvatarError as error:
        tell(f"warning: {error}")


def _require_training(training: StreamTraining, intake: FrameIntake, source: FrameSource, stop: StopSignal) -> None:
    """Raise where there is nothing to save."""
    if training.has_trained:
        return
    if stop.requested:
        raise Stopped(stop.number, "stopped before a frame came; nothing was trained")
    if intake.failure is not None and not isinstance(intake.failure, OSError):
        raise intake.failure
    reason = intake.failure or (intake.problems[-1] if intake.problems else "the stream ended, or nothing came in time")
    raise DataError(f"{source.subject}: no frame came ({reason}); expected one at least")


def _raise_unless_ended(intake: FrameIntake, stop: StopSignal, run: RunDir, tell: Tell) -> None:
    """All is saved: say how the stream ended, where it did not end by itself."""
    failure = intake.failure
    if isinstance(failure, (RgbAvatarError, OSError)):
        tell(f"warning: the stream broke off: {failure}")
    elif failure is not None:
        raise failure
    if stop.requested:
        raise Stopped(stop.number, f"stopped after {intake.arrived} frames of the stream; {run.path} is saved")
