"""The choice of the device under torchrun, and the line on memory that is missing."""

from __future__ import annotations

import pytest
import torch

from rgbavatar import cli
from rgbavatar.errors import ConfigError

TORCHS_OWN = (
    "CUDA out of memory. Tried to allocate 12.50 GiB. GPU 0 has a total capacity of 79.11 GiB of which 3.00 GiB is free. "
    "Process 1 has 76.11 GiB memory in use. Of the allocated memory 75.00 GiB is allocated by PyTorch."
)


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setattr("gaussian_rasterization.backends", lambda: frozenset({"cpu", "cuda"}))


@pytest.mark.usefixtures("two_gpus")
@pytest.mark.parametrize(("name", "rank", "expected"), [("auto", None, 0), ("cuda", "1", 1), ("auto", "1", 1)])
def test_each_of_torchruns_processes_takes_the_gpu_of_its_number(
    monkeypatch: pytest.MonkeyPatch, name: str, rank: str | None, expected: int
) -> None:
    if rank is not None:
        monkeypatch.setenv("LOCAL_RANK", rank)
    assert cli.choose_device(name) == torch.device("cuda", expected)


@pytest.mark.usefixtures("two_gpus")
def test_one_gpu_for_all_processes_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    with pytest.raises(ConfigError, match="leave --device out"):
        cli.choose_device("cuda:0")


@pytest.mark.usefixtures("two_gpus")
def test_more_processes_than_gpus_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "2")
    with pytest.raises(ConfigError, match="found 2 CUDA devices"):
        cli.choose_device("auto")


def test_missing_memory_is_one_line_that_says_what_to_lower(capsys: pytest.CaptureFixture[str]) -> None:
    def main() -> None:
        raise torch.OutOfMemoryError(TORCHS_OWN)

    with pytest.raises(SystemExit) as caught:
        cli.run_script(main)
    assert caught.value.code == 2
    line = capsys.readouterr().err
    assert line.count("\n") == 1
    for word in ("12.50 GiB", "training.batch_size", "model.tex_size", "training.frame_memory_gib"):
        assert word in line


def test_another_runtime_error_stays_what_it_is() -> None:
    def main() -> None:
        raise RuntimeError("something else")

    with pytest.raises(RuntimeError, match="something else"):
        cli.run_script(main)
