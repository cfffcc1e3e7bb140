"""Subjects of the study: made ones that differ in person, length, tracker noise and exposure, and any that lie in a folder.

A made subject is a demo subject (rgbavatar.datasets.synthetic) and, beside it, the same pictures with what a worse tracker would
have written: head, jaw and eyes turned, the head shifted, expression coefficients changed. Half of that noise is new in each
frame, half wanders over a second, as a tracker's does. So its frames are known twice: as *tracked*, to train on, and as they
truly are. Made subjects are kept in a folder and used again.
"""

from __future__ import annotations

import dataclasses
import math
import os
import tempfile
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rgbavatar.config import Config, override_config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.frame_file import TrackedFrame, read_frame_file, write_frame_file
from rgbavatar.datasets.frame_layout import IMAGES
from rgbavatar.datasets.images import decode_rgba
from rgbavatar.datasets.layouts import INSTA
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.errors import ConfigError
from rgbavatar.geometry.rotation import axis_angle_to_rotation, rot6d_to_rotation, rotation_to_rot6d
from rgbavatar.io.images import save_png
from rgbavatar.subject import load_subject
from rgbavatar.templates.base import HeadTemplate, neutral_parameters
from rgbavatar.templates.flame import load_flame
from rgbavatar.templates.flame_data import NUM_EXPRESSION, NUM_SHAPE
from rgbavatar.training.randomness import derive_seed

SLOW_FRAMES = 12.0  # standard deviation of the window that noise wanders with: half a second of video
CHANNEL_SHARE = 1 / 3  # of the exposure's drift, that each colour channel has of its own


@dataclass(frozen=True)
class Plan:
    """How a subject is made. seed: of person, motion and noise. degrees, millimetres: standard deviations of turns about and
    shifts along each axis; expression: of each coefficient; drift: of the exposure's logarithm."""

    seed: int = 0
    frames: int = 400
    degrees: float = 0.0
    millimetres: float = 0.0
    expression: float = 0.0
    drift: float = 0.0

    @property
    def is_clean(self) -> bool:
        return not (self.degrees or self.millimetres or self.expression or self.drift)


# To choose a recipe by, and to show afterwards what it is worth: other people, motions and noise.
SUITES: dict[str, dict[str, Plan]] = {
    "choose": {
        "noisy_a": Plan(101, 400, degrees=0.5, millimetres=1.5, expression=0.1),
        "noisy_b": Plan(102, 250, degrees=0.3, millimetres=1.0, expression=0.2),
        "short": Plan(103, 100, degrees=0.4, millimetres=1.2, expression=0.1),
        "long": Plan(104, 1_000, degrees=0.4, millimetres=1.2, expression=0.1),
        "drift": Plan(105, 400, degrees=0.2, millimetres=0.6, expression=0.05, drift=0.1),
        "clean": Plan(106, 400),
    },
    "confirm": {
        "noisy_c": Plan(201, 500, degrees=0.5, millimetres=1.5, expression=0.1),
        "noisy_d": Plan(202, 300, degrees=0.4, millimetres=1.0, expression=0.15),
        "short_c": Plan(203, 120, degrees=0.3, millimetres=1.0, expression=0.2),
        "long_c": Plan(204, 900, degrees=0.5, millimetres=1.2, expression=0.1),
        "drift_c": Plan(205, 350, degrees=0.3, millimetres=0.8, expression=0.1, drift=0.08),
        "clean_c": Plan(206, 650),
    },
}


@dataclass(frozen=True)
class Subject:
    """tracked: what an avatar is trained on. true: the same frames without noise and drift; None where nobody knows them.

    log_gains [n, 3]: of the pictures of `tracked` over those of `true`.
    """

    name: str
    tracked: HeadDataset
    true: HeadDataset | None
    log_gains: Tensor | None = None


def parse_plan(text: str) -> Plan:
    """`seed=3,frames=200,degrees=0.5`. Raises ConfigError."""
    kinds = {item.name: int if item.name in ("seed", "frames") else float for item in dataclasses.fields(Plan)}
    values: dict[str, Any] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            values[name] = kinds[name](value)
        except (KeyError, ValueError) as error:
            raise ConfigError(f"--make {text}: found {part!r}, expected NAME=NUMBER of {', '.join(kinds)}") from error
    return Plan(**values)


def make_subject(name: str, plan: Plan, size: int, cache: Path, config: Config, device: torch.device) -> Subject:
    """A made subject of pictures of `size` pixels on a side, from the cache or new. Raises OutputError, DataError."""
    template = load_flame(make_demo_template(cache / "template", overwrite=False))
    true = cache / f"seed_{plan.seed}_frames_{plan.frames}_size_{size}"
    make_demo_subject(true, template, DemoSettings(plan.frames, size, plan.seed), overwrite=False)
    if plan.is_clean:
        return Subject(name, _load(true, template, config, device), None)
    tracked = true.with_name(
        f"{true.name}_turn_{plan.degrees}_shift_{plan.millimetres}_expression_{plan.expression}_drift_{plan.drift}"
    )
    if not tracked.is_dir():
        _write_tracked(true, tracked, template, plan)
    found, truth = (_load(folder, template, config, device) for folder in (tracked, true))
    return Subject(name, found, truth, log_gains_of(plan))


