"""Checkpoints written beside training: the state of the call, in turn, whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import pytest
import torch

import rgbavatar
from rgbavatar.errors import OutputError
from rgbavatar.io import checkpoint_writer
from rgbavatar.io.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from rgbavatar.io.checkpoint_writer import CheckpointWriter


def make_checkpoint(images_seen: int, numbers: int = 5) -> Checkpoint:
    weights = torch.full((numbers,), float(images_seen))
    return Checkpoint(config={}, model={"w": weights}, optimizer={}, generators={}, images_seen=images_seen)


class SlowDisk:
    """Stands in for save_checkpoint: each write begins, and goes on when `gate` is opened."""

    def __init__(self) -> None:
        self.gate = threading.Event()
        self.begun: list[int] = []
        self.at_once = 0
        self.most_at_once = 0

    def save(self, path: Path, checkpoint: Checkpoint) -> None:
        self.begun.append(checkpoint.images_seen)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.gate.wait(60)
        save_checkpoint(path, checkpoint)
        self.at_once -= 1


@pytest.fixture
def slow_disk(monkeypatch: pytest.MonkeyPatch) -> Iterator[SlowDisk]:
    disk = SlowDisk()
    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", disk.save)
    yield disk
    disk.gate.set()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def no_thread_is_left() -> bool:
    return not any(thread.name.startswith("write-checkpoint") for thread in threading.enumerate())


def test_the_call_returns_while_the_file_is_still_to_come(path: Path, slow_disk: SlowDisk) -> None:
    with CheckpointWriter(path) as writer:
        writer.write(make_checkpoint(1))
        existed = path.exists()
        slow_disk.gate.set()
    assert not existed
    assert load_checkpoint(path).images_seen == 1
    assert no_thread_is_left()


def test_what_is_written_is_the_state_of_the_call(path: Path, slow_disk: SlowDisk) -> None:
    checkpoint = make_checkpoint(1)
    with CheckpointWriter(path) as writer:
        writer.write(checkpoint)
        checkpoint.model["w"].fill_(9.0)
        checkpoint.model["other"] = torch.zeros(1)
        slow_disk.gate.set()
    loaded = load_checkpoint(path).model
    assert loaded.keys() == {"w"}
    assert torch.equal(loaded["w"], torch.full((5,), 1.0))


def test_a_second_write_waits_for_the_first(path: Path, slow_disk: SlowDisk) -> None:
    with CheckpointWriter(path) as writer:
        writer.write(make_checkpoint(1))
        second = threading.Thread(target=writer.write, args=(make_checkpoint(2),))
        second.start()
        second.join(0.2)
        waited = second.is_alive()
        slow_disk.gate.set()
        second.join()
    assert waited
    assert slow_disk.begun == [1, 2]
    assert slow_disk.most_at_once == 1
    assert load_checkpoint(path).images_seen == 2


def failing_writer(path: Path, monkeypatch: pytest.MonkeyPatch) -> CheckpointWriter:
    """A writer whose first write has failed."""

    def fail(path: Path, checkpoint: Checkpoint) -> None:
        raise OutputError(f"{path}: cannot be written")

    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", fail)
    writer = CheckpointWriter(path)
    writer.write(make_checkpoint(1))
    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save_checkpoint)
    return writer


@pytest.mark.parametrize("call", ["write", "wait", "close"])
def test_a_failure_is_raised_once_at_the_next_call(path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    writer = failing_writer(path, monkeypatch)
    with pytest.raises(OutputError, match=r"checkpoint\.pt: cannot be written"):
        getattr(writer, call)(*([make_checkpoint(2)] if call == "write" else []))
    writer.close()
    assert no_thread_is_left()


def test_a_failure_is_raised_by_looking_once_it_has_come(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = failing_writer(path, monkeypatch)
    writer._pool.submit(lambda: None).result()  # comes after the write
    with pytest.raises(OutputError):
        writer.raise_failure()
    writer.raise_failure()
    writer.write(make_checkpoint(3))
    writer.close()
    assert load_checkpoint(path).images_seen == 3


def test_looking_waits_for_nothing(path: Path, slow_disk: SlowDisk) -> None:
    with CheckpointWriter(path) as writer:
        writer.raise_failure()
        writer.write(make_checkpoint(1))
        writer.raise_failure()
        existed = path.exists()
        slow_disk.gate.set()
    assert not existed


def test_leaving_the_context_raises_a_failure(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OutputError), failing_writer(path, monkeypatch):
        pass


@pytest.mark.parametrize("error", [ValueError("mine"), KeyboardInterrupt()])
def test_the_error_that_ends_the_context_goes_before_a_failed_write(
    path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    with pytest.raises(type(error)) as caught, failing_writer(path, monkeypatch):
        raise error
    assert caught.value is error
    assert no_thread_is_left()


def test_an_error_that_ends_the_context_does_not_cut_a_write_off(path: Path, slow_disk: SlowDisk) -> None:
    def write_and_fail() -> None:
        with CheckpointWriter(path) as writer:
            writer.write(make_checkpoint(1))
            slow_disk.gate.set()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        write_and_fail()
    assert load_checkpoint(path).images_seen == 1
    assert list(path.parent.iterdir()) == [path]


def test_ctrl_c_while_waiting_loses_neither_the_write_nor_its_error(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, gate = threading.Event(), threading.Event()

    def wait(writes: list[object]) -> object:
        waiting.set()
        return futures.wait(writes)  # type: ignore[arg-type]

    def save(path: Path, checkpoint: Checkpoint) -> None:
        if waiting.wait(60):
            os.kill(os.getpid(), signal.SIGINT)
        gate.wait(60)
        save_checkpoint(path, checkpoint)
        raise OutputError("the disk is full")

    monkeypatch.setattr(checkpoint_writer, "wait", wait)
    monkeypatch.setattr(checkpoint_writer, "save_checkpoint", save)
    writer = CheckpointWriter(path)
    writer.write(make_checkpoint(1))
    with pytest.raises(KeyboardInterrupt):
        writer.wait()
    gate.set()
    with pytest.raises(OutputError, match="the disk is full"):
        writer.close()
    assert load_checkpoint(path).images_seen == 1
    assert no_thread_is_left()


def test_a_program_that_ends_without_closing_still_writes(path: Path) -> None:
    source = """
