"""Tables of vertices in binary little-endian .ply files, with numpy alone.

A table is an ordered mapping from a property's name to its column [N], float32 or int32.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgbavatar.errors import DataError
from rgbavatar.io.files import write_aside

_BLOCK_ROWS = 1024  # packed at a time: an avatar's take 1 MB, which stays in the cache while each column is filled in
_MAX_HEADER_BYTES = 1 << 22  # 4 MiB; an avatar of 512 bases has a header of 150 kB

_WRITTEN_TYPES = {np.dtype("<f4"): "float", np.dtype("<i4"): "int"}
_READ_TYPES = {
    "char": "<i1", "uchar": "<u1", "short": "<i2", "ushort": "<u2", "int": "<i4", "uint": "<u4", "float": "<f4", "double": "<f8",
    "int8": "<i1", "uint8": "<u1", "int16": "<i2", "uint16": "<u2", "int32": "<i4", "uint32": "<u4", "float32": "<f4",
    "float64": "<f8",
}  # fmt: skip


@dataclass(frozen=True)
class PlyTable:
    """A file's columns [N] by name, in order, and its comments."""

    columns: dict[str, np.ndarray]
    comments: tuple[str, ...]


def write_ply(path: Path, columns: Mapping[str, np.ndarray], comments: Sequence[str] = ()) -> None:
    """Write columns [N], each float32 or int32, aside. Raises OutputError; ValueError for other columns or names."""
    _check_columns(columns, comments)
    layout = np.dtype([(name, column.dtype.newbyteorder("<")) for name, column in columns.items()])
    count = len(next(iter(columns.values())))
    with write_aside(path) as partial, partial.open("wb") as file:
        file.write(_format_header(layout, count, comments))
        for start in range(0, count, _BLOCK_ROWS):
            file.write(_pack_rows(columns, layout, start, min(start + _BLOCK_ROWS, count)))


def read_ply(path: Path) -> PlyTable:
    """Read a binary little-endian file whose only element is `vertex`, without lists. Raises DataError."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}; check the path") from error
    lines, start = _split_header(path, content)
    layout, count = _parse_header(path, lines)
    expected = start + count * layout.itemsize
    if len(content) != expected:
        raise DataError(
            f"{path}: holds {len(content)} bytes, expected {expected} for {count} vertices; export it again"
        )
    rows = np.frombuffer(content, layout, count, start)
    columns = {name: np.ascontiguousarray(rows[name]) for name in layout.names or ()}
    return PlyTable(columns, tuple(line.partition(" ")[2] for line in lines if line.startswith("comment ")))


def _pack_rows(columns: Mapping[str, np.ndarray], layout: np.dtype, start: int, stop: int) -> bytes:
    """The rows from `start` to `stop`, as they stand in the file."""
    rows = np.empty(stop - start, layout)
    for name, column in columns.items():
        rows[name] = column[start:stop]
    return rows.tobytes()


def _check_columns(columns: Mapping[str, np.ndarray], comments: Sequence[str]) -> None:
    if not columns:
        raise ValueError("a table needs at least one column")
    lengths = {column.shape for column in columns.values()}
    if len(lengths) != 1 or len(next(iter(lengths))) != 1:
        raise ValueError(f"columns have shapes {sorted(lengths)}, expected one length [N] for all")
    for name, column in columns.items():
        if column.dtype.newbyteorder("<") not in _WRITTEN_TYPES:
            raise ValueError(f"column {name!r} is {column.dtype}, expected float32 or int32")
        if not name or not name.isascii() or not name.isprintable() or " " in name:
            raise ValueError(f"{name!r} is no name of a property")
    if not all(comment.isascii() and comment.isprintable() for comment in comments):
        raise ValueError("a comment is one line of printable ASCII")


def _format_header(layout: np.dtype, count: int, comments: Sequence[str]) -> bytes:
    lines = [
        "ply",
        "format binary_little_endian 1.0",
        *(f"comment {text}" for text in comments),
        f"element vertex {count}",
    ]
    lines += [f"property {_WRITTEN_TYPES[layout[name]]} {name}" for name in layout.names or ()]
    return ("\n".join([*lines, "end_header"]) + "\n").encode("ascii")


def _split_header(path: Path, content: bytes) -> tuple[list[str], int]:
    """The header's lines, and where the rows start."""
    head = content[:_MAX_HEADER_BYTES]
    for ending in (b"\nend_header\n", b"\nend_header\r\n"):
        end = head.find(ending)
        if content[:3] == b"ply" and end >= 0:
            text = content[:end].decode("ascii", errors="replace")
            return [line.strip() for line in text.splitlines()], end + len(ending)
    raise DataError(f"{path}: not a .ply file, or its header is cut off; export it again")


def _parse_header(path: Path, lines: Sequence[str]) -> tuple[np.dtype, int]:
    words = [line.split() for line in lines if line and line.split()[0] not in ("ply", "comment", "obj_info")]
    formats = [" ".join(item[1:]) for item in words if item[0] == "format"]
    if formats != ["binary_little_endian 1.0"]:
        raise DataError(f"{path}: format is {', '.join(formats) or 'not given'}, expected binary_little_endian 1.0")
    elements = [item for item in words if item[0] == "element"]
    if len(elements) != 1 or len(elements[0]) != 3 or elements[0][1] != "vertex" or not elements[0][2].isdecimal():
        found = "; ".join(" ".join(item) for item in elements) or "none"
        raise DataError(f"{path}: elements are {found}; expected one, `element vertex <count>`")
    return _parse_layout(path, [item for item in words if item[0] == "property"]), int(elements[0][2])


def _parse_layout(path: Path, properties: Sequence[Sequence[str]]) -> np.dtype:
    for item in properties:
        if len(item) != 3 or item[1] not in _READ_TYPES:
            raise DataError(f"{path}: `{' '.join(item)}` is not a property of a scalar type")
    names = [item[2] for item in properties]
    if not names or len(set(names)) != len(names):
        raise DataError(f"{path}: the properties of `vertex` are missing or repeat a name")
    return np.dtype([(item[2], _READ_TYPES[item[1]]) for item in properties])
