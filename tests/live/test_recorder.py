"""What is trained on is written beside training, which never waits for it nor fails because of it."""

from __future__ import annotations

import json
import threading
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import OutputError
from rgbavatar.live import recorder as module
from rgbavatar.live.recorder import SubjectRecorder
from rgbavatar.prepare.pictures import read_picture
from tests.helpers.live_camera import true_frames


def record(folder: Path, count: int, overwrite: bool = False, level: int = 0) -> SubjectRecorder:
    made = SubjectRecorder(folder, "video:x", {"live": True}, overwrite)
    for i in range(count):
        made.add(10 + i, i / 25, np.full((8, 8, 4), level + i, np.uint8), true_frames()[i])
    made.close()
    made.close()
    return made


def test_frames_are_numbered_as_they_come_and_the_source_is_kept(tmp_path: Path) -> None:
    made = record(tmp_path / "one", 3)
    assert (made.count, made.dropped, made.failure) == (3, 0, None)
    names = [path.name for path in sorted((tmp_path / "one" / "images").iterdir())]
    assert names == ["00000.png", "00001.png", "00002.png"]
    assert read_picture(tmp_path / "one" / "images" / "00002.png")[0, 0].tolist() == [2, 2, 2, 2]
    kept = json.loads((tmp_path / "one" / "tracked.json").read_text())
    assert (kept["frames"], kept["source"], kept["complete"]) == ([10, 11, 12], "video:x", True)


def test_a_subject_that_is_there_is_refused_before_anything_is_touched(tmp_path: Path) -> None:
    record(tmp_path / "one", 2)
    with pytest.raises(OutputError, match="exists already; give --overwrite"):
        SubjectRecorder(tmp_path / "one", "video:x", {}, overwrite=False)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "precious.txt").write_text("mine")
    with pytest.raises(OutputError, match="did not make"):
        SubjectRecorder(tmp_path / "other", "video:x", {}, overwrite=True)


def test_what_replaces_a_subject_leaves_none_of_its_frames_even_if_it_was_never_finished(tmp_path: Path) -> None:
    record(tmp_path / "one", 5)
    note = tmp_path / "one" / "tracked.json"
    note.write_text(json.dumps(json.loads(note.read_text()) | {"frames": [], "complete": False}))
    SubjectRecorder(tmp_path / "one", "video:x", {}, overwrite=True)
    assert len(list((tmp_path / "one" / "images").iterdir())) == 5  # nothing came yet
    record(tmp_path / "one", 2, overwrite=True, level=100)
    for part in ("images", "parameters"):
        assert len(list((tmp_path / "one" / part).iterdir())) == 2
    assert read_picture(tmp_path / "one" / "images" / "00000.png")[0, 0, 0] == 100


def test_a_disk_that_fails_ends_the_recording_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, content: bytes) -> None:
        if path.name == "00001.png":
            raise OutputError(f"{path}: cannot be written: No space left on device")

    monkeypatch.setattr(module, "write_one_of_many", full)
    made = record(tmp_path / "one", 4)
    assert made.count == 1
    assert "No space" in str(made.failure)


def test_a_disk_that_is_slow_costs_frames_of_the_recording_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(module, "HELD", 3)
    monkeypatch.setattr(module, "write_one_of_many", lambda path, content: go_on.wait(10))
    made = SubjectRecorder(tmp_path / "one", "video:x", {}, overwrite=False)
    for i in range(10):
        made.add(i, i / 25, np.zeros((8, 8, 4), np.uint8), true_frames()[i])
    assert 6 <= made.dropped <= 7
    go_on.set()
    made.close()
    assert made.count + made.dropped == 10
