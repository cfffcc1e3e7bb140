"""A made-up subject to try everything with: a head of ours, its tracked video in the INSTA layout, no licensed data.

`python -m rgbavatar.datasets.synthetic --data_dir data --subject demo --frames 120 --size 256 --seed 0` writes the template
into `data/demo_template/` and the subject into `data/demo/`. The same settings give the same files. Each folder holds a
`made.json` with the settings it was made with: one that is whole and has them is used as it is, any other is left alone.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbavatar.datasets.features import WORLD_TO_OPENCV, compute_features, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame, write_frame_file
from rgbavatar.datasets.frame_layout import IMAGES
from rgbavatar.datasets.images import default_workers, finish_all
from rgbavatar.datasets.layouts import INSTA
from rgbavatar.datasets.synthetic_motion import make_motion
from rgbavatar.datasets.synthetic_render import Head, Look, prepare_head, render_head
from rgbavatar.errors import DataError, OutputError, RgbAvatarError
from rgbavatar.geometry.rotation import rotation_to_rot6d
from rgbavatar.io.images import save_png
from rgbavatar.templates.base import HeadParameters, HeadTemplate, neutral_parameters
from rgbavatar.templates.flame import load_flame
from rgbavatar.templates.flame_data import NUM_EXPRESSION, NUM_SHAPE
from rgbavatar.templates.procedural_head import (
    EXPRESSION_MODES,
    make_procedural_head,
    procedural_texture,
    write_flame,
)

MADE = "made.json"
VERSION = 1  # of the pictures: one up whenever the same settings give other files
MODEL_FILE = "generic_model.pkl"
TEXELS_PER_PIXEL = 4  # sides of the UV map over the picture's: a face of half the width gets two texels a pixel
HEAD_SHARE = 0.82  # of the picture's height that the head fills


@dataclass(frozen=True)
class DemoSettings:
    """What a demo subject is made from. focal: in picture widths; size: pixels on a side; samples: on a side of a pixel."""

    frames: int = 120
    size: int = 256
    seed: int = 0
    focal: float = 3.5
    samples: int = 3

    def __post_init__(self) -> None:
        for name, least in (("frames", 1), ("size", 16), ("focal", 0.5), ("samples", 1)):
            if getattr(self, name) < least:
                raise DataError(f"demo subject: {name} is {getattr(self, name)}, expected at least {least}")


def make_demo_template(folder: Path, overwrite: bool) -> Path:
    """Write the made-up head in FLAME's file schema, unless `folder` has it. Returns the model. Raises OutputError."""
    _make_folder(folder, {"version": VERSION}, overwrite, _fill_template)
    return folder / MODEL_FILE


def make_demo_subject(folder: Path, template: HeadTemplate, settings: DemoSettings, overwrite: bool) -> None:
    """Write a subject in the INSTA layout, unless `folder` has it already. Raises OutputError where it holds anything else."""
    _make_folder(
        folder,
        {"version": VERSION} | asdict(settings),
        overwrite,
        lambda aside: _fill_subject(aside, template, settings),
    )


def _make_folder(folder: Path, settings: dict[str, object], overwrite: bool, fill: Callable[[Path], None]) -> None:
    """Fill a folder aside and rename it, unless it is there, whole, and made with these settings.

    What we did not make is never replaced. Raises OutputError where the folder is something else.
    """
    made = _read_made(folder)
    if made is not None and made["settings"] == settings and made["files"] <= _count_files(folder):
        return
    occupied = folder.is_file() or (folder.is_dir() and any(folder.iterdir()))
    if occupied and (made is None or not overwrite):
        found = "something else" if made is None else f"a demo of {made['settings']} ({_count_files(folder)} files)"
        hint = "" if made is None else " or pass --overwrite"
        raise OutputError(
            f"{folder}: found {found}, expected nothing or all of {settings}; choose another folder{hint}"
        )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as name:
        aside = Path(name) / "new"
        aside.mkdir()
        fill(aside)
        (aside / MADE).write_text(json.dumps({"settings": settings, "files": _count_files(aside)}) + "\n")
        if folder.exists():
            folder.rename(Path(name) / "old")
        aside.rename(folder)


def _count_files(folder: Path) -> int:
    """Number of files below a folder, but for `made.json`."""
    return sum(path.is_file() for path in folder.rglob("*") if path.name != MADE)


def _read_made(folder: Path) -> dict[str, Any] | None:
    """What a folder says about its making, or None where it does not."""
    try:
        content = json.loads((folder / MADE).read_text())
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) and content.keys() == {"settings", "files"} else None


def _fill_template(folder: Path) -> None:
    """Write the made-up head's files."""
    write_flame(make_procedural_head(), folder)


