"""Weight decay of the network by how wrong the tracking is found to be (refinement.doubt_turn)."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from rgbavatar.config import Config, override_config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.io.checkpoint import load_checkpoint, save_checkpoint
from rgbavatar.training.refinement import Refinement
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer

FRAMES = 12
DEGREES = 0.4  # at which decay is taken in full


def configured(*settings: str) -> Config:
    refining = ["training.refine_tracking=true", "refinement.after=0", f"refinement.doubt_turn={DEGREES}"]
    return override_config(tiny_config(bases_after=0), [*refining, *settings])


def refinement_at(degrees: float, config: Config) -> Refinement:
    """Corrections of a few frames far, of most not at all; all together by so many degrees, root mean square."""
    refinement = Refinement(tiny_dataset(FRAMES), config.refinement, CPU)
    turns = torch.zeros(FRAMES, 3)
    turns[1], turns[4] = torch.tensor([0.6, 0.0, -0.8]), torch.tensor([0.0, 1.0, 0.0])
    refinement._tables["turns"].values.data.copy_(turns * math.radians(degrees) * math.sqrt(FRAMES / 2))
    return refinement


def trainer_at(degrees: float, dataset: HeadDataset, *settings: str) -> Trainer:
    config = configured(*settings)
    trainer = tiny_trainer(config, dataset)
    trainer.refinement = refinement_at(degrees, config)
    return trainer


@pytest.mark.parametrize(
    ("degrees", "doubt"), [(0.0, 0.25), (0.05, 0.25), (0.2, 0.5), (0.3, 0.75), (0.4, 1.0), (3.0, 1.0)]
)
def test_doubt_is_the_turn_over_that_of_a_wrong_tracking(degrees: float, doubt: float) -> None:
    assert float(refinement_at(degrees, configured()).doubt(0)) == pytest.approx(doubt, rel=1e-5)


def test_without_corrections_nothing_is_known_of_the_tracking() -> None:
    assert refinement_at(0.0, configured("refinement.doubt_turn=0")).doubt(0) == 1.0
    assert refinement_at(0.0, configured("refinement.after=100")).doubt(99) == 1.0
    assert float(refinement_at(0.0, configured("refinement.after=100")).doubt(100)) == 0.25


@pytest.mark.parametrize(("degrees", "doubt"), [(0.01, 0.25), (0.2, 0.5), (1.0, 1.0)])
def test_a_step_takes_as_much_of_the_decay(degrees: float, doubt: float) -> None:
    """By hand."""
    dataset = tiny_dataset(FRAMES)
    plain, decayed = (trainer_at(degrees, dataset, f"optimizer.mlp_weight_decay={decay}") for decay in (0.0, 30.0))
    before = [value.detach().clone() for value in plain.model.network.parameters()]
    for trainer in (plain, decayed):
        trainer.step(dataset.batch(torch.arange(4), CPU))
    for start, expected, found in zip(
        before, plain.model.network.parameters(), decayed.model.network.parameters(), strict=True
    ):
        taken = 1e-3 * 30 * doubt * start
        assert float(taken.abs().max()) > 1e-4
        torch.testing.assert_close(found, expected - taken, rtol=0, atol=1e-6)


def test_a_run_with_doubt_goes_on_bit_for_bit(tmp_path: Path) -> None:
    dataset, decay = tiny_dataset(FRAMES), "optimizer.mlp_weight_decay=1"
    batches = [torch.arange(4) + start for start in (0, 4, 8, 2, 6, 0)]

    def train(trainer: Trainer, first: int, last: int) -> Trainer:
        for positions in batches[first:last]:
            trainer.step(dataset.batch(positions, CPU))
        return trainer

    straight = train(trainer_at(0.2, dataset, decay), 0, 3)
    save_checkpoint(tmp_path / "checkpoint.pt", straight.checkpoint())
    train(straight, 3, 6)
    resumed = trainer_at(0.0, dataset, decay)
    resumed.restore(load_checkpoint(tmp_path / "checkpoint.pt"))
    train(resumed, 3, 6)
    assert all(torch.equal(a, b) for a, b in zip(resumed.model.parameters(), straight.model.parameters(), strict=True))
