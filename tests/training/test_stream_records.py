"""Records that can be read at any time, and that never end training."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import OutputError
from rgbavatar.training import stream_records
from rgbavatar.training.stream_records import QualityRecord, SampleRecord


def silent(line: str) -> None:
    raise AssertionError(line)


def test_a_line_of_quality_is_there_as_soon_as_it_is_added(tmp_path: Path) -> None:
    path = tmp_path / "quality.jsonl"
    with QualityRecord(path, append=False, tell=silent) as record:
        record.add({"seconds": 0.123456, "frame": 7})
        assert [json.loads(line) for line in path.read_text().splitlines()] == [{"seconds": 0.1235, "frame": 7}]
    with QualityRecord(path, append=True, tell=silent) as record:
        record.add({"frame": 8})
    assert len(path.read_text().splitlines()) == 2
    with QualityRecord(path, append=False, tell=silent) as record:
        record.add({"frame": 9})
    assert path.read_text() == '{"frame": 9}\n'


def test_samples_are_an_array_whenever_one_looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream_records, "_ROWS_AT_ONCE", 4)
    path = tmp_path / "samples.npy"
    rows = [[step, step, step + 1] for step in range(10)]
    with SampleRecord(path, 2, append=False, tell=silent) as record:
        assert np.load(path).shape == (0, 3)
        for newest, *frames in rows:
            record.add(newest, frames)
        assert np.load(path).tolist() == rows[:8]
    assert np.load(path).tolist() == rows
    with SampleRecord(path, 2, append=True, tell=silent) as record:
        record.add(50, [7])
    assert np.load(path).tolist() == [*rows, [50, 7, -1]]
    assert np.load(path).dtype == np.int32


def test_rows_of_another_batch_size_are_not_appended_to(tmp_path: Path) -> None:
    path = tmp_path / "samples.npy"
    with SampleRecord(path, 2, append=False, tell=silent) as record:
        record.add(0, [0, 0])
    with pytest.raises(OutputError, match="has rows of 2 images, expected 3"):
        SampleRecord(path, 3, append=True, tell=silent)
    path.write_bytes(b"no array")
    with pytest.raises(OutputError, match="no record of samples"):
        SampleRecord(path, 3, append=True, tell=silent)


class FullDisk:
    """A file on a disk that has just become full."""

    def __getattr__(self, name: str) -> object:
        def refuse(*arguments: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        return refuse


@pytest.mark.parametrize("kind", ["quality", "samples"])
def test_a_full_disk_ends_the_record_with_one_line(tmp_path: Path, kind: str) -> None:
    told: list[str] = []
    record: QualityRecord | SampleRecord
    if kind == "quality":
        record = QualityRecord(tmp_path / "quality.jsonl", append=False, tell=told.append)
        record._file = FullDisk()  # type: ignore[assignment]
        record.add({"frame": 1})
        record.add({"frame": 2})
    else:
        record = SampleRecord(tmp_path / "samples.npy", 1, append=False, tell=told.append)
        record._file = FullDisk()  # type: ignore[assignment]
        record._write()
        record._write()
    record.__exit__(None, None, None)
    assert len(told) == 1
    assert "No space left on device" in told[0]
    assert "training goes on" in told[0]


def test_a_file_that_cannot_be_made_is_an_error_before_training(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        QualityRecord(tmp_path / "file" / "quality.jsonl", append=False, tell=silent)
    (tmp_path / "samples.npy").mkdir()
    with pytest.raises(OutputError):
        SampleRecord(tmp_path / "samples.npy", 2, append=False, tell=silent)
