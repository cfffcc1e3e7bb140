"""A published model.ply becomes a run that shows the same pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import plyfile
import pytest

from rgbavatar.io.ply import read_ply, write_ply
from tests.scripts.conftest import ROOT, Script, Workspace


def import_ply(workspace: Workspace, ply: Path, *settings: str) -> subprocess.CompletedProcess[str]:
    shared = [f"dataset.data_dir={workspace.folder / 'subjects'}", "dataset.test_frames=3", "training.images=24"]
    shared += [
        f"template.path={workspace.folder / 'template' / 'generic_model.pkl'}",
        "model.tex_size=40",
        "model.hidden_width=3",
    ]
    command = [sys.executable, "-m", "rgbavatar.import_ply", str(ply), "--subject", "small", "--work_name", "theirs"]
    command += ["--output_dir", str(workspace.folder / "output")]
    command += [part for setting in [*shared, *settings] for part in ("--set", setting)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.fixture
def trained(script: Script, workspace: Workspace) -> Workspace:
    ended = script("train_offline", *workspace.training("training.images=60", "model.hidden_width=3"), "--preload")
    assert ended.code == 0, ended.err
    return workspace


@pytest.fixture
def published(trained: Workspace) -> Path:
    """The file as the published code writes it: no comment that counts the weights."""
    ours = read_ply(trained.run / "model.ply")
    write_ply(trained.folder / "published.ply", ours.columns)
    return trained.folder / "published.ply"


def test_the_file_has_the_published_properties(trained: Workspace) -> None:
    vertex = plyfile.PlyData.read(str(trained.run / "model.ply"))["vertex"]
    names = [item.name for item in vertex.properties]
    expected = ["x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity"]
    expected += [*(f"scale_{i}" for i in range(3)), *(f"rot_{i}" for i in range(4))]
    for name, width in (("xyz_b", 3), ("rot_b", 4), ("f_dc_b", 3)):
        expected += [f"{name}_{i}" for i in range(20 * width)]
    assert names[: len(expected)] == expected
    assert {"weight_module", "face_id", "face_bary_0", "face_bary_1", "face_bary_2"} <= set(names)


def test_an_imported_avatar_shows_the_same_pictures(script: Script, trained: Workspace, published: Path) -> None:
    assert "weight_module_1" not in read_ply(published).columns  # as in published ones, which have more Gaussians
    done = import_ply(trained, published)
    assert done.returncode == 0, done.stderr
    theirs = [*trained.common]
    theirs[theirs.index("--work_name") + 1] = "theirs"
    for arguments in (trained.common, theirs):
        assert script("render", *arguments).code == 0
    ours = sorted((trained.run / "images").glob("*.png"))
    assert ours
    for path in ours:
        assert path.read_bytes() == (trained.run.parents[1] / "theirs" / "small" / "images" / path.name).read_bytes()
    assert script("calculate_metrics", *theirs).code == 0


@pytest.mark.parametrize(
    ("settings", "part"), [(["model.hidden_width=34"], "hidden"), (["model.hidden_width=300"], "hidden")]
)
def test_a_network_of_another_size_is_one_line(
    trained: Workspace, published: Path, settings: list[str], part: str
) -> None:
    done = import_ply(trained, published, *settings)
    assert done.returncode == 2
    assert part in done.stderr
    assert "published.ply" in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1


def test_a_triangle_that_the_template_lacks_is_one_line(trained: Workspace, published: Path) -> None:
    columns = dict(read_ply(published).columns)
    columns["face_id"] = columns["face_id"] + np.int32(100_000)
    write_ply(trained.folder / "odd.ply", columns)
    done = import_ply(trained, trained.folder / "odd.ply")
    assert done.returncode == 2
    assert "triangle" in done.stderr
