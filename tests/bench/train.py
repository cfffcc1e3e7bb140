"""Speed of training and rendering at fixed workloads: `python -m tests.bench.train --device cpu`.

A workload is the demo subject at a picture size and a texture size, trained with the published recipe from the first step on
with all that it ever computes: colour initialisation and bases. Only a few distinct frames are made: their number does not
change the work of a step. Each repeat is timed alone; the report holds the median and the quartiles.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import torch

from rgbavatar.cli import choose_device
from rgbavatar.config import Config, DatasetConfig, ModelConfig, TemplateConfig, TrainingConfig
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.subject import load_subject, load_template
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import Trainer

FRAMES = 20
BATCH = 10
RENDER_BATCHES = (1, 10)


@dataclass(frozen=True)
class Workload:
    """A picture size in pixels and a texture size in texels, both on a side."""

    size: int
    tex_size: int


WORKLOADS = {
    "small": Workload(size=128, tex_size=96),
    "medium": Workload(size=256, tex_size=160),
    "standard": Workload(size=512, tex_size=256),
}


def measure(name: str, device: torch.device, folder: Path, warm_up: int, repeats: int) -> dict[str, object]:
    """Images a second of one workload, as training sees them and as rendering does."""
    config = make_config(WORKLOADS[name], folder)
    with closing(load_subject(config, name, Split.ALL, device, preload=True)) as dataset:
        trainer = build_trainer(config, dataset.template, device)
        training = time_training(trainer, dataset, device, warm_up, repeats)
        avatar = trained_from_checkpoint(trainer.checkpoint(), name)
        rendering = {
            f"render_batch_{n}": time_rendering(avatar, dataset, device, n, warm_up, repeats) for n in RENDER_BATCHES
        }
    return {
        "workload": name,
        "size": WORKLOADS[name].size,
        "gaussians": trainer.binding.count,
        "images_per_second": {"train": training, **rendering},
    }


def make_config(workload: Workload, folder: Path) -> Config:
    """The published recipe for a subject in `folder`, made if it is not there yet; bases from the first step."""
    model = make_demo_template(folder / "template", overwrite=False)
    config = Config(
        dataset=DatasetConfig(data_dir=str(folder), test_frames=0),
        template=TemplateConfig(path=str(model)),
        model=ModelConfig(tex_size=workload.tex_size),
        training=TrainingConfig(batch_size=BATCH, bases_after=0),
    )
    name = next(name for name, item in WORKLOADS.items() if item == workload)
    settings = DemoSettings(frames=FRAMES, size=workload.size)
    make_demo_subject(folder / name, load_template(config), settings, overwrite=False)
    return config


def time_training(
    trainer: Trainer, dataset: HeadDataset, device: torch.device, warm_up: int, repeats: int
) -> dict[str, float]:
    """Reading a batch, and a whole step on it."""
    order = iter(range(10**9))

    def step() -> None:
        positions = (torch.arange(BATCH) + BATCH * next(order)) % len(dataset)
        trainer.step(dataset.batch(positions, device))

    return summarise_rates(time_repeats(step, device, warm_up, repeats), BATCH)


def time_rendering(
    avatar: TrainedAvatar, dataset: HeadDataset, device: torch.device, size: int, warm_up: int, repeats: int
) -> dict[str, float]:
    """From codes and posed meshes to float images, without reading the disk."""
    batch = dataset.batch(torch.arange(size) % len(dataset), device)
    background = torch.zeros(size, 3, device=device)
    return summarise_rates(time_repeats(lambda: avatar.render(batch, background), device, warm_up, repeats), size)


def time_repeats(action: Callable[[], object], device: torch.device, warm_up: int, repeats: int) -> list[float]:
    """Seconds of each repeat, the device idle before and after."""
    seconds = []
    for repeat in range(warm_up + repeats):
        synchronize(device)
        start = time.perf_counter()
        action()
        synchronize(device)
        if repeat >= warm_up:
            seconds.append(time.perf_counter() - start)
    return seconds


def synchronize(device: torch.device) -> None:
    if device.type != "cpu":
        torch.cuda.synchronize(device)


def summarise_rates(seconds: list[float], images: int) -> dict[str, float]:
    """Median and quartiles of images a second."""
    low, middle, high = statistics.quantiles([images / value for value in seconds], n=4)
    return {"median": middle, "lower_quartile": low, "upper_quartile": high, "repeats": len(seconds)}


def describe_machine(device: torch.device) -> dict[str, object]:
    processor = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        processor = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), processor)
    gpu = torch.cuda.get_device_name(device) if device.type != "cpu" else None
    return {
        "processor": processor,
        "threads": torch.get_num_threads(),
        "gpu": gpu,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--workload", action="append", choices=sorted(WORKLOADS), help="all by default")
    parser.add_argument("--repeats", type=int, default=15, help="timed repeats of each")
    parser.add_argument("--warm_up", type=int, default=3, help="repeats before those")
    parser.add_argument("--data_dir", type=Path, default=Path("data/bench"), help="where the subjects are made")
    parser.add_argument("--json", type=Path, help="write the report here, too")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    names = arguments.workload or list(WORKLOADS)
    results = [measure(name, device, arguments.data_dir, arguments.warm_up, arguments.repeats) for name in names]
    report = json.dumps({"machine": describe_machine(device), "batch": BATCH, "results": results}, indent=2)
    sys.stdout.write(report + "\n")
    if arguments.json:
        arguments.json.write_text(report + "\n")


if __name__ == "__main__":
    main()
