"""Terms that want neighbours alike: weights of frames that follow each other, bases of Gaussians side by side."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

import rgbavatar.training.fused as fused_module
from rgbavatar.config import Config, override_config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.training.neighbors import find_time_neighbors
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset


def make_trainer(dataset: HeadDataset, *settings: str) -> Trainer:
    return build_trainer(configured(*settings), dataset.template, CPU, frames=dataset)


def configured(*settings: str) -> Config:
    return override_config(tiny_config(bases_after=0), list(settings))


def train(trainer: Trainer, dataset: HeadDataset, images: int) -> dict[str, float]:
    order, terms = EpochSampler(len(dataset), 0), {}
    while trainer.images_seen < images:
        terms = trainer.step(dataset.batch(order.positions(trainer.images_seen, 4), CPU)).terms()
    return terms


def numbered(numbers: list[int]) -> HeadDataset:
    return dataclasses.replace(tiny_dataset(len(numbers)), numbers=torch.tensor(numbers))


def test_a_frame_precedes_the_one_with_the_next_number_alone() -> None:
    neighbors = find_time_neighbors(numbered([3, 4, 5, 9, 10, 20]))
    assert neighbors.following.tolist() == [1, 2, 2, 4, 4, 5]


def test_the_steps_of_weights_are_those_to_the_next_frame_and_teach_the_network() -> None:
    dataset = numbered([3, 4, 9, 10])
    model = make_trainer(dataset).model
    positions, offsets = torch.tensor([2, 1, 0]), torch.randn(4, 3)
    neighbors = find_time_neighbors(dataset)
    for changed, more in ((dataset.codes, None), (dataset.codes + offsets, offsets)):
        weights = model.weights(changed)
        expected = torch.stack([weights[3] - weights[2], torch.zeros(3), weights[1] - weights[0]])
        torch.testing.assert_close(neighbors.weight_steps(model, positions, more), expected, rtol=0, atol=1e-6)
    neighbors.weight_steps(model, torch.tensor([1]), None).square().sum().backward()
    assert all(float(value.grad.abs().max()) == 0.0 for value in model.network.parameters())
    neighbors.weight_steps(model, positions, None).square().sum().backward()
    assert any(float(value.grad.abs().max()) > 0.0 for value in model.network.parameters())


def test_smooth_weights_change_less_from_frame_to_frame_the_more_the_term_counts() -> None:
    dataset = tiny_dataset()
    sizes = []
    for factor in ("0", "0.1", "10"):
        trainer = make_trainer(dataset, f"loss.smooth_weights={factor}", "optimizer.mlp=0.01")
        train(trainer, dataset, 400)
        sizes.append(mean_square_steps(trainer.model.weights(dataset.codes)))
    assert sizes[0] > 2 * sizes[1] > 4 * sizes[2]


def test_smooth_bases_differ_less_between_neighbours_the_more_the_term_counts() -> None:
    dataset = tiny_dataset()
    rough = []
    for factor in ("0", "0.01", "0.1"):
        trainer = make_trainer(dataset, f"loss.smooth_bases={factor}")
        train(trainer, dataset, 200)
        basis = trainer.model.basis.sh.detach()
        image = basis.view(basis.shape[0], 12, 12, 3)  # the grid fills the whole map of 12 x 12 texels
        differences = image.diff(dim=1).square().sum() + image.diff(dim=2).square().sum()
        rough.append(float(differences / basis.square().sum()))
    assert rough[0] > 1.5 * rough[1]
    assert rough[1] > 1.5 * rough[2]


def test_the_terms_are_what_is_reported() -> None:
    dataset = tiny_dataset()
    trainer = make_trainer(dataset, "loss.smooth_weights=1e-9", "loss.smooth_bases=1e-9")
    batch = dataset.batch(torch.tensor([0, 3, 11]), CPU)
    weights = trainer.model.weights(dataset.codes).detach()
    steps = torch.stack([weights[1] - weights[0], weights[4] - weights[3], torch.zeros(3)])
    terms = trainer.step(batch).terms()
    assert terms["smooth_weights"] == pytest.approx(float(steps.square().mean()), rel=1e-4)
    assert terms["smooth_bases"] == 0.0  # they start at zero
    assert trainer.step(batch).terms()["smooth_bases"] > 0.0


def test_terms_of_bases_wait_until_these_join() -> None:
    dataset = tiny_dataset()
    trainer = make_trainer(dataset, "loss.smooth_weights=1", "loss.smooth_bases=1", "training.bases_after=4")
    assert set(train(trainer, dataset, 4)) == {"l1"}
    assert set(train(trainer, dataset, 8)) == {"l1", "smooth_weights", "smooth_bases"}


@pytest.mark.parametrize("setting", ["loss.smooth_weights=1", "loss.smooth_bases=1", "loss.lpips=1"])
def test_the_plain_step_alone_computes_them(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_module.fused, "fits_device", lambda *_: True)
    gpu = torch.device("meta")  # any that is not the CPU
    assert fused_module.supports(configured("loss.lpips_after=100"), gpu)
    assert not fused_module.supports(configured(setting), gpu)


def test_corrected_codes_are_smoothed_where_the_tracking_is_refined() -> None:
    dataset = tiny_dataset()
    settings = ("training.refine_tracking=true", "refinement.after=0", "refinement.code=0.5", "loss.smooth_weights=1")
    trainer = make_trainer(dataset, *settings)
    train(trainer, dataset, 24)
    assert trainer.refinement is not None
    corrected = dataset.codes + trainer.refinement.corrections().codes
    expected = mean_square_steps(trainer.model.weights(corrected))
    assert expected != pytest.approx(mean_square_steps(trainer.model.weights(dataset.codes)), rel=1e-3)
    terms = trainer.step(dataset.batch(torch.arange(12), CPU)).terms()
    assert terms["smooth_weights"] == pytest.approx(expected, rel=1e-4)


def mean_square_steps(weights: Tensor) -> float:
    """Over 12 frames, the last of which has no next one."""
    return float(weights.detach().diff(dim=0).square().sum()) / weights.numel()
