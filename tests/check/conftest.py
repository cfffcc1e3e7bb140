"""A small good subject, not square, and its template."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rgbavatar.check.inspection import Inspection, inspect
from rgbavatar.check.opening import open_subject
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject
from rgbavatar.templates.flame import FlameTemplate, load_flame
from rgbavatar.templates.procedural_head import make_procedural_head, write_flame
from tests.check.wrongs import pad

FRAMES = 36
SIZE = 80
RESOLUTION = 40  # of the template: 1,600 vertices, so that a check takes a second


@dataclass(frozen=True)
class Good:
    """A good subject. model: of its template."""

    folder: Path
    model: Path
    template: FlameTemplate

    def check(self, folder: Path, frames: int = 20) -> Inspection:
        with closing(open_subject(folder, self.template, "auto")) as subject:
            return inspect(subject, self.template, frames)


def make_subject(folder: Path, template: FlameTemplate, seed: int) -> Path:
    make_demo_subject(folder, template, DemoSettings(FRAMES, SIZE, seed, samples=2), overwrite=False)
    (folder / "made.json").unlink()
    pad(folder, 28, 4, 12, 0)
    return folder


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """These tests are many small steps: on a busy machine, threads would wait for each other in each of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def good(tmp_path_factory: pytest.TempPathFactory) -> Good:
    folder = tmp_path_factory.mktemp("check")
    (folder / "template").mkdir()
    model = write_flame(make_procedural_head(RESOLUTION), folder / "template")
    template = load_flame(model)
    return Good(make_subject(folder / "good", template, seed=1), model, template)
