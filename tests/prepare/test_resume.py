"""A preparation that was stopped goes on; what is there is never lost unasked; what is wrong is one line."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.prepare import work
from tests.prepare.conftest import FRAMES, Command, Demo, make_raw, results, save

ROOT = Path(__file__).parents[2]


def times(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_mtime_ns for name in results(folder)}


@pytest.fixture
def whole(raw: Path, prepare: Command, one: Path) -> dict[str, bytes]:
    """The results of a preparation that nothing stopped; its folder is gone again."""
    assert prepare(raw).code == 0
    made = results(one)
    shutil.rmtree(one)
    return made


def test_after_an_interrupt_the_rest_is_made_and_no_more(
    raw: Path, prepare: Command, one: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = work.save_png
    calls: list[Path] = []

    def stop_at_the_third(path: Path, picture: np.ndarray) -> None:
        calls.append(path)
        if len(calls) == 3:
            raise KeyboardInterrupt
        wanted(path, picture)

    monkeypatch.setattr(work, "save_png", stop_at_the_third)
    ended = prepare(raw, "--workers", 1)
    assert ended.code == 130
    assert "the same command goes on from here" in ended.err
    monkeypatch.setattr(work, "save_png", wanted)
    before = times(one)
    assert 4 <= len(before) < 2 * FRAMES
    ended = prepare(raw)
    assert ended.code == 0, ended.err
    assert "of them made before" in ended.out
    assert results(one) == whole
    after = times(one)
    pairs = {Path(name).stem for name in before if f"checkpoint/{Path(name).stem}.frame" in before}
    assert all(before[name] == after[name] for name in before if Path(name).stem in pairs)


def test_ctrl_c_leaves_a_folder_to_go_on_with(demo: Demo, tmp_path: Path, prepare: Command) -> None:
    raw = make_raw(tmp_path / "raw", demo, repeat=5)
    place = ["--data_dir", str(tmp_path / "data"), "--subject", "stopped"]
    command = [sys.executable, "-m", "rgbavatar.prepare", str(raw), "--workers", "1", *place]
    program = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True)
    made = tmp_path / "data" / "stopped" / "images"
    for _ in range(1200):
        if made.is_dir() and len(list(made.glob("[0-9]*.png"))) > 1:
            break
        time.sleep(0.02)
    program.send_signal(signal.SIGINT)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 130, said
    assert "Traceback" not in said
    assert "the same command goes on" in said
    count = len(results(tmp_path / "data" / "stopped"))
    assert 0 < count < 10 * FRAMES
    assert prepare(raw, *place).code == 0
    assert prepare(raw, "--data_dir", tmp_path / "data", "--subject", "at_once").code == 0
    assert results(tmp_path / "data" / "stopped") == results(tmp_path / "data" / "at_once")


def test_a_second_call_does_nothing(raw: Path, prepare: Command, one: Path) -> None:
    assert prepare(raw).code == 0
    before = times(one)
    ended = prepare(raw)
    assert ended.code == 0
    assert "6 frames, 6 of them made before" in ended.out
    assert times(one) == before


def test_a_result_that_was_deleted_is_made_again(
    raw: Path, prepare: Command, one: Path, whole: dict[str, bytes]
) -> None:
    assert prepare(raw).code == 0
    (one / "images" / "00003.png").unlink()
    (one / "images" / ".00003.0123abcd.partial.png").write_bytes(b"left by a kill")
    assert prepare(raw).code == 0
    assert results(one) == whole


def test_other_settings_need_overwrite(raw: Path, prepare: Command, one: Path) -> None:
    assert prepare(raw).code == 0
    before = results(one)
    line = prepare(raw, "--size", 64).error_line
    assert f"{one}: was prepared with size None, not 64" in line
    assert "--overwrite" in line
    assert results(one) == before
    assert prepare(raw, "--size", 64, "--overwrite").code == 0
    assert results(one) != before
    assert results(one).keys() == before.keys()


def test_files_that_changed_since_need_overwrite_and_fewer_frames_leave_none_behind(
    demo: Demo, raw: Path, prepare: Command, one: Path
) -> None:
    assert prepare(raw).code == 0
    (raw / "checkpoint" / "00005.frame").unlink()
    assert "from other files than are in" in prepare(raw).error_line
    assert len(results(one)) == 2 * FRAMES
    assert prepare(raw, "--overwrite").code == 0
    assert len(results(one)) == 2 * FRAMES - 2


def test_a_broken_picture_that_is_mended_keeps_the_others(
    raw: Path, prepare: Command, one: Path, whole: dict[str, bytes]
) -> None:
    good = (raw / "input" / "00004.png").read_bytes()
    stat = (raw / "input" / "00004.png").stat()
    (raw / "input" / "00004.png").write_bytes(good[: len(good) // 2])
    line = prepare(raw, "--workers", 1).error_line
    assert str(raw / "input" / "00004.png") in line
    before = times(one)
    (raw / "input" / "00004.png").write_bytes(good)
    os.utime(raw / "input" / "00004.png", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert prepare(raw).code == 0
    assert results(one) == whole
    assert times(one)["images/00000.png"] == before["images/00000.png"]


def test_with_skip_what_is_broken_or_missing_is_left_out(raw: Path, prepare: Command, one: Path) -> None:
    (raw / "input" / "00001.png").write_bytes(b"\x89PNG\r\n\x1a\n broken")
    (raw / "masks" / "00003.png").unlink()
    save(raw / "masks" / "00004.png", np.zeros((128, 128), np.uint8))
    assert "00003.png: found no such mask" in prepare(raw).error_line
    assert not one.exists()
    ended = prepare(raw, "--skip")
    assert ended.code == 0, ended.err
    told = [line for line in ended.out.splitlines() if line.startswith("left out: ")]
    assert len(told) == 3
    assert "input/00001.png" in told[0]
    assert "masks/00003.png" in told[1]
    assert "masks/00004.png: found no head in the mask" in told[2]
    assert sorted(results(one)) == sorted(
        name for n in range(3) for name in (f"images/{n:05d}.png", f"checkpoint/{n:05d}.frame")
    )
    assert prepare(raw, "--skip").code == 0
    assert "00003.png: found no such mask" in prepare(raw, "--overwrite").error_line
    assert len(results(one)) == 6


def test_a_folder_that_we_did_not_make_is_never_touched(demo: Demo, raw: Path, prepare: Command, one: Path) -> None:
    shutil.copytree(demo.folder, one)
    before = results(one)
    for more in ([], ["--overwrite"]):
        assert "did not make" in prepare(raw, *more).error_line
    assert results(one) == before
    assert "did not make" in prepare(raw, "--overwrite", "--data_dir", raw.parent, "--subject", "raw").error_line


def test_without_masks_it_says_what_to_give(raw: Path, prepare: Command, one: Path) -> None:
    shutil.rmtree(raw / "masks")
    for more in ([], ["--matting", "none"], ["--no_crop"]):
        line = prepare(raw, *more).error_line
        assert "input/00000.png: found no mask for it" in line
        assert "give --masks DIR" in line
        assert not one.exists()


def test_pictures_that_were_not_tracked_are_told(raw: Path, prepare: Command, one: Path, tmp_path: Path) -> None:
    for number in range(FRAMES):
        save(tmp_path / "large" / f"{number:05d}.png", np.zeros((256, 256, 3), np.uint8))
    line = prepare(raw, "--images", tmp_path / "large").error_line
    assert "found 256x256 pixels (width x height), expected the 128x128" in line
    assert not one.exists()


def test_a_full_disk_is_one_line_and_costs_nothing(
    raw: Path, prepare: Command, one: Path, whole: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    flush, calls = os.fsync, []

    def fill_up(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) > 12:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        flush(descriptor)

    monkeypatch.setattr("rgbavatar.io.files.os.fsync", fill_up)
    line = prepare(raw).error_line
    assert "No space left on device; free some disk space" in line
    assert str(one) in line
    monkeypatch.setattr("rgbavatar.io.files.os.fsync", flush)
    assert len(results(one)) < 2 * FRAMES
    assert prepare(raw).code == 0
    assert results(one) == whole


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--size", "3"], "--size 3: expected at least 16"),
        (["--margin", "7"], "--margin 7.0: expected 0 to 2"),
        (["--classes", "skin"], "--classes skin"),
        (["--masks", "nowhere"], "nowhere: found no such folder"),
        (["--images", "nowhere"], "nowhere: found no such folder"),
        (["--subject", "a/b"], "--subject 'a/b'"),
        (["--subject", ""], "--subject ''"),
        (["--subject", ".."], "--subject '..'"),
    ],
)
def test_bad_arguments_are_told(raw: Path, prepare: Command, arguments: list[str], words: str) -> None:
    assert words in prepare(raw, *arguments).error_line


def test_a_plan_that_cannot_be_read_is_told(raw: Path, prepare: Command, one: Path) -> None:
    one.mkdir(parents=True)
    (one / "prepared.json").write_text("{}")
    assert "prepared.json: cannot be understood" in prepare(raw, "--overwrite").error_line
