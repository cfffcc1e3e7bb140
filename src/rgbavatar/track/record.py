"""What a tracking has done so far, kept beside its results in `tracked.json`, so that a second call goes on where the first
stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rgbavatar.datasets.blendshape_layout import BLENDSHAPE
from rgbavatar.datasets.frame_layout import IMAGES
from rgbavatar.errors import DataError, OutputError
from rgbavatar.io.files import is_partial, output_error, write_text
from rgbavatar.prepare.resize import Window

TRACKED = "tracked.json"
PROGRAM = "rgbavatar.track"
RECORDED = "recorded"  # folder of what a camera gave, which cannot be had again
WORK = "work"  # folder of what is found on the way
SEEN, FITTED, ALIGNED = KEPT = "seen.npz", "fitted.npz", "aligned.npz"  # its files


@dataclass(frozen=True)
class Record:
    """One tracking.

    settings: Options.settings; source: what it was made from, stamp: how that looked. frames: numbers in the source of the
    results, which are numbered 0, 1, ...; seconds: when. lost: why, by number in the source. cuts: results that begin another
    shot. crowded: numbers with several faces. window, size (width, height): of the pictures. numbers: mean error and the like,
    for the report.
    """

    settings: Mapping[str, object]
    source: str
    stamp: str
    frames: Sequence[int] = ()
    seconds: Sequence[float] = ()
    lost: Mapping[int, str] = field(default_factory=dict)
    cuts: Sequence[int] = ()
    crowded: Sequence[int] = ()
    window: Window | None = None
    size: tuple[int, int] | None = None
    numbers: Mapping[str, float] = field(default_factory=dict)
    complete: bool = False


def stamp_source(source: str) -> str:
    """What changes when a video, or one of a folder's pictures, does. Raises DataError where it is missing."""
    path = Path(source)
    try:
        files = sorted(entry for entry in path.iterdir() if entry.is_file()) if path.is_dir() else [path]
        found = [(file.name, file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    except OSError as error:
        raise DataError(f"{error.filename}: found {error.strerror}, expected a file that can be read") from error
    return hashlib.sha256(json.dumps(found).encode()).hexdigest()[:16]


def picture_path(folder: Path, number: int) -> Path:
    """The picture of a result."""
    return folder / IMAGES / f"{number:05d}.png"


def parameter_path(folder: Path, number: int) -> Path:
    """The parameters of a result."""
    return folder / BLENDSHAPE.folder / f"{number:05d}{BLENDSHAPE.suffix}"


def work_paths(folder: Path) -> list[Path]:
    """What is kept on the way, there or not."""
    return [folder / WORK / name for name in KEPT]


def read_record(folder: Path) -> Record | None:
    """The record in a folder, or None where there is nothing. Raises OutputError where it holds something that we did not
    make."""
    path = folder / TRACKED
    if path.is_file():
        try:
            return _record_from(json.loads(path.read_text()))
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise OutputError(
                f"{path}: cannot be understood ({type(error).__name__}), expected what {PROGRAM} wrote; choose another --subject"
            ) from error
    if folder.is_file() or (folder.is_dir() and any(not is_partial(entry) for entry in folder.iterdir())):
        raise OutputError(
            f"{folder}: found something that {PROGRAM} did not make, expected nothing; choose another --subject"
        )
    return None


def write_record(folder: Path, record: Record) -> None:
    """Write `tracked.json`. Raises OutputError."""
    write_text(folder / TRACKED, json.dumps({"program": PROGRAM} | asdict(record), indent=1) + "\n")


def finished(folder: Path, record: Record) -> set[int]:
    """The numbers of results that are there, whole."""
    numbers = range(len(record.frames))
    return {n for n in numbers if picture_path(folder, n).is_file() and parameter_path(folder, n).is_file()}


def remove_results(folder: Path, record: Record) -> None:
    """Remove what a tracking made, and nothing else; what a camera gave is kept. Raises OutputError."""
    numbers = range(len(record.frames))
    paths = [path for n in numbers for path in (picture_path(folder, n), parameter_path(folder, n))]
    paths += work_paths(folder)
    for part in (folder, folder / IMAGES, folder / BLENDSHAPE.folder, folder / WORK):
        paths += [path for path in part.iterdir() if is_partial(path)] if part.is_dir() else []
    remove_files(paths)


def remove_files(paths: Sequence[Path]) -> None:
    """Remove files that may be there. Raises OutputError."""
    for path in paths:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise output_error(path, error) from error


def check_same(folder: Path, old: Record, new: Record) -> None:
    """Raise OutputError where a folder was tracked from another source or with other settings."""
    for key, value in new.settings.items():
        if old.settings.get(key) != value:
            raise OutputError(
                f"{folder}: was tracked with {key} {old.settings.get(key)}, not {value}; pass --overwrite to track it anew, or "
                f"choose another --subject"
            )
    if (old.source, old.stamp) != (new.source, new.stamp):
        found = old.source if old.source != new.source else f"{old.source} as it was before it changed"
        raise OutputError(
            f"{folder}: was tracked from {found}, not {new.source}; pass --overwrite to track it anew, or choose another "
            f"--subject"
        )


def _record_from(content: Mapping[str, Any]) -> Record:
    """Raises KeyError, TypeError or ValueError where it is none of ours."""
    if content["program"] != PROGRAM:
        raise ValueError(content["program"])
    rest = {key: value for key, value in content.items() if key != "program"}
    rest["window"] = None if rest["window"] is None else Window(**rest["window"])
    rest["size"] = None if rest["size"] is None else tuple(rest["size"])
    rest["lost"] = {int(number): why for number, why in rest["lost"].items()}
    return Record(**rest)
