"""A run's folder: nothing of the user's is lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from rgbavatar.errors import CheckpointError, OutputError
from rgbavatar.io.run_dir import RunDir, create_run_dir, open_run_dir, refuse_existing

OURS = [
    "config.yaml", "checkpoint.pt", "model.ply", "speed.txt", "compare.mp4", "quality.jsonl", "samples.npy", "preview.png",
    "avatar.npz", "splats/00012.ply",
    "images/00001.png", "images/compare/123456.png",
    "metrics/test/metrics.json", "metrics/train/metrics.npz", "tensorboard/events.out.tfevents.1.host.2.0",
    ".checkpoint.0123abcd.partial.pt", "images/turntable/.00007.0123abcd.partial.png",
]  # fmt: skip
FOREIGN = [
    "notes.txt", "My Video.mp4", "holiday.mp4", "model_v2.ply",
    "checkpoint.pt.bak", "images/paper/00001.png", "images/favourite.png",
    "images/compare/00001.jpg", "images/test/00001.png", "metrics/test/plot.pdf", "metrics/metrics.txt",
    "tensorboard/readme", "other/checkpoint.pt", ".git/config",
]  # fmt: skip


def fill(folder: Path, names: list[str]) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() or path.is_symlink()}


def test_a_new_run_gets_an_empty_folder(tmp_path: Path) -> None:
    run = create_run_dir(tmp_path / "output", "offline", "bala", overwrite=False, resume=False)
    assert run.path == tmp_path / "output" / "offline" / "bala"
    assert run.path.is_dir()
    create_run_dir(tmp_path / "output", "offline", "bala", overwrite=False, resume=False)  # still empty


def test_the_names_of_the_results() -> None:
    run = RunDir(Path("r"))
    found = [
        run.config,
        run.checkpoint,
        run.ply,
        run.speed,
        run.log,
        run.images,
        run.pictures_of("frames"),
        run.pictures_of("compare"),
    ]
    found += [run.video("compare")]
    names = " ".join(path.relative_to("r").as_posix() for path in found)
    assert names == "config.yaml checkpoint.pt model.ply speed.txt tensorboard images images images/compare compare.mp4"
    assert run.metrics_of("train") == Path("r/metrics/train")
    with pytest.raises(ValueError, match="split"):
        run.metrics_of("../test")


@pytest.mark.parametrize("name", ["checkpoint.pt", "notes.txt"])
def test_a_folder_that_holds_anything_is_refused_and_left_alone(tmp_path: Path, name: str) -> None:
    fill(tmp_path / "w" / "s", [name])
    with pytest.raises(OutputError, match=r"--overwrite .* --resume"):
        create_run_dir(tmp_path, "w", "s", overwrite=False, resume=False)
    assert files_below(tmp_path) == {f"w/s/{name}"}


def test_overwrite_removes_results_and_nothing_else(tmp_path: Path) -> None:
    fill(tmp_path / "w" / "s", OURS + FOREIGN)
    fill(tmp_path / "w" / "another", OURS)
    create_run_dir(tmp_path, "w", "s", overwrite=True, resume=False)
    assert files_below(tmp_path / "w" / "s") == set(FOREIGN)
    assert files_below(tmp_path / "w" / "another") == set(OURS)


@pytest.mark.parametrize("link", ["images", "images/compare", "metrics", "tensorboard"])
def test_overwrite_does_not_reach_through_a_link(tmp_path: Path, link: str) -> None:
    fill(tmp_path / "dataset", ["00001.png", "test/00001.png", "test/metrics.json", "events.out.tfevents.1"])
    before = files_below(tmp_path / "dataset")
    fill(tmp_path / "w" / "s", ["checkpoint.pt"])
    (tmp_path / "w" / "s" / link).parent.mkdir(exist_ok=True)
    (tmp_path / "w" / "s" / link).symlink_to(tmp_path / "dataset")
    with pytest.raises(OutputError, match="is a link"):
        create_run_dir(tmp_path, "w", "s", overwrite=True, resume=False)
    assert files_below(tmp_path / "dataset") == before
    assert (tmp_path / "w" / "s" / "checkpoint.pt").exists(), "refused before anything was removed"


def test_a_linked_result_loses_the_link_and_not_what_it_points_to(tmp_path: Path) -> None:
    fill(tmp_path, ["keep.pt"])
    (tmp_path / "w" / "s").mkdir(parents=True)
    (tmp_path / "w" / "s" / "checkpoint.pt").symlink_to(tmp_path / "keep.pt")
    create_run_dir(tmp_path, "w", "s", overwrite=True, resume=False)
    assert files_below(tmp_path) == {"keep.pt"}


def test_resume_keeps_everything_and_needs_a_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="nothing to resume"):
        create_run_dir(tmp_path, "w", "s", overwrite=False, resume=True)
    assert not (tmp_path / "w").exists()
    fill(tmp_path / "w" / "s", OURS + FOREIGN)
    create_run_dir(tmp_path, "w", "s", overwrite=False, resume=True)
    assert files_below(tmp_path / "w" / "s") == set(OURS + FOREIGN)


def test_both_flags_contradict_each_other(tmp_path: Path) -> None:
    fill(tmp_path / "w" / "s", OURS)
    with pytest.raises(OutputError, match="one of them"):
        create_run_dir(tmp_path, "w", "s", overwrite=True, resume=True)
    assert files_below(tmp_path / "w" / "s") == set(OURS)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "/etc", "..\\x"])
def test_a_name_cannot_leave_the_root(tmp_path: Path, name: str) -> None:
    for work_name, subject in ((name, "s"), ("w", name)):
        with pytest.raises(OutputError, match="no name of a folder"):
            create_run_dir(tmp_path / "root", work_name, subject, overwrite=True, resume=False)
    assert list(tmp_path.iterdir()) == []


def test_a_file_where_the_run_should_be_is_an_output_error(tmp_path: Path) -> None:
    fill(tmp_path, ["w/s", "v"])
    for work_name in ("w", "v"):
        with pytest.raises(OutputError, match="a file stands where a folder is needed"):
            create_run_dir(tmp_path, work_name, "s", overwrite=True, resume=False)


def test_opening_a_run_that_is_not_there_lists_those_that_are(tmp_path: Path) -> None:
    fill(tmp_path, ["w/a/checkpoint.pt", "w/b/checkpoint.pt", "w/untrained/config.yaml"])
    assert open_run_dir(tmp_path, "w", "a").checkpoint.read_text() == "w/a/checkpoint.pt"
    for subject in ("c", "untrained"):
        with pytest.raises(CheckpointError, match=r"trained runs in .*: w/a, w/b$"):
            open_run_dir(tmp_path, "w", subject)
    with pytest.raises(CheckpointError, match=r"none$"):
        open_run_dir(tmp_path / "nowhere", "w", "a")


def test_a_result_is_replaced_only_on_request(tmp_path: Path) -> None:
    refuse_existing(tmp_path / "compare.mp4", overwrite=False)
    fill(tmp_path, ["compare.mp4"])
    refuse_existing(tmp_path / "compare.mp4", overwrite=True)
    with pytest.raises(OutputError, match=r"compare\.mp4: exists already; give --overwrite"):
        refuse_existing(tmp_path / "compare.mp4", overwrite=False)
    assert files_below(tmp_path) == {"compare.mp4"}
