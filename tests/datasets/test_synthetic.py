"""The demo subject: it reads back, its pictures show its mesh, it is deterministic, and it never replaces other data."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.datasets import synthetic
from rgbavatar.datasets.frame_file import read_frame_file
from rgbavatar.datasets.recorded import load_recorded
from rgbavatar.errors import DataError, OutputError
from rgbavatar.templates.flame import FlameTemplate, load_flame
from tests.datasets.silhouettes import mean_overlap
from tests.datasets.subjects import frame_content

FRAMES, SIZE = 6, 64
SETTINGS = synthetic.DemoSettings(frames=FRAMES, size=SIZE, samples=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with a demo subject made from the command line."""
    folder = tmp_path_factory.mktemp("data")
    assert run(folder) == 0
    return folder


@pytest.fixture(scope="module")
def template(home: Path) -> FlameTemplate:
    return load_flame(home / "demo_template" / "generic_model.pkl")


def run(folder: Path, *more: str) -> int:
    return synthetic.main(
        ["--data_dir", str(folder), "--frames", str(FRAMES), "--size", str(SIZE), "--samples", "2", *more]
    )


def digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.*")}


def test_it_reads_back_as_a_subject(home: Path, template: FlameTemplate) -> None:
    dataset = load_recorded(home / "demo", template, preload=True, pin_memory=False)
    assert len(dataset) == FRAMES
    assert (dataset.images.width, dataset.images.height) == (SIZE, SIZE)
    assert len(dataset.camera) == 1
    assert torch.isfinite(dataset.vertices).all()
    assert torch.isfinite(dataset.codes).all()


def test_its_mesh_lies_on_its_masks(home: Path, template: FlameTemplate) -> None:
    dataset = load_recorded(home / "demo", template, preload=True, pin_memory=False)
    assert mean_overlap(dataset, torch.arange(FRAMES)) > 0.93  # the rest is hair, which has no mesh


def test_its_tracking_has_the_keys_and_types_of_metrical_tracker(home: Path) -> None:
    made = torch.load(home / "demo" / "checkpoint" / "00001.frame", weights_only=False)
    expected = frame_content(1)
    assert made.keys() == expected.keys()
    assert made["frame_id"] == "00001"
    for part in ("flame", "opencv", "camera"):
        assert {k: (v.shape, v.dtype) for k, v in made[part].items()} == {
            k: (v.shape, v.dtype) for k, v in expected[part].items()
        }


def test_the_head_is_upright_and_lit_with_soft_edges(home: Path, template: FlameTemplate) -> None:
    dataset = load_recorded(home / "demo", template, preload=True, pin_memory=False)
    image = dataset.images.read(torch.tensor([0]))[0].double() / 255
    solid = image[..., 3] == 1
    rows = torch.nonzero(solid.any(1))[:, 0]
    third = len(rows) // 3
    hair, neck = (image[r][solid[r]][:, :3].mean() for r in (rows[: third // 2], rows[-third:]))
    assert hair < neck - 0.1  # dark hair above, bare skin below
    red, green, blue = image[rows[-third:]][solid[rows[-third:]]][:, :3].mean(0)
    assert red > green > blue
    assert ((image[..., 3] > 0) & (image[..., 3] < 1)).any()
    assert (image[..., 3][[0, -1]] == 0).all()


def test_the_same_settings_give_the_same_files_and_another_seed_others(
    home: Path, template: FlameTemplate, tmp_path: Path
) -> None:
    synthetic.make_demo_subject(tmp_path / "again", template, SETTINGS, overwrite=False)
    assert digests(tmp_path / "again") == digests(home / "demo")
    other = synthetic.DemoSettings(frames=FRAMES, size=SIZE, samples=2, seed=1)
    synthetic.make_demo_subject(tmp_path / "other", template, other, overwrite=False)
    assert digests(tmp_path / "other")["00000.png"] != digests(home / "demo")["00000.png"]


def test_a_whole_demo_is_used_as_it_is(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    image = home / "demo" / "images" / "00003.png"
    before = image.stat().st_mtime_ns
    assert run(home) == 0
    assert image.stat().st_mtime_ns == before
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert str(home / "demo") in out
    assert "generic_model.pkl" in out


def test_a_demo_of_other_settings_or_with_a_file_missing_is_replaced_only_on_request(
    template: FlameTemplate, tmp_path: Path
) -> None:
    folder, small = tmp_path / "demo", synthetic.DemoSettings(frames=2, size=32, samples=1)
    synthetic.make_demo_subject(folder, template, small, overwrite=False)
    with pytest.raises(OutputError, match=r"found a demo of .*'frames': 2.* expected .*'frames': 6.*--overwrite"):
        synthetic.make_demo_subject(folder, template, SETTINGS, overwrite=False)
    (folder / "images" / "00001.png").unlink()
    with pytest.raises(OutputError, match=r"\(3 files\)"):
        synthetic.make_demo_subject(folder, template, small, overwrite=False)
    synthetic.make_demo_subject(folder, template, small, overwrite=True)
    assert len(list((folder / "images").iterdir())) == 2
    assert [p.name for p in tmp_path.iterdir()] == ["demo"]


def test_other_data_is_never_replaced(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine = tmp_path / "demo" / "images" / "00000.png"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert run(tmp_path, "--template_dir", str(home / "demo_template"), "--overwrite") == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "found something else" in error
    assert mine.read_text() == "mine"


def test_an_interrupt_leaves_nothing_behind(
    template: FlameTemplate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(synthetic, "save_png", interrupt)
    with pytest.raises(KeyboardInterrupt):
        synthetic.make_demo_subject(tmp_path / "demo", template, SETTINGS, overwrite=False)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("setting", [{"frames": 0}, {"size": 3}, {"focal": 0.0}, {"samples": 0}])
def test_a_setting_out_of_range_is_named(setting: dict[str, int]) -> None:
    with pytest.raises(DataError, match=f"{next(iter(setting))} is .* expected at least"):
        synthetic.DemoSettings(**setting)


def test_the_skin_changes_with_the_expression(home: Path) -> None:
    frame = read_frame_file(home / "demo" / "checkpoint" / "00000.frame")
    frame.expression[:] = 0
    still = synthetic.look_of(frame)
    frame.expression[:] = 2
    moved = synthetic.look_of(frame)
    for name in ("blush", "furrows", "folds"):
        assert getattr(still, name) < 0.2 < 0.9 < getattr(moved, name)


def test_it_moves_smoothly(home: Path, template: FlameTemplate) -> None:
    vertices = load_recorded(home / "demo", template, preload=False, pin_memory=False).vertices
    step = (vertices[1:] - vertices[:-1]).norm(dim=-1).max()
    assert 1e-4 < step < 0.03  # metres in a 25th of a second
    np.testing.assert_array_less(0.3, -vertices[..., 2])  # before the camera, which looks along -z of the world
