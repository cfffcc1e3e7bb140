"""Data-parallel training, on the CPU with gloo: what holds for two processes there holds for two GPUs with NCCL."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.training.processes import ALONE, Processes

ROOT = Path(__file__).parents[2]

WORKER = """
import sys
from pathlib import Path
import torch
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.offline import train_offline
from rgbavatar.training.processes import joined_processes
from rgbavatar.training.refinement import Refinement
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer
from tests.training.test_refinement import corrections_of, refined

folder, images, kind = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
torch.set_num_threads(1)
with joined_processes(CPU) as processes:
    dataset = tiny_dataset()
    config = tiny_config(images=images, error_sampling=0.5 if kind == "errors" else 0.0)
    config = refined(config, focal=0.01) if kind == "refines" else config
    trainer = tiny_trainer(config, dataset, processes=processes)
    if kind == "refines":
        trainer.refinement = Refinement(dataset, config.refinement, CPU)
    train_offline(trainer, dataset, RunDir(folder), NullLog(), CPU)
    tensors = [*trainer.model.state_dict().values()]
    tensors += vars(corrections_of(trainer)).values() if kind == "refines" else []
    tensors += [trainer.errors.weights(range(12))] if kind == "errors" else []
    state = torch.cat([tensor.flatten() for tensor in tensors])
    torch.save((state, trainer.images_seen), folder / f"rank{processes.rank}.pt")
"""


def train(folder: Path, count: int, images: int, kind: str = "keeps") -> list[tuple[torch.Tensor, int]]:
    folder.mkdir()
    (folder / "worker.py").write_text(WORKER)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={count}"]
    if count == 1:
        command = [sys.executable]
    arguments = [str(folder / "worker.py"), str(folder), str(images), kind]
    environment = {"PYTHONPATH": f"{ROOT}:{ROOT / 'src'}", "OMP_NUM_THREADS": "1"}
    subprocess.run([*command, *arguments], check=True, env={**inherited(), **environment}, capture_output=True)
    return [torch.load(folder / f"rank{rank}.pt") for rank in range(count)]


def inherited() -> dict[str, str]:
    return {
        name: value for name, value in os.environ.items() if not name.startswith(("RANK", "WORLD", "LOCAL", "MASTER"))
    }


def test_one_process_exchanges_nothing() -> None:
    tensor = torch.ones(3)
    ALONE.sum([tensor])
    ALONE.mean([tensor])
    ALONE.wait_for_all()
    assert torch.equal(tensor, torch.ones(3))
    assert ALONE.any(True, torch.device("cpu"))
    assert not ALONE.any(False, torch.device("cpu"))


def test_the_parts_of_a_batch_are_all_of_it_and_do_not_overlap() -> None:
    parts = [list(range(12))[Processes(rank, 3).part(12)] for rank in range(3)]
    assert [image for part in parts for image in part] == list(range(12))


@pytest.mark.slow
def test_two_processes_train_what_one_does(tmp_path: Path) -> None:
    [(alone, seen)] = train(tmp_path / "one", 1, images=40)
    two = train(tmp_path / "two", 2, images=40)
    assert seen == two[0][1] == two[1][1] == 40
    assert torch.equal(two[0][0], two[1][0]), "the processes hold different avatars"
    apart = (two[0][0] - alone).abs().mean() / alone.abs().mean()
    assert apart < 1e-2, (
        f"{apart:.1e} apart"
    )  # other orders of sums, amplified by 10 steps: 1e-3; half of each batch: 6e-2
    assert load_checkpoint(tmp_path / "two" / "checkpoint.pt").images_seen == 40
    assert (tmp_path / "two" / "model.ply").is_file()


@pytest.mark.slow
def test_a_last_batch_that_does_not_divide_is_filled_up(tmp_path: Path) -> None:
    two = train(tmp_path / "two", 2, images=41)
    assert [seen for _, seen in two] == [42, 42]
    assert torch.equal(two[0][0], two[1][0])


@pytest.mark.slow
def test_two_processes_refine_the_tracking_as_one_does(tmp_path: Path) -> None:
    """A frame's corrections are in all processes, whichever shows it; 12 images: before roundings have grown."""
    train(tmp_path / "one", 1, 12, kind="refines")
    two = train(tmp_path / "two", 2, 12, kind="refines")
    assert torch.equal(two[0][0], two[1][0]), "the processes hold different corrections"
    found, expected = (
        load_checkpoint(tmp_path / name / "checkpoint.pt").model["tracking.turns"] for name in ("two", "one")
    )
    assert float(expected.abs().max()) > 1e-3
    assert float((found - expected).abs().max()) < 0.02 * float(expected.abs().max())
