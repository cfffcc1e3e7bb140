"""A training run from its command line: all that can be wrong is found before a result of an earlier run is touched."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from rgbavatar.cli import choose_device, say
from rgbavatar.config import Config, config_to_yaml, load_config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.io.files import write_text
from rgbavatar.io.metrics_log import MetricsLog, open_log
from rgbavatar.io.run_dir import RunDir, create_run_dir, open_run_dir
from rgbavatar.subject import load_subject
from rgbavatar.training.monitor import TrainingSpeed
from rgbavatar.training.report import write_speed_report
from rgbavatar.training.setup import build_trainer, resume_trainer
from rgbavatar.training.trainer import Trainer


@dataclass(frozen=True)
class TrainingJob:
    """Everything that a training loop works on."""

    trainer: Trainer
    dataset: HeadDataset
    run: RunDir
    log: MetricsLog
    device: torch.device

    def report(self, speed: TrainingSpeed) -> None:
        """Write speed.txt, and say where the results lie."""
        write_speed_report(self.run.speed, speed, self.trainer, self.device)
        say(
            f"trained on {speed.images} images, {speed.images_per_second:.1f} images/s; the avatar is in {self.run.path}"
        )


@contextmanager
def training_job(arguments: argparse.Namespace, split: Split, preload: bool) -> Iterator[TrainingJob]:
    """Build the job that the arguments describe; readers and logs are closed when the context ends.

    A resumed run keeps its own configuration, under the --set arguments; --config is not read then.
    """
    config = _load_run_config(arguments)
    device = choose_device(arguments.device)
    with ExitStack() as stack:
        dataset = load_subject(config, arguments.subject, split, device, preload)
        stack.callback(dataset.close)
        trainer = build_trainer(config, dataset.template, device)
        root = Path(arguments.output_dir)
        run = create_run_dir(root, arguments.work_name, arguments.subject, arguments.overwrite, arguments.resume)
        if arguments.resume:
            resume_trainer(trainer, run.checkpoint)
        write_text(run.config, config_to_yaml(config))
        log = open_log(run.log if arguments.log else None)
        stack.callback(log.close)
        yield TrainingJob(trainer, dataset, run, log, device)


def _load_run_config(arguments: argparse.Namespace) -> Config:
    path = Path(arguments.config)
    if arguments.resume and not arguments.overwrite:
        path = open_run_dir(Path(arguments.output_dir), arguments.work_name, arguments.subject).config
    seed = [] if arguments.seed is None else [f"seed={arguments.seed}"]
    return load_config(path, [*arguments.set, *seed])
