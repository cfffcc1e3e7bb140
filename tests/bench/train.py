"""Speed of training and rendering at fixed workloads: `python -m tests.bench.train --device cpu`.

A workload is the demo subject at a picture size and a texture size, trained with the published recipe from the first step on
with all that it ever computes: colour initialisation and bases. Only a few distinct frames are made: their number does not
change the work of a step. The report holds the median and the quartiles over repeats. On CUDA a repeat of training is a
stretch of steps (rgbavatar.training.fused), and rendering is that of rgbavatar.inference: from codes and posed meshes to 8-bit
pictures on the GPU.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import platform
import statistics
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rgbavatar.cli import choose_device
from rgbavatar.config import Config, DatasetConfig, ModelConfig, TemplateConfig, TrainingConfig
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.inference import PictureRenderer, View
from rgbavatar.subject import load_subject, load_template
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.training.frame_bank import MAX_ROWS, RecordedFrames
from rgbavatar.training.fused import supports
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.steps import run_steps
from rgbavatar.training.trainer import Trainer

FRAMES = 20
BATCH = 10
RENDER_BATCHES = (1, 10, 16)
WAYS = ("fast", "plain")


@dataclass(frozen=True)
class Workload:
    """A picture size in pixels and a texture size in texels, both on a side, and images of a batch."""

    size: int
    tex_size: int
    batch: int = BATCH


WORKLOADS = {
    "small": Workload(size=128, tex_size=96),
    "medium": Workload(size=256, tex_size=160),
    "standard": Workload(size=512, tex_size=256),
}
# What each cost depends on: the picture, the Gaussians (250 k at 530 texels), the batch.
CURVES = {
    "size 1024": Workload(size=1024, tex_size=256),
    "250 k Gaussians": Workload(size=512, tex_size=530),
    **{f"batch {n}": Workload(size=512, tex_size=256, batch=n) for n in (1, 2, 4, 8, 16, 32, 64)},
}


@dataclass(frozen=True)
class Effort:
    """Repeats that are timed, repeats before those, and how often the frames are held in memory, as frames of their own."""

    repeats: int
    warm_up: int
    copies: int


def measure(name: str, way: str, device: torch.device, folder: Path, effort: Effort) -> dict[str, object]:
    """Images a second of one workload, as training sees them and as rendering does."""
    workload = (WORKLOADS | CURVES)[name]
    config = make_config(workload, folder, way)
    with closing(load_subject(config, subject_of(workload), Split.ALL, device, preload=True)) as one:
        dataset = repeat_frames(one, effort.copies)
        trainer = build_trainer(config, dataset.template, device)
        training, memory = time_training(trainer, dataset, device, effort)
        avatar = trained_from_checkpoint(trainer.checkpoint(), name)
        rendering = {
            f"render_batch_{n}": time_rendering(avatar, dataset, way, n, effort)
            for n in (RENDER_BATCHES if name in WORKLOADS else ())
        }
    return {
        "workload": name,
        "way": way,
        "size": workload.size,
        "batch": workload.batch,
        "gaussians": trainer.binding.count,
        "peak_mib_beside_frames": memory,
        "images_per_second": {"train": training, **rendering},
    }


def subject_of(workload: Workload) -> str:
    return f"size_{workload.size}"


def repeat_frames(dataset: HeadDataset, copies: int) -> HeadDataset:
    """The same frames several times over, each in memory of its own."""
    if copies == 1 or not isinstance(dataset.images, PreloadedImages):
        return dataset
    again = torch.arange(len(dataset)).repeat(copies)
    return dataclasses.replace(
        dataset,
        numbers=torch.arange(len(again)),
        images=PreloadedImages(dataset.images.pixels[again]),
        vertices=dataset.vertices[again],
        codes=dataset.codes[again],
        camera=dataset.camera.select(again),
    )


def make_config(workload: Workload, folder: Path, way: str) -> Config:
    """The published recipe for a subject in `folder`, made if it is not there yet; bases from the first step."""
    model = make_demo_template(folder / "template", overwrite=False)
    config = Config(
        dataset=DatasetConfig(data_dir=str(folder), test_frames=0),
        template=TemplateConfig(path=str(model)),
        model=ModelConfig(tex_size=workload.tex_size),
        training=TrainingConfig(
            images=10**9,
            batch_size=workload.batch,
            bases_after=0,
            checkpoint_every=10**9,
            picture_every=10**9,
            reproducible=way == "plain",
        ),
    )
    settings = DemoSettings(frames=FRAMES, size=workload.size)
    make_demo_subject(folder / subject_of(workload), load_template(config), settings, overwrite=False)
    return config


def time_training(
    trainer: Trainer, dataset: HeadDataset, device: torch.device, effort: Effort
) -> tuple[dict[str, float], float | None]:
    """Whole steps, reading their batches among them; and the peak of GPU memory beside the frames, MiB."""
    batch = trainer.config.training.batch_size
    steps = MAX_ROWS if supports(trainer.config, device) else 1
    total = steps * (effort.warm_up + effort.repeats + 1)
    sampler = EpochSampler(len(dataset), 0)
    order = (sampler.positions(step * batch, batch) for step in range(total))
    if device.type != "cpu":
        torch.cuda.reset_peak_memory_stats(device)
    marks = [
        time.perf_counter()
        for step, _ in enumerate(run_steps(trainer, RecordedFrames(dataset), order, lambda: False))
        if step % steps == 0
    ]
    seconds = [after - before for before, after in itertools.pairwise(marks)][effort.warm_up :]
    memory = None if device.type == "cpu" else peak_beside_frames(dataset, device, are_there=steps > 1)
    return summarise_rates(seconds, steps * batch), memory


def peak_beside_frames(dataset: HeadDataset, device: torch.device, are_there: bool) -> float:
    """MiB of GPU memory at most, less the frames that lie there."""
    frames = len(dataset) * 4 * dataset.images.width * dataset.images.height + dataset.vertices.nbytes
    return round((torch.cuda.max_memory_allocated(device) - (frames if are_there else 0)) / 2**20, 1)


def time_rendering(
    avatar: TrainedAvatar, dataset: HeadDataset, way: str, size: int, effort: Effort
) -> dict[str, float]:
    """From codes and posed meshes to pictures, without reading the disk."""
    device = avatar.binding.face_ids.device
    batch = dataset.batch(torch.arange(size) % len(dataset), device)
    background = torch.zeros(size, 3, device=device)
    if way == "plain" or device.type == "cpu":
        seconds = time_repeats(lambda: avatar.render(batch, background), device, effort.warm_up, effort.repeats)
        return summarise_rates(seconds, size)
    renderer, view = PictureRenderer(avatar), View(batch.codes, batch.vertices, batch.camera, background)
    views = 50  # of a repeat

    def render() -> None:
        for _ in renderer.stream(itertools.repeat(view, views)):
            pass

    return summarise_rates(time_repeats(render, device, effort.warm_up, effort.repeats), size * views)


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
    parser.add_argument(
        "--workload", action="append", choices=sorted(WORKLOADS | CURVES), help="the first three by default"
    )
    parser.add_argument("--curves", action="store_true", help="also what cost depends on: size, Gaussians, batch")
    parser.add_argument("--way", action="append", choices=WAYS, help="the fast way by default")
    parser.add_argument("--repeats", type=int, default=15, help="timed repeats of each")
    parser.add_argument("--warm_up", type=int, default=3, help="repeats before those")
    parser.add_argument("--copies", type=int, default=1, help=f"hold the {FRAMES} frames this often in memory")
    parser.add_argument("--data_dir", type=Path, default=Path("data/bench"), help="where the subjects are made")
    parser.add_argument("--json", type=Path, help="write the report here, too")
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    effort = Effort(arguments.repeats, arguments.warm_up, arguments.copies)
    names = (arguments.workload or list(WORKLOADS)) + (list(CURVES) if arguments.curves else [])
    results = []
    for name in names:
        for way in arguments.way or WAYS[:1]:
            results.append(measure(name, way, device, arguments.data_dir, effort))
            sys.stderr.write(describe_result(results[-1]) + "\n")
    report = json.dumps({"machine": describe_machine(device), "results": results}, indent=2)
    sys.stdout.write(report + "\n")
    if arguments.json:
        arguments.json.write_text(report + "\n")


def describe_result(result: dict[str, Any]) -> str:
    rates = {
        name: f"{rate['median']:,.0f} ({rate['lower_quartile']:,.0f}-{rate['upper_quartile']:,.0f})"
        for name, rate in result["images_per_second"].items()
    }
    return f"{result['workload']} {result['way']}: {rates}, {result['peak_mib_beside_frames']} MiB"


if __name__ == "__main__":
    main()
