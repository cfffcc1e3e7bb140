"""A small subject, and the scripts run on it: in this process where that is enough, as a program where it is not."""

from __future__ import annotations

import runpy
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.templates.flame import load_flame
from tests.helpers.ended import Ended

ROOT = Path(__file__).parents[2]
FRAMES, TEST_FRAMES = 10, 3


@dataclass(frozen=True)
class Workspace:
    """A folder with a template, the subject `small`, and the arguments that make training on it short."""

    folder: Path

    @property
    def subject(self) -> Path:
        return self.folder / "subjects" / "small"

    @property
    def run(self) -> Path:
        return self.folder / "output" / "test" / "small"

    @property
    def common(self) -> list[str]:
        return [
            "--subject",
            "small",
            "--work_name",
            "test",
            "--output_dir",
            str(self.folder / "output"),
            "--device",
            "cpu",
        ]

    def training(self, *settings: str) -> list[str]:
        """Arguments of a training script. settings: key=value, after those that every test shares."""
        shared = [
            f"dataset.data_dir={self.folder / 'subjects'}",
            f"dataset.test_frames={TEST_FRAMES}",
            f"template.path={self.folder / 'template' / 'generic_model.pkl'}",
            "model.tex_size=40",
            "model.initial_scale=0.004",
            "training.images=24",
            "training.batch_size=4",
            "training.bases_after=8",
        ]
        return [*self.common, *(part for setting in [*shared, *settings] for part in ("--set", setting))]


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("workspace")
    model = make_demo_template(folder / "template", overwrite=False)
    settings = DemoSettings(frames=FRAMES, size=48, samples=2)
    make_demo_subject(folder / "subjects" / "small", load_flame(model), settings, overwrite=False)
    return folder


@pytest.fixture
def workspace(made_once: Path, tmp_path: Path) -> Workspace:
    """A copy that the test may break; the template is shared."""
    shutil.copytree(made_once / "subjects", tmp_path / "subjects")
    (tmp_path / "template").symlink_to(made_once / "template")
    return Workspace(tmp_path)


Script = Callable[..., Ended]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Script:
    """Run a script in this process: script("render", *arguments)."""

    monkeypatch.setenv("COLUMNS", "200")  # the width that --help is wrapped to
    monkeypatch.chdir(ROOT)

    def call(name: str, *arguments: str) -> Ended:
        monkeypatch.setattr(sys, "argv", [f"{name}.py", *arguments])
        code = 0
        try:
            runpy.run_path(str(ROOT / f"{name}.py"), run_name="__main__")
        except SystemExit as ended:
            code = int(ended.code or 0)
        captured = capfd.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


def start_program(name: str, *arguments: str) -> subprocess.Popen[str]:
    """Start a script as a program of its own, which tells where it was if it is aborted."""
    command = [sys.executable, "-X", "faulthandler", str(ROOT / f"{name}.py"), *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
