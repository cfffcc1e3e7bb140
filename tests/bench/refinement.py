"""What refining the tracking is worth where it is disturbed: `python -m tests.bench.refinement --degrees 0.5 --millimetres 1.5`.

The meshes of a well-tracked subject are turned and shifted, each training frame by random amounts of its own (standard deviations
about and along each axis), its codes changed by a share of each entry's spread. Avatars are trained on that with and without
`training.refine_tracking`, and measured on training frames, as each saw them, and on test frames, which nobody disturbs.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
from contextlib import closing
from dataclasses import dataclass
from math import radians
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.cli import choose_device
from rgbavatar.config import Config, load_config, override_config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.evaluation import BLACK, evaluate
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.model.corrections import Correction, Corrections, move_points
from rgbavatar.subject import load_subject
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.training.offline import train_offline
from rgbavatar.training.setup import build_trainer


@dataclass(frozen=True)
class Noise:
    """Standard deviations: radians, metres, shares of each code entry's own."""

    turn: float
    shift: float
    code: float


def disturb(dataset: HeadDataset, noise: Noise, seed: int) -> tuple[HeadDataset, Correction]:
    """The same frames with worse tracking, and what was done to it."""
    random, frames = torch.Generator().manual_seed(seed), len(dataset)
    turns, shifts = (size * torch.randn(frames, 3, generator=random) for size in (noise.turn, noise.shift))
    codes = noise.code * dataset.codes.std(dim=0) * torch.randn(dataset.codes.shape, generator=random)
    done = Correction(turns, shifts, codes, torch.zeros(()))
    vertices = move_points(dataset.vertices, dataset.vertices.mean(dim=1), done)
    return dataclasses.replace(dataset, vertices=vertices, codes=dataset.codes + codes), done


def train(config: Config, dataset: HeadDataset, device: torch.device, folder: Path) -> TrainedAvatar:
    trainer = build_trainer(config, dataset.template, device, frames=dataset)
    train_offline(trainer, dataset, RunDir(folder), NullLog(), device)
    return trained_from_checkpoint(trainer.checkpoint(), str(folder))


def report(name: str, avatar: TrainedAvatar, datasets: dict[str, HeadDataset], device: torch.device) -> None:
    for split, dataset in datasets.items():
        shown = dataset if avatar.corrections is None else avatar.corrections.apply(dataset)
        quality = float(evaluate(avatar, shown, BLACK, device, None, f"{name}, {split}")["psnr"].mean())
        sys.stdout.write(f"{name}: {split} frames {quality:.2f} dB\n")


def report_found(found: Corrections, done: Correction) -> None:
    for name, unit, factor in (("turns", "degrees", 180.0 / torch.pi), ("shifts", "mm", 1e3)):
        theirs, ours = getattr(done, name), getattr(found, name).cpu()
        left = theirs - theirs.mean(dim=0) + ours
        correlations = [correlation(-a, b) for a, b in zip(theirs.T, ours.T, strict=True)]
        sizes = [f"{factor * float(size):.3f}" for size in left.std(dim=0)]
        sys.stdout.write(f"{name}: correlation {correlations}, left {sizes} {unit}, about or along x, y, z\n")


def correlation(first: Tensor, second: Tensor) -> str:
    return f"{float(torch.corrcoef(torch.stack([first, second]))[0, 1]):.3f}"


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--config", type=Path, default=Path("config/demo.yaml"))
    parser.add_argument("--subject", default="demo")
    parser.add_argument("--degrees", type=float, default=0.5)
    parser.add_argument("--millimetres", type=float, default=1.5)
    parser.add_argument("--code", type=float, default=0.0)
    parser.add_argument("--seed", type=int, default=0, help="of the disturbance")
    parser.add_argument("--output_dir", type=Path, default=Path("output/refinement"))
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    arguments = parser.parse_args()
    device, config = choose_device(arguments.device), load_config(arguments.config, arguments.set)
    noise = Noise(radians(arguments.degrees), arguments.millimetres / 1e3, arguments.code)
    with closing(load_subject(config, arguments.subject, Split.TRAIN, device, preload=True)) as clean:
        dataset, done = disturb(clean, noise, arguments.seed)
        with closing(load_subject(config, arguments.subject, Split.TEST, device, True, clean.template)) as test:
            for name, refines in (("as tracked", "false"), ("refined", "true")):
                chosen = override_config(config, [f"training.refine_tracking={refines}"])
                avatar = train(chosen, dataset, device, arguments.output_dir / refines)
                report(name, avatar, {"training": dataset, "test": test}, device)
                if avatar.corrections is not None:
                    report_found(avatar.corrections, done)


if __name__ == "__main__":
    main()
