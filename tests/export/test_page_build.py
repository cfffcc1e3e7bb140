"""The committed page is what its sources build, and the sources have sound types."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from rgbavatar.export.page import SHELL
from tests.helpers.environment import AT_START

WEB = SHELL.parents[1]


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the front end's sources with its tools installed, from the checkout where they are there already."""
    if shutil.which("npm") is None:
        missing("npm is not installed")
    folder = tmp_path_factory.mktemp("web") / "web"
    shutil.copytree(WEB, folder, ignore=shutil.ignore_patterns("node_modules", "dist"))
    if (WEB / "node_modules").is_dir():
        (folder / "node_modules").symlink_to(WEB / "node_modules")
        return folder
    installed = npm(folder, "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    if installed.returncode != 0:
        missing(f"npm cannot install the front end's tools: {installed.stderr[-500:]}")
    return folder


def missing(what: str) -> None:
    if os.environ.get("CI"):
        pytest.fail(what)
    pytest.skip(what)


def npm(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["npm", *arguments], cwd=folder, capture_output=True, text=True, timeout=300, check=False, env=AT_START
    )


def test_the_committed_page_is_up_to_date(workshop: Path) -> None:
    built = npm(workshop, "run", "build")
    assert built.returncode == 0, built.stderr
    assert (workshop / "dist" / "page.html").read_bytes() == SHELL.read_bytes(), "run `make page` and commit the result"


def test_types_are_sound(workshop: Path) -> None:
    checked = npm(workshop, "run", "check")
    assert checked.returncode == 0, checked.stdout


def test_the_lock_file_names_no_host() -> None:
    for name in ("package-lock.json", "package.json", ".npmrc"):
        assert not re.search(r"https?:|registry\.", (WEB / name).read_text()), name


def test_front_end_files_stay_under_400_lines() -> None:
    files = [path for path in (WEB / "src").rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path.name for path in files if len(path.read_text().splitlines()) > 400] == []
