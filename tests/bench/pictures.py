"""How fast pictures of an avatar come to the disk: `python -m tests.bench.pictures --device cuda`.

The demo subject is made and an avatar of it trained, briefly, unless they are there. Then all frames are rendered as render.py
does it, into PNG files and into each kind of video: from the first picture to the closed file, and as a whole process. Beside
these, each part alone: rendering and copying to the host without writing, and writing pictures that are ready. Where the parts
overlap, the whole takes little longer than its slowest part.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path

import numpy as np
import torch

from rgbavatar.cli import choose_device
from rgbavatar.datasets.base import Split
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.io.picture_writer import write_pictures
from rgbavatar.io.run_dir import RunDir, run_path
from rgbavatar.io.video import write_video
from rgbavatar.pictures import Pictures, RenderOptions, render_run, shot_pictures
from rgbavatar.shots import frame_shots
from rgbavatar.subject import load_subject
from rgbavatar.templates.flame import load_flame
from rgbavatar.trained import TrainedAvatar, open_trained

SUBJECT, WORK_NAME = "demo", "pictures"
FPS = 25.0
BLACK = (0.0, 0.0, 0.0)


def prepare(arguments: argparse.Namespace, device: torch.device) -> RunDir:
    """A run of `images` images on the demo subject, made if it is not there yet."""
    data, output = arguments.data_dir, arguments.data_dir / "output"
    model = make_demo_template(data / "template", overwrite=False)
    settings = DemoSettings(frames=arguments.frames, size=arguments.size, samples=1)
    make_demo_subject(data / SUBJECT, load_flame(model), settings, overwrite=False)
    run = RunDir(run_path(output, WORK_NAME, SUBJECT))
    if not run.checkpoint.is_file():
        changes = {
            "dataset.data_dir": data,
            "dataset.test_frames": 1,
            "template.path": model,
            "training.images": arguments.images,
            "training.bases_after": 0,
        }
        sets = [word for key, value in changes.items() for word in ("--set", f"{key}={value}")]
        script(arguments, device, "train_offline.py", "--config", "config/offline.yaml", *sets)
    return run


def script(arguments: argparse.Namespace, device: torch.device, name: str, *more: str) -> None:
    """Run one of the scripts on the subject."""
    place = ["--subject", SUBJECT, "--work_name", WORK_NAME, "--output_dir", str(arguments.data_dir / "output")]
    command = [sys.executable, name, *place, "--device", str(device), *more]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def seconds_of(action: Callable[[], object], repeats: int) -> list[float]:
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        action()
        found.append(time.perf_counter() - start)
    return found


def parts(avatar: TrainedAvatar, device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Seconds of rendering alone, of writing alone, and of both at once, of a sequence that is read and posed."""
    with (
        closing(load_subject(avatar.config, SUBJECT, Split.ALL, device, preload=False)) as dataset,
        tempfile.TemporaryDirectory() as name,
    ):
        shots, folder = frame_shots(dataset), Path(name)

        def rendered() -> Pictures:
            return shot_pictures(avatar, shots, BLACK, False, device)

        def write_mp4(pictures: Iterable[tuple[int, np.ndarray]]) -> None:
            write_video(folder / "a.mp4", (picture for _, picture in pictures), FPS)

        ready = list(rendered())
        reading = seconds_of(lambda: read(avatar, device), repeats)
        return {
            "reading and posing": reading,
            "rendering and copying alone": seconds_of(lambda: sum(1 for _ in rendered()), repeats),
            "writing PNGs alone": seconds_of(lambda: write_pictures(folder / "alone", ready), repeats),
            "rendering and writing PNGs": seconds_of(lambda: write_pictures(folder / "both", rendered()), repeats),
            "encoding mp4 alone": seconds_of(lambda: write_mp4(ready), repeats),
            "rendering and encoding mp4": seconds_of(lambda: write_mp4(rendered()), repeats),
        }


def read(avatar: TrainedAvatar, device: torch.device) -> None:
    """Template, tracking and posed meshes of all frames."""
    load_subject(avatar.config, SUBJECT, Split.ALL, device, preload=False).close()


def whole(run: RunDir, avatar: TrainedAvatar, device: torch.device, repeats: int) -> dict[str, list[float]]:
    """Seconds of render_run: reading and posing the sequence, rendering, writing."""
    found = {}
    for video in (None, "mp4", "webm", "gif"):
        options = RenderOptions(video=video, overwrite=True)
        found[video or "png"] = seconds_of(
            lambda options=options: render_run(run, avatar, SUBJECT, options, device),  # type: ignore[misc]
            repeats if video in (None, "mp4") else 1,
        )
    return found


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data_dir", type=Path, default=Path("data/bench_pictures"))
    parser.add_argument("--frames", type=int, default=1000)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--images", type=int, default=10_000, help="that the avatar is trained on")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    device = choose_device(arguments.device)
    run = prepare(arguments, device)
    avatar = open_trained(run, None, [], device)
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        found = whole(run, avatar, device, arguments.repeats) | parts(avatar, device, arguments.repeats)
        for name, more in (("process, png", []), ("process, mp4", ["--video"])):
            found[name] = seconds_of(
                lambda more=more: script(arguments, device, "render.py", "--overwrite", *more),  # type: ignore[misc]
                arguments.repeats,
            )
    for name, seconds in found.items():
        median = statistics.median(seconds)
        spread = f"({min(seconds):.2f}-{max(seconds):.2f})"
        sys.stdout.write(f"{name:<30}{median:8.2f} s {spread:<16}{arguments.frames / median:8.0f} pictures/s\n")
    if arguments.json:
        arguments.json.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
