"""What is logged is what TensorBoard reads."""

from __future__ import annotations

import errno
import sys
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import OutputError
from rgbavatar.io.metrics_log import NullLog, TensorBoardLog, open_log, write_speed


def read_events(folder: Path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events


def test_curves_and_pictures_arrive(tmp_path: Path) -> None:
    log = open_log(tmp_path / "tensorboard")
    assert isinstance(log, TensorBoardLog)
    for step in (10, 20):
        log.scalars(step, {"loss/l1": 1 / step, "psnr": 30.0 + step})
    log.picture(20, "test", np.full((4, 6, 3), 77, np.uint8))
    log.close()
    events = read_events(tmp_path / "tensorboard")
    assert [(point.step, point.value) for point in events.Scalars("psnr")] == [(10, 40.0), (20, 50.0)]
    assert [point.value for point in events.Scalars("loss/l1")] == pytest.approx([0.1, 0.05])
    (picture,) = events.Images("test")
    assert (picture.step, picture.height, picture.width) == (20, 4, 6)


def test_a_second_log_keeps_the_first(tmp_path: Path) -> None:
    for step in (1, 2):
        log = open_log(tmp_path)
        log.scalars(step, {"x": float(step)})
        log.close()
    assert [point.step for point in read_events(tmp_path).Scalars("x")] == [1, 2]


def test_without_a_folder_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    log = open_log(None)
    assert isinstance(log, NullLog)
    log.scalars(1, {"x": 1.0})
    log.picture(1, "x", np.zeros((2, 2, 3), np.uint8))
    log.close()
    assert list(tmp_path.iterdir()) == []


def test_a_missing_tensorboard_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(OutputError, match="pip install tensorboard"):
        open_log(tmp_path)


def test_a_full_disk_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = TensorBoardLog(tmp_path)

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(log._writer, "add_scalar", fail)
    with pytest.raises(OutputError, match="No space left on device; free some disk space"):
        log.scalars(1, {"x": 1.0})
    log.close()


def test_the_report_of_the_speed_is_lines_of_names_and_values(tmp_path: Path) -> None:
    write_speed(tmp_path / "speed.txt", {"images": 50_000, "images/s": 1234.56789, "device": "cpu"})
    assert (tmp_path / "speed.txt").read_text() == "images: 50000\nimages/s: 1234.57\ndevice: cpu\n"
