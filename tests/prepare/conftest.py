"""Raw tracker folders made from the demo subject: its pictures before a background, its alpha thresholded into masks."""

from __future__ import annotations

import runpy
import shutil
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.templates.flame import load_flame
from tests.helpers.ended import Ended

FRAMES, SIZE = 6, 128


@dataclass(frozen=True)
class Demo:
    """A made-up subject, whose alpha and colours are known, and its template's file."""

    folder: Path
    model: Path
    template: HeadTemplate

    def picture(self, number: int) -> np.ndarray:
        """Straight RGBA, [SIZE, SIZE, 4] float32 in [0, 1]."""
        pixels = cv2.imread(str(self.folder / "images" / f"{number:05d}.png"), cv2.IMREAD_UNCHANGED)
        return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA).astype(np.float32) / 255


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    folder = tmp_path_factory.mktemp("demo")
    model = make_demo_template(folder / "template", overwrite=False)
    template = load_flame(model)
    make_demo_subject(folder / "subject", template, DemoSettings(FRAMES, SIZE), overwrite=False)
    return Demo(folder / "subject", model, template)


def background(size: int = SIZE) -> np.ndarray:
    """Blots of all colours and sizes, and some noise. [size, size, 3] float32 in [0, 1]."""
    random = np.random.default_rng(7)
    blots = np.full((size, size, 3), 0.5, np.float32)
    for cells, strength in ((4, 0.3), (16, 0.2)):
        coarse = random.normal(size=(cells, cells, 3)).astype(np.float32)
        blots += strength * cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
    return np.clip(blots + 0.02 * random.normal(size=blots.shape), 0, 1).astype(np.float32)


def before_background(picture: np.ndarray) -> np.ndarray:
    """A straight RGBA picture as a camera sees it, in 8 bits. [H, W, 3] float32 in [0, 1]."""
    alpha = picture[..., 3:]
    seen = picture[..., :3] * alpha + background(len(picture)) * (1 - alpha)
    return (np.rint(seen * 255) / 255).astype(np.float32)


def save(path: Path, picture: np.ndarray) -> None:
    """Write a grey, RGB or RGBA picture, uint8 or in [0, 1]."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = picture if picture.dtype == np.uint8 else np.rint(picture * 255).astype(np.uint8)
    if pixels.ndim == 3:
        pixels = cv2.cvtColor(pixels, {3: cv2.COLOR_RGB2BGR, 4: cv2.COLOR_RGBA2BGRA}[pixels.shape[2]])
    assert cv2.imwrite(str(path), pixels)


def make_raw(
    folder: Path, demo: Demo, first: int = 0, picture_first: int = 0, left_out: Sequence[int] = (), repeat: int = 1
) -> Path:
    """A raw folder: checkpoint/ numbered from `first`, but for the places left out; input/ and masks/ from `picture_first`."""
    for place in range(FRAMES * repeat):
        truth = demo.picture(place % FRAMES)
        if place not in left_out:
            (folder / "checkpoint").mkdir(parents=True, exist_ok=True)
            tracked = demo.folder / "checkpoint" / f"{place % FRAMES:05d}.frame"
            shutil.copy(tracked, folder / "checkpoint" / f"{first + place:05d}.frame")
        name = f"{picture_first + place:05d}.png"
        save(folder / "input" / name, before_background(truth))
        save(folder / "masks" / name, np.uint8(255) * (truth[..., 3] > 0.5))
    return folder


@pytest.fixture
def raw(demo: Demo, tmp_path: Path) -> Path:
    return make_raw(tmp_path / "raw", demo)


Command = Callable[..., Ended]


@pytest.fixture
def prepare(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Command:
    """`python -m rgbavatar.prepare` in this process, into the subject `one` below tmp_path/data unless told otherwise."""

    def call(*arguments: object) -> Ended:
        given = [str(argument) for argument in arguments]
        place = [] if "--subject" in given else ["--data_dir", str(tmp_path / "data"), "--subject", "one"]
        monkeypatch.setattr(sys, "argv", ["prepare", *given, *place])
        code = 0
        try:
            runpy.run_module("rgbavatar.prepare", run_name="__main__", alter_sys=False)
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


@pytest.fixture
def one(tmp_path: Path) -> Path:
    """The folder of the subject that `prepare` makes."""
    return tmp_path / "data" / "one"


def results(folder: Path) -> dict[str, bytes]:
    """All files of a prepared subject but for the plan."""
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "prepared.json")
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def read_rgba(path: Path) -> np.ndarray:
    """A prepared picture, float32 in [0, 1]."""
    pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert pixels.shape[2] == 4
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2RGBA).astype(np.float32) / 255