def _fill_subject(folder: Path, template: HeadTemplate, settings: DemoSettings) -> None:
    """Write all frames of a subject, several at a time."""
    for part in (IMAGES, INSTA.folder):
        (folder / part).mkdir()
    motion = make_motion(settings.frames, settings.seed, NUM_SHAPE, NUM_EXPRESSION)
    rest = template.pose(replace(neutral_parameters(1, NUM_SHAPE, NUM_EXPRESSION), shape=motion.shape))[0]
    head = prepare_demo_head(template, rest, motion.shape, settings)
    frames = track_motion(motion, rest, settings)
    vertices = compute_features(template, join_frames(frames))[0] @ WORLD_TO_OPENCV.to(torch.float32)
    with ThreadPoolExecutor(default_workers(), thread_name_prefix="make-frame") as pool:
        jobs = [pool.submit(_write_one, folder, i, frames[i], vertices[i], head, settings) for i in range(len(frames))]
        finish_all(jobs, len(jobs), None)


def prepare_demo_head(template: HeadTemplate, rest: Tensor, shape: Tensor, settings: DemoSettings) -> Head:
    """The head to render, with its texture."""
    eyes = template.eye_centers(replace(neutral_parameters(1, NUM_SHAPE, NUM_EXPRESSION), shape=shape))
    texture = procedural_texture(TEXELS_PER_PIXEL * settings.size)
    return prepare_head(template.faces, template.uv, template.uv_faces, rest, eyes, texture, settings.seed)


def _write_one(
    folder: Path, number: int, frame: TrackedFrame, vertices: Tensor, head: Head, settings: DemoSettings
) -> None:
    """Write the tracking of a frame and the image of its mesh as the reader poses it. vertices [V, 3]: OpenCV axes."""
    write_frame_file(folder / INSTA.folder / f"{number:05d}.frame", frame, number)
    size, samples = settings.size, settings.samples
    image = render_head(head, vertices, frame.intrinsics, size, size, look_of(frame), samples)
    save_png(folder / IMAGES / f"{number:05d}.png", image.numpy())


def track_motion(motion: HeadParameters, rest: Tensor, settings: DemoSettings) -> list[TrackedFrame]:
    """What a perfect tracker would find of a motion: the head in front of a camera that frames it. rest [V, 3] metres.

    x_cam = R x + t, with R = WORLD_TO_OPENCV root; t keeps the middle of the head on the optical axis, but for the
    shift of the motion.
    """
    low, high = rest.amin(0), rest.amax(0)
    middle, height = (low + high) / 2, (high - low)[1].item()
    distance = settings.focal * height / HEAD_SHARE
    rotation = WORLD_TO_OPENCV @ motion.root
    away = torch.tensor([0, 0, distance], dtype=torch.float64)
    translation = motion.translation @ WORLD_TO_OPENCV + away - rotation @ middle
    pixels = torch.tensor([settings.focal, settings.focal, 0.5, 0.5], dtype=torch.float64) * settings.size
    return [
        TrackedFrame(
            shape=motion.shape,
            expression=motion.expression[i],
            jaw=rotation_to_rot6d(motion.jaw[i]),
            eyes=rotation_to_rot6d(motion.eyes[i]).flatten(),
            eyelids=motion.eyelids[i],
            rotation=rotation[i],
            translation=translation[i],
            intrinsics=pixels,
            height=settings.size,
            width=settings.size,
        )
        for i in range(len(motion))
    ]


def look_of(frame: TrackedFrame) -> Look:
    """How the skin of a frame looks: a bent function of its expression, so that colours have something to learn."""
    shown = dict(zip(EXPRESSION_MODES, torch.sigmoid(4 * (frame.expression - 0.5)).tolist(), strict=False))
    return Look(blush=shown["cheeks_puffed"], furrows=shown["brows_up"], folds=shown["smile"])


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; see the module's head. Returns the exit code: 0, or 2 with one line on stderr."""
    defaults = DemoSettings()
    parser = argparse.ArgumentParser(prog="rgbavatar.datasets.synthetic", description="Make a demo subject.")
    parser.add_argument("--data_dir", type=Path, default=Path("data"), help="folder of subjects (%(default)s)")
    parser.add_argument("--subject", default="demo", help="name of the subject (%(default)s)")
    parser.add_argument("--template_dir", type=Path, help="folder of the template (data_dir/demo_template)")
    parser.add_argument("--frames", type=int, default=defaults.frames, help="at 25 a second (%(default)s)")
    parser.add_argument("--size", type=int, default=defaults.size, help="pixels on a side (%(default)s)")
    parser.add_argument("--seed", type=int, default=defaults.seed, help="of person and motion (%(default)s)")
    parser.add_argument("--focal", type=float, default=defaults.focal, help="in picture widths (%(default)s)")
    parser.add_argument("--samples", type=int, default=defaults.samples, help="on a side of a pixel (%(default)s)")
    parser.add_argument("--overwrite", action="store_true", help="replace a demo made with other settings")
    options = parser.parse_args(arguments)
    folder, template_folder = (
        options.data_dir / options.subject,
        options.template_dir or options.data_dir / "demo_template",
    )
    try:
        settings = DemoSettings(options.frames, options.size, options.seed, options.focal, options.samples)
        model = make_demo_template(template_folder, options.overwrite)
        make_demo_subject(folder, load_flame(model), settings, options.overwrite)
    except (RgbAvatarError, OSError) as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except KeyboardInterrupt:
        sys.stderr.write(f"interrupted; nothing was left in {folder}\n")
        return 130
    sys.stdout.write(f"{options.frames} frames in {folder}, template in {model}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
