"""Meshes in Wavefront OBJ files, as far as head models need them.

Words: a *statement* is a line with a keyword (`v` vertex, `vt` UV vertex, `f` polygon, `g` groups, `o` object, `usemtl`
material); a backslash at a line's end continues it, `#` starts a comment. Other keywords are skipped. A *corner* of a polygon is
`v`, `v/vt`, `v/vt/vn` or `v//vn`; indices count from 1, negative ones back from what has been read so far. A *label* is the name
of a group, an object or a material; a polygon may have several.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError

NO_UV = -1
_EXPECTED_CORNER = "expected v, v/vt, v/vt/vn or v//vn"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ObjMesh:
    """vertices [V, 3]; uv [Vt, 2]; faces, uv_faces [F, 3]: triangles, NO_UV at corners without UV; in the file's units and axes.

    labels: the sets of labels that occur; face_labels [F]: which of them a triangle has.
    """

    vertices: Floats
    uv: Floats
    faces: Ints
    uv_faces: Ints
    labels: tuple[frozenset[str], ...]
    face_labels: Ints

    @property
    def names(self) -> list[str]:
        """All labels, sorted."""
        return sorted(frozenset().union(*self.labels))

    def labelled(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Which triangles [F] have at least one of the labels `names`."""
        wanted = frozenset(names)
        return np.array([bool(wanted & held) for held in self.labels], bool)[self.face_labels]


@dataclass
class _Polygons:
    """Polygons one after the other: corners of all, and of each its number of corners, label set and line."""

    corners: list[int] = field(default_factory=list)
    uv_corners: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    lines: list[int] = field(default_factory=list)


def read_obj(path: Path) -> ObjMesh:
    """Read a mesh; polygons become triangles. Raises TemplateError naming the file and the line."""
    vertices: list[list[float]] = []
    uv: list[list[float]] = []
    polygons, label_sets = _Polygons(), dict[frozenset[str], int]()
    held = {"g": list[str](), "o": list[str](), "usemtl": list[str]()}
    for line, (keyword, *words) in _statements(path):
        if keyword == "v":
            vertices.append(_numbers(path, line, words, 3))
        elif keyword == "vt":
            uv.append(_numbers(path, line, words, 2))
        elif keyword in held:
            held[keyword] = words
        elif keyword == "f":
            labels = frozenset(name for names in held.values() for name in names)
            polygons.labels.append(label_sets.setdefault(labels, len(label_sets)))
            _add_polygon(path, line, words, polygons, len(vertices), len(uv))
    if not vertices or not polygons.sizes:
        raise TemplateError(
            f"{path}: found {len(vertices)} vertices and {len(polygons.sizes)} polygons, expected a mesh"
        )
    for corners, count, kind in ((polygons.corners, len(vertices), "v"), (polygons.uv_corners, len(uv), "vt")):
        _check_range(path, polygons, np.array(corners), count, kind)
    points = np.array(vertices)
    places, source = triangulate(points, np.array(polygons.corners), np.array(polygons.sizes))
    return ObjMesh(
        vertices=points,
        uv=np.array(uv).reshape(-1, 2),
        faces=np.array(polygons.corners)[places],
        uv_faces=np.array(polygons.uv_corners)[places],
        labels=tuple(label_sets),
        face_labels=np.array(polygons.labels)[source],
    )


def read_obj_vertices(path: Path) -> Floats:
    """The vertices [V, 3] of a file alone. Raises TemplateError naming the file and the line."""
    vertices = [_numbers(path, line, words, 3) for line, (keyword, *words) in _statements(path, "v") if keyword == "v"]
    if not vertices:
        raise TemplateError(f"{path}: found no vertices (lines `v x y z`), expected an OBJ file")
    return np.array(vertices)


