"""What a preparation is going to write, kept beside it in `prepared.json`, so that a second call goes on where the first stopped.

A result is a picture and a tracked frame of one number. Both are written aside and renamed, so one that is there is whole. It
is kept if the plan in the folder made it from the same files, with the same settings and window.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rgbavatar.datasets.frame_layout import IMAGES
from rgbavatar.datasets.layouts import INSTA
from rgbavatar.errors import DataError, OutputError
from rgbavatar.io.files import is_partial, output_error, write_text
from rgbavatar.prepare.resize import Window
from rgbavatar.prepare.tracker_folder import RawSubject, Source

PREPARED = "prepared.json"
PROGRAM = "rgbavatar.prepare"


@dataclass(frozen=True)
class Planned:
    """One result. number: its own; tracked: that of the tracker; made_from: see `stamp_files`."""

    number: int
    tracked: int
    made_from: str


@dataclass(frozen=True)
class Plan:
    """All results of a preparation.

    settings: Options.settings; listing: what all files looked like; window and size (width, height) of the pictures. left_out:
    why, by the tracker's number. checked: whether all files were read before. complete: whether all results were written.
    """

    settings: Mapping[str, object]
    listing: str
    window: Window
    size: tuple[int, int]
    frames: Sequence[Planned]
    left_out: Mapping[int, str]
    checked: bool
    complete: bool


def stamp_files(files: Sequence[Path]) -> str:
    """What changes when one of the files does: names, sizes in bytes, times. Raises DataError where one is missing."""
    try:
        found = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in files]
    except OSError as error:
        raise DataError(f"{error.filename}: found {error.strerror}, expected a file that can be read") from error
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def stamp_listing(raw: RawSubject) -> str:
    """The same for all that was found of a subject."""
    parts = [f"{source.number} {stamp_files(source.files)}" for source in raw.sources]
    return hashlib.sha256("\n".join([*parts, *map(str, sorted(raw.missing))]).encode()).hexdigest()[:16]


def plan_frames(sources: Sequence[Source]) -> list[Planned]:
    """Results numbered from 0, without gaps, as the layout wants them."""
    return [Planned(number, source.number, stamp_files(source.files)) for number, source in enumerate(sources)]


def picture_path(folder: Path, number: int) -> Path:
    """The picture of a result."""
    return folder / IMAGES / f"{number:05d}.png"


def frame_path(folder: Path, number: int) -> Path:
    """The tracked frame of a result."""
    return folder / INSTA.folder / f"{number:05d}{INSTA.suffix}"


def read_plan(folder: Path) -> Plan | None:
    """The plan in a folder, or None where there is nothing. Raises OutputError where it holds something that we did not make."""
    path = folder / PREPARED
    if path.is_file():
        try:
            return _plan_from(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path}: cannot be understood ({type(error).__name__}), expected what {PROGRAM} wrote; choose another folder"
            ) from error
    if folder.is_file() or (folder.is_dir() and any(not is_partial(entry) for entry in folder.iterdir())):
        raise OutputError(
            f"{folder}: found something that {PROGRAM} did not make, expected nothing; choose another --subject"
        )
    return None


def write_plan(folder: Path, plan: Plan) -> None:
    """Write `prepared.json`. Raises OutputError."""
    write_text(folder / PREPARED, json.dumps({"program": PROGRAM} | asdict(plan), indent=1) + "\n")


def finished(folder: Path, old: Plan | None, new: Plan) -> set[int]:
    """The numbers of results that are there already, whole, as the new plan wants them."""
    if old is None or _basis(old) != _basis(new):
        return set()
    wanted = {frame.number: frame for frame in new.frames}
    same = (frame.number for frame in old.frames if wanted.get(frame.number) == frame)
    return {n for n in same if picture_path(folder, n).is_file() and frame_path(folder, n).is_file()}


def remove_results(folder: Path, old: Plan | None, kept: set[int]) -> None:
    """Remove the results of a plan but for those kept, and partial files that a killed process left. Raises OutputError."""
    stale = [frame.number for frame in old.frames if frame.number not in kept] if old else []
    paths = [path for n in stale for path in (picture_path(folder, n), frame_path(folder, n))]
    for part in (folder, folder / IMAGES, folder / INSTA.folder):
        paths += [path for path in part.iterdir() if is_partial(path)] if part.is_dir() else []
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error


def check_same_settings(folder: Path, old: Plan, settings: Mapping[str, object]) -> None:
    """Raise OutputError where a folder was prepared with other settings."""
    for key, value in settings.items():
        if old.settings.get(key) != value:
            raise OutputError(
                f"{folder}: was prepared with {key} {old.settings.get(key)}, not {value}; pass --overwrite to prepare it "
                f"anew, or choose another --subject"
            )


def _basis(plan: Plan) -> tuple[object, ...]:
    return dict(plan.settings), plan.window, tuple(plan.size)


def _plan_from(content: Mapping[str, Any]) -> Plan:
    """Raises KeyError, TypeError or ValueError where it is none of ours."""
    if content["program"] != PROGRAM:
        raise ValueError(content["program"])
    rest = {key: value for key, value in content.items() if key != "program"}
    rest["window"] = Window(**rest["window"])
    rest["size"] = tuple(rest["size"])
    rest["frames"] = [Planned(**frame) for frame in rest["frames"]]
    rest["left_out"] = {int(number): why for number, why in rest["left_out"].items()}
    return Plan(**rest)
