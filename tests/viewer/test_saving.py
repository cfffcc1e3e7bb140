"""Pictures that are kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rgbavatar.errors import OutputError
from rgbavatar.viewer import saving
from rgbavatar.viewer.saving import save_new_picture


def test_pictures_are_numbered_on_and_never_overwritten(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    assert save_new_picture(folder, b"a").name == "00000.png"
    (folder / "00007.png").write_bytes(b"mine")
    (folder / "notes.png").write_bytes(b"too")
    assert save_new_picture(folder, b"b").name == "00008.png"
    assert (folder / "00007.png").read_bytes() == b"mine"


def test_several_at_once_get_files_of_their_own(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda i: save_new_picture(tmp_path, b"%d" % i), range(40)))
    assert len(set(paths)) == 40
    assert sorted(int(path.read_bytes()) for path in paths) == list(range(40))


def test_what_cannot_be_written_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, content: bytes) -> None:
        raise OutputError("full")

    monkeypatch.setattr(saving, "write_bytes", refuse)
    with pytest.raises(OutputError):
        save_new_picture(tmp_path, b"a")
    assert not list(tmp_path.iterdir())
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"):
        save_new_picture(tmp_path / "file", b"a")