def triangulate(points: Floats, corners: Ints, sizes: Ints) -> tuple[Ints, Ints]:
    """Cut polygons into fans of triangles. points [V, 3]; corners: vertices of all polygons in turn; sizes [P]: of each.

    Of the corners that a fan may start from, that is taken whose worst triangle is best: its area as seen along the polygon's
    normal (Newell) is largest. So a quad with a dent is cut through the dent. Triangles that name a vertex twice are left out.
    Returns places among the corners [F, 3], and the polygon of each triangle [F]; triangles keep the order of their polygons.
    """
    starts = np.cumsum(sizes) - sizes
    places, source = [], []
    for size in np.unique(sizes).tolist():
        chosen = np.flatnonzero(sizes == size)
        ring = starts[chosen, None] + np.arange(size)
        first = _best_start(points[corners[ring]])
        turned = np.take_along_axis(ring, (first[:, None] + np.arange(size)) % size, 1)
        fan = np.stack((turned[:, :1].repeat(size - 2, 1), turned[:, 1:-1], turned[:, 2:]), -1)
        places.append(fan.reshape(-1, 3))
        source.append(chosen.repeat(size - 2))
    all_places, all_source = np.concatenate(places), np.concatenate(source)
    named = corners[all_places]
    kept = (named != np.roll(named, 1, axis=1)).all(1)
    order = np.argsort(all_source[kept], kind="stable")
    return all_places[kept][order], all_source[kept][order]


def _best_start(rings: Floats) -> Ints:
    """The best corner to start a fan from (see `triangulate`). rings [P, k, 3]: corners of polygons. Returns [P]."""
    size = rings.shape[1]
    if size == 3:
        return np.zeros(len(rings), np.int64)
    normal = np.cross(rings, np.roll(rings, -1, axis=1)).sum(1)
    worst = []
    for start in range(size):
        ring = np.roll(rings, -start, axis=1)
        arms = ring[:, 1:] - ring[:, :1]
        worst.append((np.cross(arms[:, :-1], arms[:, 1:]) * normal[:, None]).sum(-1).min(1))
    return np.argmax(np.stack(worst), axis=0)


def _statements(path: Path, initial: str = "") -> Iterator[tuple[int, list[str]]]:
    """Line number, from 1, and words of each statement that begins with `initial`; numbers are those of its first line."""
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise TemplateError(f"{path}: cannot be read: {error.strerror or error}; expected an OBJ file") from error
    held, first = "", 0
    for number, line in enumerate(text.split("\n"), start=1):
        code = line.partition("#")[0].strip()
        first = first if held else number
        if code.endswith("\\"):
            held += code[:-1] + " "
            continue
        code, held = held + code, ""
        if code.startswith(initial) and (words := code.split()):
            yield first, words


def _numbers(path: Path, line: int, words: list[str], count: int) -> list[float]:
    """The first `count` numbers of a statement; more may follow (weights, colours)."""
    try:
        values = [float(word) for word in words[:count]]
    except ValueError:
        values = []
    if len(values) < count or not all(map(math.isfinite, values)):
        raise TemplateError(f"{path}: line {line}: found {' '.join(words)[:60]!r}, expected {count} numbers")
    return values


def _add_polygon(path: Path, line: int, words: list[str], polygons: _Polygons, vertices: int, uvs: int) -> None:
    """Append the polygon of a statement; so many vertices and UV vertices have been read before it."""
    if len(words) < 3:
        raise TemplateError(f"{path}: line {line}: found a polygon of {len(words)} corners, expected 3 or more")
    for word in words:
        vertex, _, rest = word.partition("/")
        uv = rest.partition("/")[0]
        polygons.corners.append(_index(path, line, word, vertex, vertices))
        polygons.uv_corners.append(_index(path, line, word, uv, uvs) if uv else NO_UV)
    polygons.sizes.append(len(words))
    polygons.lines.append(line)


def _index(path: Path, line: int, corner: str, word: str, count: int) -> int:
    """An index from 0. A negative one counts back from `count`."""
    try:
        value = int(word)
    except ValueError:
        raise TemplateError(f"{path}: line {line}: found the corner {corner!r}, {_EXPECTED_CORNER}") from None
    if value == 0 or value < -count:
        raise TemplateError(
            f"{path}: line {line}: found index {value} in {corner!r}, expected 1 to the number of lines, or -1 to -{count}"
        )
    return value - 1 if value > 0 else count + value


def _check_range(path: Path, polygons: _Polygons, indices: Ints, count: int, kind: str) -> None:
    """Raise TemplateError naming the line of the first corner beyond `count`."""
    beyond = np.flatnonzero(indices >= count)
    if len(beyond):
        polygon = int(np.searchsorted(np.cumsum(polygons.sizes), beyond[0], side="right"))
        raise TemplateError(
            f"{path}: line {polygons.lines[polygon]}: found index {indices[beyond[0]] + 1} of a {kind}, expected at most "
            f"{count}, as many as the file has"
        )
