"""Reading `.frame` files: what trackers write, and each way in which a file can be broken or hostile."""

from __future__ import annotations

import pickle
import resource
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rgbavatar.datasets import frame_pickle
from rgbavatar.datasets.frame_file import read_frame_file
from rgbavatar.errors import DataError
from tests.datasets.subjects import executable_pickle, frame_content, one_line_error, write_frame


def test_it_reads_both_containers_alike(tmp_path: Path) -> None:
    content = frame_content(4)
    for name, zipped in (("zip", True), ("legacy", False)):
        write_frame(tmp_path / name, content, zipped)
    assert (tmp_path / "zip").read_bytes()[:2] == b"PK" != (tmp_path / "legacy").read_bytes()[:2]
    for name in ("zip", "legacy"):
        frame = read_frame_file(tmp_path / name)
        assert (frame.height, frame.width) == (10, 12)
        assert frame.intrinsics.tolist() == [20, 20, 6, 5]
        np.testing.assert_array_equal(frame.expression, content["flame"]["exp"][0])
        np.testing.assert_array_equal(frame.rotation, content["opencv"]["R"][0])
        assert frame.eyelids.tolist() == [0.25, 0.5]
        assert frame.shape.dtype == torch.float64


@pytest.mark.parametrize("names", [(b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")])
def test_it_reads_pickles_of_numpy_1_and_2(tmp_path: Path, names: tuple[bytes, bytes]) -> None:
    path = tmp_path / "x.frame"
    write_frame(path, frame_content(1), zipped=False)
    path.write_bytes(path.read_bytes().replace(*names))  # protocol 2 names globals in lines, so lengths do not matter
    assert names[0] not in path.read_bytes()
    assert read_frame_file(path).width == 12


@pytest.mark.parametrize("zipped", [True, False])
def test_arrays_alone_are_read_without_torchs_unpickler_and_alike(
    tmp_path: Path, zipped: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_frame(tmp_path / "x.frame", frame_content(3), zipped)

    def refuse(*arguments: object, **options: object) -> None:
        raise ValueError("not called")

    with monkeypatch.context() as patched:
        patched.setattr(torch, "load", refuse)
        ours = read_frame_file(tmp_path / "x.frame")
    monkeypatch.setattr(frame_pickle, "unpickle_nested_arrays", refuse)
    theirs = read_frame_file(tmp_path / "x.frame")
    for name, value in vars(theirs).items():
        found = getattr(ours, name)
        assert torch.equal(found, value) if isinstance(value, torch.Tensor) else found == value, name
        assert type(found) is type(value)


@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_asks_for_all_memory_is_named(tmp_path: Path, zipped: bool) -> None:
    """An index of 2^31 makes the unpickler fetch 32 GiB for its memo."""
    path = tmp_path / "00007.frame"
    write_frame(path, frame_content(0), zipped)
    hostile = b"\x80\x02}r\x00\x00\x00\x80."
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("00007/data.pkl", hostile)
            archive.writestr("00007/version", "3")
    else:
        start = path.read_bytes().index(b"}q\x00(X\x05\x00\x00\x00flame") - 2
        path.write_bytes(path.read_bytes()[:start] + hostile)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with one_line_error("00007.frame"):
        read_frame_file(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1 << 20  # KiB


def test_other_number_types_tensors_and_unknown_keys_are_fine(tmp_path: Path) -> None:
    content = frame_content(0)
    content["flame"]["exp"] = content["flame"]["exp"].astype(np.float64)
    content["flame"]["jaw"] = torch.from_numpy(content["flame"]["jaw"])
    content["img_size"] = content["img_size"].astype(">i4")
    content["opencv"]["R"] = np.asfortranarray(content["opencv"]["R"])
    content["flame"]["eyes"] = content["flame"]["eyes"][:, ::-1][:, ::-1]
    content["global_step"] = np.int64(5)
    content["notes"] = {"who": np.str_("x"), "mask": np.ones(3, bool)}
    write_frame(tmp_path / "x.frame", content)
    frame = read_frame_file(tmp_path / "x.frame")
    assert frame.height == 10
    for found, expected in ((frame.rotation, content["opencv"]["R"]), (frame.eyes, content["flame"]["eyes"])):
        np.testing.assert_array_equal(found, expected[0])


def test_a_file_without_eyelids_has_open_eyes(tmp_path: Path) -> None:
    content = frame_content(0)
    del content["flame"]["eyelids"]
    write_frame(tmp_path / "x.frame", content)
    assert read_frame_file(tmp_path / "x.frame").eyelids.tolist() == [0, 0]


def put(key: str, value: object) -> Callable[[dict[str, Any]], None]:
    """A change of a `.frame` file's content: the value at a dotted key."""

    def change(content: dict[str, Any]) -> None:
        *parts, last = key.split(".")
        for part in parts:
            content = content[part]
        content[last] = value

    return change


def drop(key: str) -> Callable[[dict[str, Any]], None]:
    def change(content: dict[str, Any]) -> None:
        part, _, last = key.rpartition(".")
        del (content[part] if part else content)[last]

    return change


BROKEN: list[tuple[Callable[[dict[str, Any]], None], tuple[str, ...]]] = [
    *[(drop(f"flame.{key}"), (f"no key flame.{key}",)) for key in ("exp", "shape", "eyes", "jaw")],
    *[(drop(f"opencv.{key}"), (f"no key opencv.{key}",)) for key in "RtK"],
    (drop("opencv"), ("no key opencv.R",)),
    (put("flame", 3), ("no key flame.exp",)),
    (drop("img_size"), ("no key img_size",)),
    (put("flame.exp", np.zeros(100)), ("flame.exp has shape (100,)", "expected (1, any)")),
    (put("flame.exp", np.zeros((1, 0))), ("flame.exp has shape (1, 0)",)),
    (put("flame.jaw", np.zeros((1, 3))), ("flame.jaw has shape (1, 3)", "expected (1, 6)")),
    (put("flame.eyelids", np.zeros((2, 2))), ("flame.eyelids has shape (2, 2)",)),
    (put("opencv.R", np.zeros((1, 3, 4))), ("opencv.R has shape (1, 3, 4)",)),
    (put("flame.exp", [[0.0] * 100]), ("flame.exp is a list",)),
    (put("img_size", np.array(["10", "12"])), ("img_size is an array of type 'U2'",)),
    (put("flame.exp", np.array([[1, "x"]], dtype=object)), ("flame.exp is an array of type 'O8'",)),
    (put("img_size", torch.zeros(2, dtype=torch.complex64)), ("img_size is a tensor",)),
    (put("flame.exp", np.full((1, 100), np.nan)), ("flame.exp has 100 entries that are NaN or infinite",)),
    (put("opencv.t", np.array([[0, np.inf, 1]])), ("opencv.t has 1 entries",)),
    (put("flame.jaw", np.zeros((1, 6))), ("flame.jaw has two rows",)),
    (put("flame.eyes", np.ones((1, 12))), ("flame.eyes has two rows",)),
    (put("opencv.R", -np.eye(3)[None]), ("opencv.R has determinant -1", "expected a rotation")),
    (put("opencv.R", 1.1 * np.eye(3)[None]), ("opencv.R has",)),
    (put("opencv.K", np.eye(3)[None] * [[[-20], [20], [1]]]), ("opencv.K is [[-20.0",)),
    (put("opencv.K", np.array([[[20, 3, 6], [0, 20, 5], [0, 0, 1.0]]])), ("opencv.K is",)),
    (put("img_size", np.array([0, 12])), ("img_size is [0.0, 12.0]",)),
    (put("img_size", np.array([10.5, 12])), ("img_size is [10.5, 12.0]",)),
]


@pytest.mark.parametrize(("change", "parts"), BROKEN, ids=[" ".join(parts)[:50] for _, parts in BROKEN])
def test_a_broken_entry_is_named(
    tmp_path: Path, change: Callable[[dict[str, Any]], None], parts: tuple[str, ...]
) -> None:
    content = frame_content(0)
    change(content)
    write_frame(tmp_path / "00007.frame", content)
    with one_line_error("00007.frame", *parts):
        read_frame_file(tmp_path / "00007.frame")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_hostile_file_is_refused_and_not_executed(tmp_path: Path, zipped: bool) -> None:
    marker = tmp_path / "executed"
    content = frame_content(0) | {"extra": executable_pickle(marker)}
    write_frame(tmp_path / "00007.frame", content, zipped)
    with one_line_error("00007.frame", "mkdir", "not executed"):
        read_frame_file(tmp_path / "00007.frame")
    assert not marker.exists()


def test_a_plain_hostile_pickle_is_refused_and_not_executed(tmp_path: Path) -> None:
    marker = tmp_path / "executed"
    (tmp_path / "00007.frame").write_bytes(pickle.dumps(executable_pickle(marker), protocol=2))
    with one_line_error("00007.frame"):
        read_frame_file(tmp_path / "00007.frame")
    assert not marker.exists()


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04broken", b"\x80\x02}q\x00."])
def test_a_file_of_another_kind_is_named(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "00007.frame").write_bytes(data)
    with one_line_error("00007.frame"):
        read_frame_file(tmp_path / "00007.frame")


@pytest.mark.parametrize("zipped", [True, False])
def test_a_truncated_file_is_named(tmp_path: Path, zipped: bool) -> None:
    path = tmp_path / "00007.frame"
    write_frame(path, frame_content(0), zipped)
    path.write_bytes(path.read_bytes()[:1500])
    with one_line_error("00007.frame"):
        read_frame_file(path)


def test_a_file_that_holds_no_dict_is_named(tmp_path: Path) -> None:
    write_frame(tmp_path / "00007.frame", [1, 2])
    with one_line_error("00007.frame", "found a list"):
        read_frame_file(tmp_path / "00007.frame")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with one_line_error("00007.frame", "No such file"):
        read_frame_file(tmp_path / "00007.frame")


def test_reading_leaves_the_list_of_safe_globals_as_it_was(tmp_path: Path) -> None:
    write_frame(tmp_path / "x.frame", frame_content(0))
    before = set(torch.serialization.get_safe_globals())
    read_frame_file(tmp_path / "x.frame")
    assert set(torch.serialization.get_safe_globals()) == before


@pytest.mark.parametrize("zipped", [True, False])
def test_a_file_with_a_byte_changed_is_read_or_named(tmp_path: Path, zipped: bool) -> None:
    path, rng = tmp_path / "00007.frame", np.random.default_rng(0)
    write_frame(path, frame_content(0), zipped)
    sound = path.read_bytes()
    for place in rng.integers(0, len(sound), 150):
        path.write_bytes(sound[:place] + bytes([rng.integers(256)]) + sound[place + 1 :])
        with suppress(DataError):
            read_frame_file(path)
