"""One subject in every layout, and a head before eight cameras: `python -m tests.bench.layouts --device cuda`.

The demo's head without blinks (VHAP knows none) is written in each layout and trained on with each seed: the avatars should be
equally good on test frames. Then a rig of cameras, one held out: the PSNR of views that no camera of training has had, and
the speed of training beside that on the same number of pictures of one camera.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import statistics
import sys
import tempfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from rgbavatar.cli import choose_device
from rgbavatar.config import Config, DatasetConfig, TemplateConfig, load_config
from rgbavatar.datasets.base import Split
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_template
from rgbavatar.errors import DataError
from rgbavatar.evaluation import BLACK, evaluate
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.subject import load_subject, load_template
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.trained import trained_from_checkpoint
from rgbavatar.training.offline import train_offline
from rgbavatar.training.setup import build_trainer
from tests.helpers.blendshape_head import write_blendshape_subject
from tests.helpers.layouts import read_insta, write_insta_transforms, write_pixel3dmm, write_vhap
from tests.helpers.multi_camera import FRONT, write_insta, write_rig

CAMERAS, HELD_OUT = 8, 3
AWAY = dataclasses.replace(FRONT, translation=np.array([0.05, 0.1, 0.9]))
"""VHAP's world here: not the camera's place, but its directions, as the demo's neck stands upright in those."""


@dataclasses.dataclass(frozen=True)
class Run:
    """PSNR in dB of each split, and images a second of training."""

    quality: dict[str, float]
    speed: float


def train(config: Config, subject: str, device: torch.device, folder: Path) -> Run:
    """Train on a subject and measure all its splits."""
    quality = {}
    with closing(load_subject(config, subject, Split.TRAIN, device, preload=True)) as frames:
        trainer = build_trainer(config, frames.template, device)
        speed = train_offline(trainer, frames, RunDir(folder), NullLog(), device)
        avatar = trained_from_checkpoint(trainer.checkpoint(), subject)
        for split in (Split.TRAIN, Split.VAL, Split.TEST):
            try:
                opened = load_subject(config, subject, split, device, preload=False, template=frames.template)
            except DataError:  # no such split
                continue
            with closing(opened) as dataset:
                measured = evaluate(avatar, dataset, BLACK, device, None, f"{subject} {split.value}")
            quality[split.value] = float(measured["psnr"].mean())
    return Run(quality, speed.images_per_second)


def write_layouts(
    data: Path, template: FlameTemplate, settings: DemoSettings, test_frames: int
) -> dict[str, Callable[[Path], object]]:
    """A writer for each layout of the subject in the INSTA layout, which is made."""
    write_insta(data / "insta", template, settings)
    frames, pictures = read_insta(data / "insta")
    return {
        "pixel3dmm": lambda folder: write_pixel3dmm(folder, frames, pictures),
        "insta_transforms": lambda folder: write_insta_transforms(folder, frames, pictures, test_frames),
        "vhap": lambda folder: write_vhap(folder, frames, pictures, template, test_frames, AWAY),
    }


def compare_layouts(
    config: Config, arguments: argparse.Namespace, device: torch.device, data: Path
) -> dict[str, list[Run]]:
    settings = DemoSettings(frames=arguments.frames, size=arguments.size, samples=2)
    template = load_template(config)
    assert isinstance(template, FlameTemplate)
    for name, write in write_layouts(data, template, settings, config.dataset.test_frames).items():
        write(data / name)
    head = data / "blendshape_head.npz"
    write_blendshape_subject(data / "insta", template, data / "blendshape", head)
    blendshapes = dataclasses.replace(config, template=TemplateConfig(path=str(head)))
    found: dict[str, list[Run]] = {}
    for name in ("insta", "pixel3dmm", "insta_transforms", "vhap", "blendshape"):
        for seed in range(arguments.seeds):
            one = dataclasses.replace(blendshapes if name == "blendshape" else config, seed=seed)
            run = train(one, name, device, data / "runs" / name / str(seed))
            found.setdefault(name, []).append(run)
    return found


def compare_cameras(
    config: Config, arguments: argparse.Namespace, device: torch.device, data: Path
) -> dict[str, list[Run]]:
    """A rig, and one camera that takes as many pictures; in turn, so that both see the same machine."""
    template = load_template(config)
    assert isinstance(template, FlameTemplate)
    settings = DemoSettings(frames=arguments.frames, size=arguments.size, samples=2)
    test_frames = config.dataset.test_frames
    write_rig(data / "rig", template, settings, CAMERAS, HELD_OUT, test_frames)
    pictures = (CAMERAS - 1) * (arguments.frames - test_frames)
    alone = dataclasses.replace(settings, frames=pictures + test_frames)
    write_rig(data / "alone", template, alone, cameras=1, held_out=None, test_frames=test_frames)
    found: dict[str, list[Run]] = {}
    for seed in range(arguments.seeds):
        for name in ("alone", "rig"):
            run = train(dataclasses.replace(config, seed=seed), name, device, data / "runs" / name / str(seed))
            found.setdefault(name, []).append(run)
    return found


def show(found: dict[str, list[Run]]) -> None:
    """A line for each subject: means over seeds, and each seed's."""
    for name, runs in found.items():
        parts = []
        for split in runs[0].quality:
            values = [run.quality[split] for run in runs]
            parts.append(f"{split} {statistics.mean(values):.2f} ({' '.join(f'{value:.2f}' for value in values)})")
        speed = statistics.median(run.speed for run in runs)
        sys.stdout.write(f"{name:<18}{'  '.join(parts)} dB  {speed:.0f} images/s\n")


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--frames", type=int, default=80)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--test_frames", type=int, default=15)
    parser.add_argument("--images", type=int, default=8000)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--parts", nargs="+", choices=("layouts", "cameras"), default=["layouts", "cameras"])
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    found = {}
    with tempfile.TemporaryDirectory() as name:
        data = Path(name)
        model = make_demo_template(data / "template", overwrite=False)
        settings = [f"template.path={model}", f"training.images={arguments.images}", *arguments.set]
        config = load_config(Path("config/demo.yaml"), settings)
        place = DatasetConfig(data_dir=str(data), test_frames=arguments.test_frames)
        config = dataclasses.replace(config, dataset=place)
        for part, compare in (("layouts", compare_layouts), ("cameras", compare_cameras)):
            if part in arguments.parts:
                found |= compare(config, arguments, device, data)
    show(found)
    if arguments.json:
        content = {name: [dataclasses.asdict(run) for run in runs] for name, runs in found.items()}
        arguments.json.write_text(json.dumps(content, indent=1) + "\n")


if __name__ == "__main__":
    main()
