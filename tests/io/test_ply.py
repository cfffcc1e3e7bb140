"""Tables in .ply files, judged by plyfile."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plyfile
import pytest

from rgbavatar.errors import DataError, OutputError
from rgbavatar.io.ply import read_ply, write_ply

HEADER = b"ply\nformat binary_little_endian 1.0\nelement vertex 2\nproperty float x\nend_header\n"


def make_columns(count: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    return {
        "x": generator.normal(size=count).astype(np.float32),
        "id": generator.integers(-(2**31), 2**31, count).astype(np.int32),
        "y_0": np.linspace(-1e30, 1e30, count, dtype=np.float32),
    }


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_plyfile_reads_what_we_write(tmp_path: Path, count: int) -> None:
    columns = make_columns(count)
    write_ply(tmp_path / "a.ply", columns, ("made by a test", "second 2"))
    file = plyfile.PlyData.read(str(tmp_path / "a.ply"))
    assert [item.name for item in file["vertex"].properties] == ["x", "id", "y_0"]
    assert file.comments == ["made by a test", "second 2"]
    for name, column in columns.items():
        assert file["vertex"][name].dtype == column.dtype
        np.testing.assert_array_equal(file["vertex"][name], column)


@pytest.mark.parametrize("count", [0, 1, 1000])
def test_we_read_what_we_write(tmp_path: Path, count: int) -> None:
    columns = make_columns(count)
    write_ply(tmp_path / "a.ply", columns, ("c 1",))
    table = read_ply(tmp_path / "a.ply")
    assert list(table.columns) == list(columns)
    assert table.comments == ("c 1",)
    for name, column in columns.items():
        assert table.columns[name].dtype == column.dtype
        np.testing.assert_array_equal(table.columns[name], column)


def test_we_read_every_scalar_type_that_plyfile_writes(tmp_path: Path) -> None:
    types = ["i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8"]
    rows = np.array([tuple(range(8)), tuple(range(10, 18))], dtype=[(f"p{name}", f"<{name}") for name in types])
    element = plyfile.PlyElement.describe(rows, "vertex")
    plyfile.PlyData([element], byte_order="<", obj_info=["x"]).write(str(tmp_path / "a.ply"))
    table = read_ply(tmp_path / "a.ply")
    for index, name in enumerate(types):
        assert table.columns[f"p{name}"].dtype == np.dtype(name)
        np.testing.assert_array_equal(table.columns[f"p{name}"], [index, index + 10])


def test_big_endian_values_and_views_are_written_right(tmp_path: Path) -> None:
    column = np.arange(20, dtype=">f4")[::-2]
    write_ply(tmp_path / "a.ply", {"x": column})
    np.testing.assert_array_equal(read_ply(tmp_path / "a.ply").columns["x"], column)


@pytest.mark.parametrize(
    ("columns", "comments", "words"),
    [
        ({}, (), "at least one column"),
        ({"x": np.zeros(2)}, (), "'x' is float64"),
        ({"x": np.zeros(2, np.int64)}, (), "'x' is int64"),
        ({"x": np.zeros((2, 1), np.float32)}, (), "expected one length"),
        ({"x": np.zeros(2, np.float32), "y": np.zeros(3, np.float32)}, (), "expected one length"),
        ({"a b": np.zeros(2, np.float32)}, (), "no name of a property"),
        ({"": np.zeros(2, np.float32)}, (), "no name of a property"),
        ({"x\ny": np.zeros(2, np.float32)}, (), "no name of a property"),
        ({"x": np.zeros(2, np.float32)}, ("two\nlines",), "a comment is one line"),
    ],
)
def test_a_table_that_the_format_cannot_hold_is_our_mistake(tmp_path: Path, columns, comments, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        write_ply(tmp_path / "a.ply", columns, comments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not a .ply file"),
        (b"\x89PNG\nend_header\n", "not a .ply file"),
        (HEADER[:-5], "header is cut off"),
        (HEADER + b"\0" * 7, "expected 89 for 2 vertices"),
        (HEADER + b"\0" * 9, "expected 89 for 2 vertices"),
        (HEADER.replace(b"binary_little_endian", b"ascii") + b"0\n1\n", "format is ascii 1.0"),
        (HEADER.replace(b"format binary_little_endian 1.0\n", b""), "format is not given"),
        (HEADER.replace(b"vertex 2", b"vertex -2"), "elements are element vertex -2"),
        (HEADER.replace(b"vertex 2", b"face 2"), "elements are element face 2"),
        (HEADER.replace(b"end_h", b"element face 0\nend_h") + b"\0" * 8, "element face 0"),
        (HEADER.replace(b"float x", b"list uchar int x"), "not a property of a scalar type"),
        (HEADER.replace(b"float x", b"half x"), "`property half x`"),
        (HEADER.replace(b"end_h", b"property int x\nend_h") + b"\0" * 16, "repeat a name"),
        (HEADER.replace(b"property float x\n", b""), "missing or repeat"),
        (HEADER.replace(b"vertex 2", b"vertex 99999999999999"), "for 99999999999999 vertices"),
    ],
)
def test_a_broken_file_is_refused_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "a.ply"
    path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        read_ply(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="No such file"):
        read_ply(tmp_path / "a.ply")


def test_a_file_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, limited_file_size) -> None:
    path = tmp_path / "a.ply"
    write_ply(path, make_columns(3))
    before = path.read_bytes()
    with limited_file_size(10_000), pytest.raises(OutputError):
        write_ply(path, make_columns(1000))
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
