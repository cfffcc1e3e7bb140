"""How good an avatar is while its video plays: `python -m tests.bench.online --device cuda`.

The demo subject is replayed as a stream; at some times of it the avatar is set aside, and measured on the held-back test frames
when all is over, so that measuring costs the stream nothing. Then the same subject is trained offline, for comparison. The
numbers go to standard output, to --json, and to --png as a curve (with matplotlib).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import torch

from rgbavatar.cli import choose_device
from rgbavatar.config import Config, load_config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.stream import ReplaySource
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.evaluation import BLACK, evaluate
from rgbavatar.io.checkpoint import Checkpoint
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.subject import load_subject, load_template
from rgbavatar.trained import trained_from_checkpoint
from rgbavatar.training.offline import train_offline
from rgbavatar.training.online import OnlineReport, train_online
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import Trainer

SUBJECT = "demo"
MARKS = (0.5, 1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0, 20.0, 25.9)  # seconds of the stream


@dataclass
class Snapshots:
    """Sets the avatar aside at the first look past each mark. taken: seconds, images trained on, and the avatar."""

    marks: Sequence[float]
    taken: list[tuple[float, Checkpoint]] = field(default_factory=list)

    def observe(self, trainer: Trainer, seconds: float) -> None:
        if len(self.taken) < len(self.marks) and seconds >= self.marks[len(self.taken)]:
            state = trainer.checkpoint()
            model = {name: tensor.clone() for name, tensor in state.model.items()}
            self.taken.append((seconds, dataclasses.replace(state, model=model, optimizer={}, generators={})))


def quality_of(checkpoint: Checkpoint, test: HeadDataset, device: torch.device) -> float:
    """PSNR in dB on the test frames, over black, mean over frames."""
    avatar = trained_from_checkpoint(checkpoint, "snapshot")
    return float(evaluate(avatar, test, BLACK, device, None, "test")["psnr"].mean())


def make_data(arguments: argparse.Namespace) -> list[str]:
    """The demo subject, unless it is there; as settings."""
    model = make_demo_template(arguments.data_dir / "template", overwrite=False)
    template = load_template(
        dataclasses.replace(Config(), template=dataclasses.replace(Config().template, path=str(model)))
    )
    settings = DemoSettings(frames=arguments.frames + arguments.test_frames, size=arguments.size)
    make_demo_subject(arguments.data_dir / SUBJECT, template, settings, overwrite=False)
    return [
        f"dataset.data_dir={arguments.data_dir}",
        f"dataset.test_frames={arguments.test_frames}",
        f"template.path={model}",
        *arguments.set,
    ]


def run_online(
    config: Config, train: HeadDataset, fps: float, marks: Sequence[float], folder: Path, device: torch.device
) -> tuple[OnlineReport, Snapshots, Checkpoint]:
    trainer, snapshots = build_trainer(config, train.template, device), Snapshots(marks)
    run = RunDir(folder)
    report = train_online(trainer, ReplaySource(train, fps), run, NullLog(), observer=snapshots.observe)
    return report, snapshots, trainer.checkpoint()


def run_offline(config: Config, train: HeadDataset, folder: Path, device: torch.device) -> Checkpoint:
    trainer = build_trainer(config, train.template, device)
    train_offline(trainer, train, RunDir(folder), NullLog(), device)
    return trainer.checkpoint()


def draw(path: Path, curve: list[dict[str, float]], offline: float | None) -> None:
    """PSNR against seconds, as a picture."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        sys.stderr.write("matplotlib is missing: no picture is drawn\n")
        return
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot([p["seconds"] for p in curve], [p["psnr"] for p in curve], marker="o", label="online")
    if offline is not None:
        axes.axhline(offline, linestyle="--", color="grey", label="offline, published recipe")
    axes.set(xlabel="seconds of the stream", ylabel="PSNR on test frames, dB", xlim=(0, None))
    axes.grid(alpha=0.3)
    axes.legend(loc="lower right")
    figure.savefig(path, dpi=120)


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data_dir", type=Path, default=Path("data/bench_online"))
    parser.add_argument("--frames", type=int, default=650, help="of the stream")
    parser.add_argument("--test_frames", type=int, default=20)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--video_fps", type=float, default=25.0)
    parser.add_argument("--marks", type=float, nargs="+", default=list(MARKS), help="seconds")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE")
    parser.add_argument("--no_offline", action="store_true", help="leave the comparison out")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--png", type=Path)
    arguments = parser.parse_args()
    device, settings = choose_device(arguments.device), make_data(arguments)
    online = load_config(Path("config/online.yaml"), settings)
    with (
        tempfile.TemporaryDirectory() as name,
        closing(load_subject(online, SUBJECT, Split.TRAIN, device, preload=False)) as train,
        closing(load_subject(online, SUBJECT, Split.TEST, device, preload=True, template=train.template)) as test,
    ):
        folder = Path(name)
        report, snapshots, end = run_online(
            online, train, arguments.video_fps, arguments.marks, folder / "online", device
        )
        curve = [
            {"seconds": seconds, "images": state.images_seen, "psnr": quality_of(state, test, device)}
            for seconds, state in snapshots.taken
        ]
        final, offline = quality_of(end, test, device), None
        if not arguments.no_offline:
            recipe = load_config(Path("config/offline.yaml"), settings)
            offline = quality_of(run_offline(recipe, train, folder / "offline", device), test, device)
    result = {"curve": curve, "final": final, "offline": offline, **report.lines()}
    show(result, curve)
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1) + "\n")
    if arguments.png:
        draw(arguments.png, curve, offline)


def show(result: dict[str, object], curve: list[dict[str, float]]) -> None:
    """The numbers as a table."""
    lines = [f"{'seconds':>8} {'images':>9} {'PSNR, dB':>9}"]
    lines += [f"{p['seconds']:8.2f} {p['images']:9.0f} {p['psnr']:9.2f}" for p in curve]
    lines += [f"{name}: {value}" for name, value in result.items() if name != "curve"]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