def open_folder(folder: Path, template: HeadTemplate, config: Config, device: torch.device) -> Subject:
    """A subject as it lies in a folder, of any layout. Raises DataError."""
    return Subject(folder.name, _load(folder, template, config, device), None)


def wander(frames: int, width: int, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two noises [frames, width] float64 of mean 0 and standard deviation 1: new in each frame, and slow."""
    quick, draws = torch.randn(2, frames, width, generator=random, dtype=torch.float64)
    times = torch.arange(frames, dtype=torch.float64)
    window = torch.exp(-0.5 * ((times[:, None] - times) / SLOW_FRAMES).square())
    slow = window @ draws
    slow = slow - slow.mean(dim=0)
    return quick, slow / slow.std(dim=0, correction=0).clamp_min(1e-12)


def log_gains_of(plan: Plan) -> Tensor:
    """How a plan's exposure drifts: logarithms of the gains of each frame and channel, [frames, 3] float64."""
    random = torch.Generator().manual_seed(derive_seed(plan.seed, "exposure"))
    common, own = (wander(plan.frames, width, random)[1] for width in (1, 3))
    return plan.drift * (common + CHANNEL_SHARE * own)


def brighten(images: Tensor, log_gains: Tensor) -> Tensor:
    """images [..., H, W, 4] uint8, as they look under other gains [3] or [..., 1, 1, 3]."""
    colors = (images[..., :3].float() * log_gains.float().exp()).clamp(0.0, 255.0).round().to(torch.uint8)
    return torch.cat([colors, images[..., 3:]], dim=-1)


def disturb(frames: list[TrackedFrame], middle: Tensor, plan: Plan, random: torch.Generator) -> list[TrackedFrame]:
    """What a worse tracker would have found. middle [3] metres: the point that the head is turned about."""
    count, width = len(frames), len(frames[0].expression)
    parts = {"head": 3, "jaw": 3, "left": 3, "right": 3, "shift": 3, "expression": width}
    noise = {
        name: torch.stack(wander(count, entries, random)).sum(dim=0) / math.sqrt(2) for name, entries in parts.items()
    }
    turns = {name: axis_angle_to_rotation(math.radians(plan.degrees) * noise[name]) for name in list(parts)[:4]}
    return [
        _disturb_one(
            frame,
            middle,
            {name: turn[i] for name, turn in turns.items()},
            plan.millimetres / 1e3 * noise["shift"][i],
            plan.expression * noise["expression"][i],
        )
        for i, frame in enumerate(frames)
    ]


def _disturb_one(
    frame: TrackedFrame, middle: Tensor, turns: dict[str, Tensor], shift: Tensor, change: Tensor
) -> TrackedFrame:
    rotation = frame.rotation @ turns["head"]
    eyes = rot6d_to_rotation(frame.eyes.view(2, 6)) @ torch.stack([turns["left"], turns["right"]])
    return dataclasses.replace(
        frame,
        rotation=rotation,
        translation=frame.translation + (frame.rotation - rotation) @ middle + shift,
        jaw=rotation_to_rot6d(rot6d_to_rotation(frame.jaw) @ turns["jaw"]),
        eyes=rotation_to_rot6d(eyes).flatten(),
        expression=frame.expression + change,
    )


def _write_tracked(true: Path, folder: Path, template: HeadTemplate, plan: Plan) -> None:
    """A subject with the pictures of another, their exposure drifting, and what a worse tracker found in them."""
    files = sorted((true / INSTA.folder).iterdir())
    frames = [read_frame_file(file) for file in files]
    random = torch.Generator().manual_seed(plan.seed)
    rest = template.pose(neutral_parameters(1, NUM_SHAPE, NUM_EXPRESSION))[0]
    found = disturb(frames, rest.mean(dim=0), plan, random)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as aside:
        new = Path(aside) / "new"
        for part in (IMAGES, INSTA.folder):
            (new / part).mkdir(parents=True)
        for file, frame in zip(files, found, strict=True):
            write_frame_file(new / INSTA.folder / file.name, frame, int(file.stem))
        _write_pictures(true / IMAGES, new / IMAGES, plan, frames[0])
        new.rename(folder)


def _write_pictures(source: Path, target: Path, plan: Plan, first: TrackedFrame) -> None:
    """The pictures of a folder under the gains of a plan; where they do not drift, the files themselves."""
    for file, gains in zip(sorted(source.iterdir()), log_gains_of(plan), strict=True):
        if not plan.drift:
            os.link(file, target / file.name)
            continue
        image = torch.from_numpy(decode_rgba(file, first.width, first.height))
        save_png(target / file.name, brighten(image, gains).numpy())


def _load(folder: Path, template: HeadTemplate, config: Config, device: torch.device) -> HeadDataset:
    here = override_config(config, [f"dataset.data_dir={folder.parent}", "dataset.test_frames=0"])
    with closing(load_subject(here, folder.name, Split.ALL, device, preload=True, template=template)) as dataset:
        return dataset