import sys
from pathlib import Path
import torch
from rgbavatar.io.checkpoint import Checkpoint
from rgbavatar.io.checkpoint_writer import CheckpointWriter
weights = torch.ones(5_000_000)
writer = CheckpointWriter(Path(sys.argv[1]))
writer.write(Checkpoint(config={}, model={"w": weights}, optimizer={}, generators={}, images_seen=7))
raise KeyboardInterrupt
"""
    environment = {**os.environ, "PYTHONPATH": str(Path(rgbavatar.__file__).parents[1])}
    done = subprocess.run([sys.executable, "-c", source, str(path)], capture_output=True, check=False, env=environment)
    assert b"KeyboardInterrupt" in done.stderr
    assert load_checkpoint(path).images_seen == 7


def test_a_value_that_a_checkpoint_cannot_hold_is_told_at_the_call(path: Path) -> None:
    checkpoint = Checkpoint(config={"x": {1, 2}}, model={}, optimizer={}, generators={}, images_seen=0)
    with CheckpointWriter(path) as writer, pytest.raises(TypeError, match=r"config\.x is a set"):
        writer.write(checkpoint)


def test_a_limit_on_file_sizes_keeps_the_previous_checkpoint(path: Path, limited_file_size) -> None:
    save_checkpoint(path, make_checkpoint(1))
    writer = CheckpointWriter(path)
    with limited_file_size(100_000):
        writer.write(make_checkpoint(2, numbers=100_000))
        with pytest.raises(OutputError, match="cannot be written: File too large"):
            writer.close()
    assert load_checkpoint(path).images_seen == 1
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_keeps_the_previous_checkpoint_and_training_can_go_on(run_on_tiny_disk) -> None:
    printed = run_on_tiny_disk("""
import os, sys, torch
from pathlib import Path
from rgbavatar.errors import OutputError
from rgbavatar.io.checkpoint import Checkpoint, load_checkpoint
from rgbavatar.io.checkpoint_writer import CheckpointWriter
path = Path(sys.argv[1]) / "checkpoint.pt"
writer = CheckpointWriter(path)
for step, numbers in ((1, 35_000), (2, 35_000), (3, 100)):
    model = {"w": torch.ones(numbers)}
    try:
        writer.write(Checkpoint(config={}, model=model, optimizer={}, generators={}, images_seen=step))
        writer.wait()
    except OutputError as error:
        print(error, load_checkpoint(path).images_seen, os.listdir(path.parent))
writer.close()
print(load_checkpoint(path).images_seen, os.listdir(path.parent))
""")
    first, second = printed.splitlines()
    assert "checkpoint.pt: cannot be written: No space left on device" in first
    assert first.endswith("1 ['checkpoint.pt']")
    assert second == "3 ['checkpoint.pt']"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_the_state_of_a_gpu_is_that_of_the_call(path: Path, slow_disk: SlowDisk) -> None:
    weights = torch.zeros(1 << 20, device="cuda")
    checkpoint = Checkpoint(config={}, model={"w": weights}, optimizer={}, generators={}, images_seen=1)
    with CheckpointWriter(path) as writer:
        writer.write(checkpoint)
        weights.fill_(9.0)
        torch.cuda.synchronize()
        slow_disk.gate.set()
    assert not load_checkpoint(path).model["w"].any()
