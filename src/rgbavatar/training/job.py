"""A training run from its command line: all that can be wrong is found before a result of an earlier run is touched."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import torch

from rgbavatar.check.before_training import check_before_training
from rgbavatar.cli import choose_device, say
from rgbavatar.config import Config, config_to_yaml, load_config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.stream import ReplaySource
from rgbavatar.errors import ConfigError
from rgbavatar.io.files import write_text
from rgbavatar.io.metrics_log import MetricsLog, open_log
from rgbavatar.io.run_dir import RunDir, create_run_dir, open_run_dir, run_path
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.training.length import fit_length
from rgbavatar.training.monitor import TrainingSpeed
from rgbavatar.training.processes import Processes, joined_processes
from rgbavatar.training.report import write_speed_report
from rgbavatar.training.setup import build_trainer, resume_trainer
from rgbavatar.training.trainer import Trainer


class Frames(Protocol):
    """What to train on: a HeadDataset, or a FrameSource."""

    @property
    def template(self) -> HeadTemplate: ...

    def close(self) -> None: ...


F = TypeVar("F", bound=Frames)


@dataclass(frozen=True)
class TrainingJob(Generic[F]):
    """Everything that a training loop works on."""

    trainer: Trainer
    frames: F
    run: RunDir
    log: MetricsLog
    device: torch.device

    def report(self, speed: TrainingSpeed, more: Mapping[str, int | float] | None = None) -> None:
        """Write speed.txt, with more lines if given, and say where the results lie; of several processes, the first does."""
        if not self.trainer.processes.is_first:
            return
        write_speed_report(self.run.speed, speed, self.trainer, self.device, more or {})
        if self.trainer.refinement is not None:
            say(f"tracking refined: {self.trainer.refinement.describe()}")
        say(
            f"trained on {speed.images} images, {speed.images_per_second:.1f} images/s; the avatar is in {self.run.path}"
        )


@contextmanager
def training_job(
    arguments: argparse.Namespace, open_frames: Callable[[Config, torch.device], F]
) -> Iterator[TrainingJob[F]]:
    """Build the job that the arguments describe, on what `open_frames` opens; all is closed when the context ends.

    A resumed run keeps its own configuration, under the --set arguments; --config is not read then.
    """
    config = _load_run_config(arguments)
    device = choose_device(arguments.device)
    with ExitStack() as stack:
        processes = stack.enter_context(joined_processes(device))
        _check_batch(config, processes)
        frames = open_frames(config, device)
        stack.callback(frames.close)
        if config.dataset.check and processes.is_first:
            _check_recorded(frames)
        recorded = frames if isinstance(frames, HeadDataset) else None
        if recorded is not None:
            config = fit_length(config, len(recorded))
        trainer = build_trainer(config, frames.template, device, processes, recorded)
        run = _open_run(arguments, processes)
        if arguments.resume:
            resume_trainer(trainer, run.checkpoint)
        if processes.is_first:
            write_text(run.config, config_to_yaml(config))
        log = open_log(run.log if arguments.log and processes.is_first else None)
        stack.callback(log.close)
        yield TrainingJob(trainer, frames, run, log, device)


def _check_recorded(frames: Frames) -> None:
    """Raise DataError where the mesh of recorded frames misses their masks; a live stream shows it by itself."""
    recorded = frames.dataset if isinstance(frames, ReplaySource) else frames
    if isinstance(recorded, HeadDataset):
        check_before_training(recorded)


def _check_batch(config: Config, processes: Processes) -> None:
    size = config.training.batch_size
    if size % processes.count:
        raise ConfigError(
            f"training.batch_size is {size}, expected a multiple of the {processes.count} processes, which share each batch"
        )


def _open_run(arguments: argparse.Namespace, processes: Processes) -> RunDir:
    """The run's folder, made by the first process; the others wait for it."""
    place = (Path(arguments.output_dir), arguments.work_name, arguments.subject)
    if processes.is_first:
        run = create_run_dir(*place, arguments.overwrite, arguments.resume)
    else:
        run = RunDir(run_path(*place))
    processes.wait_for_all()
    return run


def _load_run_config(arguments: argparse.Namespace) -> Config:
    path = Path(arguments.config)
    if arguments.resume and not arguments.overwrite:
        path = open_run_dir(Path(arguments.output_dir), arguments.work_name, arguments.subject).config
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    return load_config(path, [*arguments.set, *seed])
