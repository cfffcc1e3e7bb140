"""How far the test PSNR of a recipe spreads when nothing but rounding differs: `python -m tests.bench.spread --runs 8`.

Each run but the first moves the first means of the Gaussians by a nanometre. Devices, and ways of training, can only be told
apart by the means of many runs.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import closing
from pathlib import Path

import torch

from rgbavatar.cli import choose_device
from rgbavatar.config import Config, load_config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.evaluation import BLACK, evaluate
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.subject import load_subject
from rgbavatar.trained import trained_from_checkpoint
from rgbavatar.training.offline import train_offline
from rgbavatar.training.setup import build_trainer

SHIFT = 1e-9  # metres


def train_once(
    config: Config, train: HeadDataset, test: HeadDataset, device: torch.device, run: int, folder: Path
) -> tuple[float, float]:
    """PSNR in dB on the training and on the test frames, over black."""
    trainer = build_trainer(config, train.template, device)
    if run:
        means = trainer.model.base.mean
        noise = torch.randn(means.shape, generator=torch.Generator().manual_seed(run))
        means.data += SHIFT * noise.to(device)
    train_offline(trainer, train, RunDir(folder / f"run_{run}"), NullLog(), device)
    avatar = trained_from_checkpoint(trainer.checkpoint(), f"run {run}")
    on_train, on_test = (
        float(evaluate(avatar, dataset, BLACK, device, None, "measure")["psnr"].mean()) for dataset in (train, test)
    )
    return on_train, on_test


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--config", type=Path, default=Path("config/demo.yaml"))
    parser.add_argument("--subject", default="demo")
    parser.add_argument("--runs", type=int, default=8)
    parser.add_argument("--output_dir", type=Path, default=Path("output/spread"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    device, config = choose_device(arguments.device), load_config(arguments.config, arguments.set)
    found = []
    with (
        closing(load_subject(config, arguments.subject, Split.TRAIN, device, preload=True)) as train,
        closing(
            load_subject(config, arguments.subject, Split.TEST, device, preload=True, template=train.template)
        ) as test,
    ):
        for run in range(arguments.runs):
            found.append(train_once(config, train, test, device, run, arguments.output_dir))
            sys.stdout.write(f"run {run}: training frames {found[-1][0]:.3f} dB, test frames {found[-1][1]:.3f} dB\n")
    tests = [on_test for _, on_test in found]
    spread = statistics.stdev(tests) if len(tests) > 1 else float("nan")
    sys.stdout.write(f"test frames: mean {statistics.mean(tests):.3f} dB, standard deviation {spread:.3f} dB\n")


if __name__ == "__main__":
    main()
