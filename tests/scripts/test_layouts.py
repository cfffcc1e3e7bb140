"""The scripts on subjects of other layouts: train, measure, render."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.datasets.synthetic import DemoSettings
from rgbavatar.templates.flame import load_flame
from tests.helpers.layouts import read_insta, write_insta_transforms, write_pixel3dmm, write_vhap
from tests.helpers.multi_camera import write_rig
from tests.scripts.conftest import FRAMES, TEST_FRAMES, Script, Workspace


def as_vhap(folder: Path, workspace: Workspace, insta: Path) -> None:
    write_vhap(folder, *read_insta(insta), load_flame(workspace.folder / "template" / "generic_model.pkl"), TEST_FRAMES)


WRITERS: dict[str, Callable[[Path, Workspace, Path], object]] = {
    "pixel3dmm": lambda folder, _, insta: write_pixel3dmm(folder, *read_insta(insta)),
    "insta_transforms": lambda folder, _, insta: write_insta_transforms(folder, *read_insta(insta), TEST_FRAMES),
    "vhap": as_vhap,
}


def metric(workspace: Workspace, split: str) -> dict[str, float]:
    content = json.loads((workspace.run / "metrics" / split / "metrics.json").read_text())
    return {name: values["mean"] for name, values in content["metrics"].items()}


@pytest.mark.parametrize("name", WRITERS)
def test_a_subject_of_another_layout_goes_the_whole_way(name: str, script: Script, workspace: Workspace) -> None:
    insta = workspace.subject.rename(workspace.folder / "insta")
    WRITERS[name](workspace.subject, workspace, insta)
    ended = script("train_offline", *workspace.training("training.images=120"), "--preload")
    assert ended.code == 0, ended.err
    ended = script("calculate_metrics", *workspace.common)
    assert ended.code == 0, ended.err
    assert metric(workspace, "train")["psnr"] > 30.0
    assert metric(workspace, "test")["psnr"] > 30.0
    ended = script("render", *workspace.common)
    assert ended.code == 0, ended.err
    assert len(list((workspace.run / "images").glob("*.png"))) == FRAMES


def test_a_held_out_camera_is_measured(script: Script, workspace: Workspace) -> None:
    shutil.rmtree(workspace.subject)
    template = load_flame(workspace.folder / "template" / "generic_model.pkl")
    write_rig(
        workspace.subject, template, DemoSettings(frames=4, size=48, samples=1), cameras=4, held_out=1, test_frames=1
    )
    ended = script("train_offline", *workspace.training("training.images=160"), "--preload")
    assert ended.code == 0, ended.err
    ended = script("calculate_metrics", *workspace.common)
    assert ended.code == 0, ended.err
    assert metric(workspace, "val")["psnr"] > 21.0
    counts = {
        split: len(np.load(workspace.run / "metrics" / split / "metrics.npz")["psnr"])
        for split in ("train", "val", "test")
    }
    assert counts == {"train": 9, "val": 3, "test": 4}
    ended = script("render", *workspace.common, "--split", "val")
    assert ended.code == 0, ended.err
    assert [path.stem for path in sorted((workspace.run / "images").glob("*.png"))] == ["00001", "00005", "00009"]
