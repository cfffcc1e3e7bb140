"""The folder of a run: `<root>/<work_name>/<subject>/`, and the names of the results in it.

Nothing in it is overwritten unless the user asks; when asked, only files that carry the names of a run's own results are
removed, never anything else that lies there.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rgbavatar.errors import CheckpointError, OutputError
from rgbavatar.io.files import is_partial, make_folder, output_error

SPLITS = ("train", "test", "val")
MODES = ("compare", "turntable", "reenact", "interpolate")  # of rendering, each with a folder of its own

_RESULTS = tuple(
    re.compile(pattern)
    for pattern in (
        r"config\.yaml|checkpoint\.pt|model\.ply|speed\.txt",
        r"quality\.jsonl|samples\.npy|preview\.png|avatar\.npz|page\.html",
        r"splats/\d{5,}\.ply",
        rf"(frames|{'|'.join(MODES)})\.(mp4|webm|gif)",
        rf"images/(({'|'.join(MODES)})/)?\d{{5,}}\.png",
        rf"metrics/({'|'.join(SPLITS)})/metrics\.(npz|json|txt)",
        r"tensorboard/events\.out\.tfevents\..+",
    )
)
_RESULT_FOLDERS = (
    "",
    "splats",
    "images",
    *(f"images/{mode}" for mode in MODES),
    *(f"metrics/{split}" for split in SPLITS),
    "tensorboard",
)


@dataclass(frozen=True)
class RunDir:
    """Where a run keeps its results. The folders below `path` are created by whoever writes into them."""

    path: Path

    @property
    def config(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.yaml"

    @property
    def checkpoint(self) -> Path:
        """The truth about the avatar (see rgbavatar.io.checkpoint)."""
        return self.path / "checkpoint.pt"

    @property
    def ply(self) -> Path:
        """The avatar as a table for other programs (see rgbavatar.io.ply)."""
        return self.path / "model.ply"

    @property
    def bundle(self) -> Path:
        """The avatar in one small file (rgbavatar.export.bundle)."""
        return self.path / "avatar.npz"

    @property
    def page(self) -> Path:
        """The avatar as a page for browsers (rgbavatar.export.page)."""
        return self.path / "page.html"

    @property
    def splats(self) -> Path:
        """The folder of posed frames, `%05d.ply` (rgbavatar.export.splats)."""
        return self.path / "splats"

    @property
    def speed(self) -> Path:
        """How fast training went."""
        return self.path / "speed.txt"

    @property
    def quality(self) -> Path:
        """What an online run was worth on frames that it had not seen, line by line (rgbavatar.training.stream_records)."""
        return self.path / "quality.jsonl"

    @property
    def samples(self) -> Path:
        """Which frames each step of an online run was trained on (rgbavatar.training.stream_records)."""
        return self.path / "samples.npy"

    @property
    def preview(self) -> Path:
        """The newest frame of an online run and its avatar, side by side."""
        return self.path / "preview.png"

    @property
    def log(self) -> Path:
        """The folder of TensorBoard's event files."""
        return self.path / "tensorboard"

    @property
    def images(self) -> Path:
        """The folder of rendered images."""
        return self.path / "images"

    def pictures_of(self, mode: str) -> Path:
        """The folder of the pictures of a way of rendering, `%05d.png`: that of `frames` is the images folder itself."""
        return self.images if mode == "frames" else self.images / mode

    def metrics_of(self, split: str) -> Path:
        """The folder of the metrics of a split: metrics.npz, metrics.json, metrics.txt."""
        return self.path / "metrics" / _checked_split(split)

    def video(self, name: str, suffix: str = ".mp4") -> Path:
        """The video `name` (lower-case letters and underscores) of the run."""
        return self.path / f"{name}{suffix}"


def create_run_dir(root: Path, work_name: str, subject: str, overwrite: bool, resume: bool) -> RunDir:
    """The folder for a run that is about to start, made if missing.

    overwrite: the results of an earlier run are removed first. resume: they are kept, and there must be a checkpoint.
    Raises OutputError when the folder holds anything and neither was asked for, or both were.
    """
    run = RunDir(run_path(root, work_name, subject))
    if overwrite and resume:
        raise OutputError("--overwrite and --resume were both given; give one of them")
    if resume and not run.checkpoint.is_file():
        raise OutputError(f"{run.checkpoint}: nothing to resume, there is no checkpoint; leave --resume out")
    if _is_occupied(run.path) and not (overwrite or resume):
        raise OutputError(f"{run.path}: exists already; give --overwrite to replace its results or --resume to go on")
    make_folder(run.path)
    if overwrite:
        remove_results(run)
    return run


def open_run_dir(root: Path, work_name: str, subject: str) -> RunDir:
    """The folder of a run that has been trained. Raises CheckpointError, listing the runs there are."""
    run = RunDir(run_path(root, work_name, subject))
    if not run.checkpoint.is_file():
        raise CheckpointError(f"{run.checkpoint}: no such checkpoint; trained runs in {root}: {_list_runs(root)}")
    return run


def run_at(path: Path) -> RunDir:
    """The folder of a trained run, by its path. Raises CheckpointError where it is none."""
    run = RunDir(path)
    if not run.checkpoint.is_file():
        raise CheckpointError(
            f"{run.checkpoint}: no such checkpoint; give the folder of a run: output/WORK_NAME/SUBJECT"
        )
    return run


def refuse_existing(path: Path, overwrite: bool) -> None:
    """Raise OutputError where a result lies at `path` already, unless it may be replaced."""
    if path.exists() and not overwrite:
        raise OutputError(f"{path}: exists already; give --overwrite to replace it")


def remove_results(run: RunDir) -> None:
    """Remove the files of `run` that carry a result's name; leave all others, and follow no link. Raises OutputError."""
    for path in list(_result_files(run.path)):
        try:
            path.unlink()
        except OSError as error:
            raise output_error(path, error) from error


def _result_files(folder: Path) -> Iterator[Path]:
    for name in _RESULT_FOLDERS:
        if _has_link(folder, name):
            raise OutputError(f"{folder / name}: is a link, whose files --overwrite does not touch; remove the link")
        if (folder / name).is_dir():
            paths = sorted((folder / name).iterdir())
            yield from (path for path in paths if _is_result(path.relative_to(folder), path))


def _has_link(folder: Path, name: str) -> bool:
    return any((folder / part).is_symlink() for part in (name.split("/")[0], name) if part)


def _is_result(name: Path, path: Path) -> bool:
    if not path.is_file() and not path.is_symlink():
        return False
    return is_partial(path) or any(pattern.fullmatch(name.as_posix()) for pattern in _RESULTS)


def _is_occupied(folder: Path) -> bool:
    try:
        return folder.exists() and any(folder.iterdir())
    except OSError as error:
        raise output_error(folder, error) from error


def run_path(root: Path, work_name: str, subject: str) -> Path:
    """Where the folder of a run lies, whether it is there or not. Raises OutputError for a name that is none."""
    for option, name in (("work_name", work_name), ("subject", subject)):
        if not name or name in (".", "..") or re.search(r"[/\\\0]", name):
            raise OutputError(f"{option} {name!r} is no name of a folder; give one without slashes")
    return root / work_name / subject


def _checked_split(split: str) -> str:
    if split not in SPLITS:
        raise ValueError(f"split is {split!r}, expected one of {SPLITS}")
    return split


def _list_runs(root: Path) -> str:
    runs = sorted(path.parent.relative_to(root).as_posix() for path in root.glob("*/*/checkpoint.pt"))
    return ", ".join(runs) if runs else "none"
