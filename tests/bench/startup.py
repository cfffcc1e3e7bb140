"""Where the time of a training run goes that is not training: `python -m tests.bench.startup --device cpu`.

The phases of train_offline.py --preload at the standard workload (1,000 frames of 512 x 512, 256 x 256 texels, 20 bases), each
timed alone in a process of its own. A few frames are made and copied to their number: files cost what they cost, whatever
they show. Run it twice where the files lie on a slow disk: the first run finds them outside the system's cache.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from rgbavatar.config import Config
    from rgbavatar.training.trainer import Trainer

DISTINCT_FRAMES = 20
Result = TypeVar("Result")


class Phases:
    """Seconds of each phase, printed as it ends."""

    def __init__(self) -> None:
        self.total = 0.0

    def time(self, name: str, action: Callable[[], Result]) -> Result:
        start = time.perf_counter()
        result = action()
        seconds = time.perf_counter() - start
        self.total += seconds
        self.show(name, seconds)
        return result

    def show(self, name: str, seconds: float) -> None:
        sys.stdout.write(f"{name:<34}{seconds:8.3f} s\n")
        sys.stdout.flush()


def import_all() -> None:
    """What train_offline.py imports."""
    from rgbavatar.cli import heavy_imports

    with heavy_imports():
        import rgbavatar.training.job
        import rgbavatar.training.offline  # noqa: F401


def make_subject(folder: Path, frames: int, size: int) -> Config:
    """The standard configuration for a subject of that many frames in `folder`, made if it is not there yet."""
    from rgbavatar.config import Config, DatasetConfig, TemplateConfig
    from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
    from rgbavatar.subject import load_template

    model = make_demo_template(folder / "template", overwrite=False)
    config = Config(
        dataset=DatasetConfig(data_dir=str(folder), test_frames=0), template=TemplateConfig(path=str(model))
    )
    few = folder / "few"
    make_demo_subject(few, load_template(config), DemoSettings(frames=DISTINCT_FRAMES, size=size), overwrite=False)
    for part, suffix in (("images", ".png"), ("checkpoint", ".frame")):
        (folder / "many" / part).mkdir(parents=True, exist_ok=True)
        for number in range(frames):
            source = few / part / f"{number % DISTINCT_FRAMES:05d}{suffix}"
            shutil.copyfile(source, folder / "many" / part / f"{number:05d}{suffix}")
    return config


def give_gradients(trainer: Trainer) -> None:
    """One update with made-up gradients, so that the optimiser has all of its state, and every Gaussian is seen."""
    import torch

    for parameter in trainer.model.parameters():
        parameter.grad = torch.full_like(parameter, 1e-6)
    trainer.optimizer.step()
    trainer.optimizer.zero_grad(set_to_none=True)
    trainer.color_init.seen.fill_(True)


def measure(phases: Phases, config: Config, device_name: str, output: Path) -> None:
    """Time what comes before the first step and after the last."""
    import torch

    from rgbavatar.cli import choose_device
    from rgbavatar.datasets.base import Split
    from rgbavatar.io.checkpoint import copy_checkpoint
    from rgbavatar.io.checkpoint_writer import CheckpointWriter
    from rgbavatar.io.run_dir import RunDir
    from rgbavatar.subject import load_subject, load_template
    from rgbavatar.training.monitor import save_run
    from rgbavatar.training.setup import build_trainer

    device = phases.time("choose device", lambda: choose_device(device_name))
    phases.time("first use of the device", lambda: torch.zeros(1, device=device).item())
    template = phases.time("template", lambda: load_template(config))
    load = phases.time("frames and images", lambda: load_subject(config, "many", Split.ALL, device, True, template))
    with closing(load):
        trainer = phases.time("trainer", lambda: build_trainer(config, template, device))
        give_gradients(trainer)
        run = RunDir(output)
        with CheckpointWriter(run.checkpoint) as writer:
            phases.time("checkpoint beside training", lambda: writer.write(trainer.checkpoint()))
            writer.wait()
            phases.time("the same once more", lambda: copy_checkpoint(trainer.checkpoint()))
        phases.time("checkpoint and model.ply", lambda: save_run(trainer, run))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda:N")
    parser.add_argument("--frames", type=int, default=1000, help="frames of the subject (%(default)s)")
    parser.add_argument("--size", type=int, default=512, help="pixels on a side (%(default)s)")
    parser.add_argument("--data_dir", type=Path, default=Path("data/bench_startup"), help="where the subject is made")
    arguments = parser.parse_args()
    phases = Phases()
    phases.time("imports", import_all)
    config = make_subject(arguments.data_dir, arguments.frames, arguments.size)
    measure(phases, config, arguments.device, arguments.data_dir / "output")
    phases.show("all of them", phases.total)


if __name__ == "__main__":
    main()
