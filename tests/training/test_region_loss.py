"""Pixels of a region that count more: which they are, and by how much."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

import rgbavatar.training.fused as fused_module
from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.binding.regions import expressive_regions, shares_of_gaussians
from rgbavatar.config import Config, override_config
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.templates.procedural_head import make_procedural_head
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import CPU, SIZE, tiny_config, tiny_dataset, tiny_trainer

DATASET = tiny_dataset()


def configured(region: float) -> Config:
    return override_config(tiny_config(bases_after=10**6, color_init=False), [f"loss.region={region}"])


def left_half(trainer: Trainer) -> Tensor:
    """1 for the Gaussians on the left of the grid, in its own columns, 0 for the others."""
    left = torch.arange(12) < 6
    return left.repeat(12).float() if trainer.binding.count == 144 else pytest.fail("the grid does not fill the map")


def make_trainer(region: float) -> Trainer:
    trainer = tiny_trainer(configured(region), DATASET)
    trainer.region = left_half(trainer)
    return trainer


def test_the_term_counts_what_the_gaussians_of_the_region_show() -> None:
    trainer = make_trainer(2.0)
    report = trainer.step(DATASET.batch(torch.tensor([3]), CPU))
    difference = (report.rendering.color.detach() - report.target).abs()[0].mean(dim=0)
    terms = report.terms()
    inside = difference[:, : SIZE // 2].sum() / difference.numel()
    assert terms["region"] < float(inside)  # half of the picture, less where background shines through
    assert terms["region"] > 0.3 * float(inside)
    assert report.loss() == pytest.approx(terms["l1"] + 2.0 * terms["region"], rel=1e-6)


def test_everything_in_the_region_is_coverage_and_nothing_in_it_is_no_term() -> None:
    for share, expected in ((1.0, None), (0.0, 0.0)):
        trainer = make_trainer(1.0)
        trainer.region = torch.full((144,), share)
        batch = DATASET.batch(torch.tensor([3, 5]), CPU)
        report = trainer.step(batch)
        alpha = report.rendering.alpha.detach()
        covered = float(((report.rendering.color.detach() - report.target).abs() * alpha).mean())
        assert report.terms()["region"] == pytest.approx(covered if expected is None else expected, rel=1e-5)


def test_a_pixel_of_the_region_counts_once_more_for_each_unit_of_the_factor() -> None:
    gradients = []
    for factor in (0.0, 2.0):
        trainer = make_trainer(factor)
        trainer.step(DATASET.batch(torch.arange(4), CPU))
        assert trainer.model.base.sh.grad is not None
        gradients.append(trainer.model.base.sh.grad.view(12, 12, 3).norm(dim=(0, 2)))
    times = gradients[1] / gradients[0]  # of each column of Gaussians
    torch.testing.assert_close(times[9:], torch.ones(3), rtol=1e-4, atol=0)
    assert float(times[:3].min()) > 2.0
    assert float(times[:3].max()) < 3.0  # the background, where it shines through, is not of the region


def test_setup_finds_the_region_of_the_template_and_only_where_it_is_asked_for() -> None:
    template = FlameTemplate(make_procedural_head(40))
    found = [build_trainer(configured(factor), template, CPU).region for factor in (0.0, 1.0)]
    assert found[0] is None
    assert found[1] is not None
    assert torch.equal(found[1], shares_of_gaussians(expressive_regions(template), bind_template(template, 12)))


def test_the_plain_step_alone_computes_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_module.fused, "fits_device", lambda *_: True)
    gpu = torch.device("meta")  # any that is not the CPU
    assert [fused_module.supports(configured(factor), gpu) for factor in (0.0, 1.0)] == [True, False]
