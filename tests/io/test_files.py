"""A file is replaced as a whole or not at all."""

from __future__ import annotations

import errno
import os
import stat
import threading
from pathlib import Path

import pytest

from rgbavatar.errors import OutputError
from rgbavatar.io import files
from rgbavatar.io.files import is_partial, make_folder, write_aside, write_bytes, write_text


def test_the_content_arrives_and_nothing_else_is_left(tmp_path: Path) -> None:
    write_bytes(tmp_path / "deep" / "er" / "a.bin", b"\0\1\2")
    assert (tmp_path / "deep" / "er" / "a.bin").read_bytes() == b"\0\1\2"
    assert [path.name for path in (tmp_path / "deep" / "er").iterdir()] == ["a.bin"]


def test_text_is_utf8_with_unix_line_ends(tmp_path: Path) -> None:
    write_text(tmp_path / "a.txt", "ä\n")
    assert (tmp_path / "a.txt").read_bytes() == b"\xc3\xa4\n"


def test_the_permissions_are_those_of_an_ordinary_new_file(tmp_path: Path) -> None:
    (tmp_path / "ordinary").write_bytes(b"")
    write_bytes(tmp_path / "ours", b"")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("ordinary", "ours")]
    assert modes[0] == modes[1]


@pytest.mark.parametrize("raised", [ValueError("x"), KeyboardInterrupt()])
def test_an_error_in_the_body_keeps_the_old_file_and_passes_through(tmp_path: Path, raised: BaseException) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write_half() -> None:
        with write_aside(path) as partial:
            partial.write_text("half of the n")
            raise raised

    with pytest.raises(type(raised)):
        write_half()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_old_file_is_seen_until_the_body_ends(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with write_aside(path) as partial:
        partial.write_text("new")
        assert path.read_text() == "old"
        assert partial.parent == path.parent
        assert partial.suffix == ".txt"
        assert is_partial(partial)
        assert not is_partial(path)
    assert path.read_text() == "new"


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS, errno.EACCES])
@pytest.mark.parametrize("call", ["open", "fsync", "replace"])
def test_a_failing_system_call_is_one_line_and_keeps_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, call: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(files.os, call, fail)
    with pytest.raises(OutputError) as caught:
        write_text(path, "new")
    message = str(caught.value)
    assert "\n" not in message
    assert str(path) in message
    assert os.strerror(code) in message
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_really_full_disk_keeps_the_old_file(run_on_tiny_disk) -> None:
    printed = run_on_tiny_disk("""
import os, sys
from pathlib import Path
from rgbavatar.errors import OutputError
from rgbavatar.io.files import write_bytes
path = Path(sys.argv[1]) / "a.bin"
write_bytes(path, b"1" * 100_000)
try:
    write_bytes(path, b"2" * 200_000)
except OutputError as error:
    print(error)
print(set(path.read_bytes()), path.stat().st_size, os.listdir(path.parent))
""")
    assert "No space left on device; free some disk space" in printed
    assert printed.endswith("{49} 100000 ['a.bin']\n")


def test_a_limit_on_file_sizes_keeps_the_old_file(tmp_path: Path, limited_file_size) -> None:
    path = tmp_path / "a.bin"
    write_bytes(path, b"old")
    with limited_file_size(100_000), pytest.raises(OutputError, match="File too large; raise the limit"):
        write_bytes(path, b"2" * 200_000)
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_device_or_a_folder_is_never_replaced(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="not a regular file"):
        write_bytes(Path("/dev/full"), b"x")
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode)
    (tmp_path / "folder").mkdir()
    with pytest.raises(OutputError, match="not a regular file"):
        write_bytes(tmp_path / "folder", b"x")
    assert (tmp_path / "folder").is_dir()


def test_a_file_in_the_place_of_a_folder_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("mine")
    for action in (lambda: write_bytes(tmp_path / "a" / "b.txt", b""), lambda: make_folder(tmp_path / "a")):
        with pytest.raises(OutputError, match="a file stands where a folder is needed"):
            action()
    assert (tmp_path / "a").read_text() == "mine"


def test_a_name_that_is_too_long_is_an_output_error(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="choose a shorter name"):
        write_bytes(tmp_path / ("x" * 250), b"")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_folder_is_an_output_error(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(OutputError, match="that you may write to"):
        write_bytes(tmp_path / "a", b"")


def test_writers_of_one_file_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    contents = [bytes([value]) * 50_000 for value in range(8)]
    threads = [threading.Thread(target=write_bytes, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_bytes() in contents
    assert list(tmp_path.iterdir()) == [path]
