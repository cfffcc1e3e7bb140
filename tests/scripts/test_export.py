"""`python -m rgbavatar.export` on a trained run."""

from __future__ import annotations

import subprocess
import sys

import plyfile
import pytest
import torch

from rgbavatar.export.bundle import read_bundle
from tests.scripts.conftest import FRAMES, ROOT, Script, Workspace


def export(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rgbavatar.export", *arguments, "--device", "cpu"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def trained(script: Script, workspace: Workspace) -> Workspace:
    ended = script("train_offline", *workspace.training(), "--preload")
    assert ended.code == 0, ended.err
    return workspace


def test_frames_become_splats_and_nothing_is_overwritten_unasked(trained: Workspace) -> None:
    done = export("splats", str(trained.run))
    assert done.returncode == 0, done.stderr
    files = sorted((trained.run / "splats").iterdir())
    assert [path.name for path in files] == [f"{i:05d}.ply" for i in range(FRAMES)]
    assert len(plyfile.PlyData.read(str(files[0]))["vertex"].data) > 100
    again = export("splats", str(trained.run), "--frames", "3")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    elsewhere = export("splats", str(trained.run), "--frames", "3", "7", "--out", str(trained.folder / "two"))
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert sorted(path.name for path in (trained.folder / "two").iterdir()) == ["00003.ply", "00007.ply"]


def test_a_run_becomes_a_bundle(trained: Workspace) -> None:
    done = export("bundle", str(trained.run))
    assert done.returncode == 0, done.stderr
    assert "MB" in done.stdout
    assert read_bundle(trained.run / "avatar.npz", torch.device("cpu")).images_seen == 24


def test_a_run_becomes_a_page(trained: Workspace) -> None:
    done = export("page", str(trained.run))
    assert done.returncode == 0, done.stderr
    assert f"{FRAMES} frames" in done.stdout
    page = (trained.run / "page.html").read_text()
    assert page.startswith("<!doctype html>")
    assert str(trained.folder) not in page
    again = export("page", str(trained.run), "--every", "4")
    assert again.returncode == 2
    assert "--overwrite" in again.stderr
    for choice, count in ((["--every", "4"], 3), (["--frames", "2", "7"], 2)):
        fewer = export("page", str(trained.run), *choice, "--overwrite")
        assert fewer.returncode == 0, fewer.stderr
        assert f"{count} frames" in fewer.stdout
    elsewhere = export("page", str(trained.run), "--every", "9", "--out", str(trained.folder / "there" / "my.html"))
    assert elsewhere.returncode == 0, elsewhere.stderr
    assert (trained.folder / "there" / "my.html").stat().st_size > 100_000


def test_frames_are_chosen_in_one_way(trained: Workspace) -> None:
    for arguments in (["--every", "0"], ["--every", "2", "--frames", "3"]):
        ended = export("page", str(trained.run), *arguments)
        assert ended.returncode == 2
        assert "usage:" in ended.stderr
    assert not (trained.run / "page.html").exists()


def test_what_cannot_be_exported_is_one_line(trained: Workspace) -> None:
    for arguments, part in (
        (["bundle", str(trained.folder / "nowhere")], "checkpoint.pt"),
        (["splats", str(trained.run), "--frames", "99"], "--frames: found no frame 99"),
        (["page", str(trained.run), "--frames", "3", "99"], "--frames: found no frame 99"),
        (["page", str(trained.folder / "nowhere")], "checkpoint.pt"),
    ):
        ended = export(*arguments)
        assert ended.returncode == 2
        assert part in ended.stderr
        assert ended.stderr.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in ended.stderr
