"""Any texture size trains, is saved and read back: of four Gaussians or of tens of thousands, even, odd or prime."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.config import Config
from rgbavatar.io.avatar_ply import read_avatar_ply
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.io.run_dir import RunDir
from rgbavatar.trained import load_trained
from rgbavatar.training.monitor import save_run
from tests.helpers.tiny_subject import CPU, HALF_WIDTH, tiny_config, tiny_dataset, tiny_trainer

SIZES = (2, 3, 17, 100, 190)


def config_of(tex_size: int) -> Config:
    """Gaussians that cover the square, whatever their number."""
    config = tiny_config(bases_after=8)
    model = dataclasses.replace(config.model, tex_size=tex_size, initial_scale=HALF_WIDTH / tex_size)
    return dataclasses.replace(config, model=model)


@pytest.mark.parametrize("tex_size", SIZES)
def test_it_trains_and_comes_back_from_both_files(tex_size: int, tmp_path: Path) -> None:
    dataset, run = tiny_dataset(), RunDir(tmp_path)
    trainer = tiny_trainer(config_of(tex_size), dataset)
    before = [parameter.detach().clone() for parameter in trainer.model.parameters()]
    for step in range(5):
        trainer.check_finite(trainer.step(dataset.batch((torch.arange(4) + 4 * step) % len(dataset), CPU)))
    assert trainer.binding.count == tex_size**2
    assert not any(torch.equal(a, b) for a, b in zip(before, trainer.model.parameters(), strict=True))
    save_run(trainer, run)

    resumed = tiny_trainer(config_of(tex_size), dataset)
    resumed.restore(load_checkpoint(run.checkpoint))
    batch = dataset.batch(torch.arange(4), CPU)
    for other in (trainer, resumed):
        other.step(batch)
    assert all(map(torch.equal, trainer.model.parameters(), resumed.model.parameters()))

    avatar = load_trained(run.checkpoint, CPU)
    rendering = avatar.render(batch, torch.zeros(4, 3))
    assert int(rendering.num_invalid.sum()) == 0
    assert float(rendering.alpha.max()) > 0.5
    table = read_avatar_ply(run.ply)
    assert table.mean.shape == (avatar.binding.count, 3)
    np.testing.assert_array_equal(table.basis_mean, avatar.model.basis.mean.detach())
    np.testing.assert_array_equal(table.face, avatar.binding.face_ids)
    network = torch.cat([parameter.flatten() for parameter in avatar.model.network.parameters()])
    np.testing.assert_array_equal(table.network, network.detach())


@pytest.mark.parametrize("tex_size", SIZES)
def test_bound_gaussians_lie_on_a_grid_over_the_square(tex_size: int) -> None:
    """Texel (row, col) has its centre at u = (col + .5) / T, v = (row + .5) / T; the square is 2 HALF_WIDTH wide."""
    dataset = tiny_dataset(1)
    trainer = tiny_trainer(config_of(tex_size), dataset)
    world = trainer.binding.to_world(trainer.model.unblended(1), dataset.vertices).means[0].detach()
    middle = dataset.vertices[0].mean(dim=0)
    ticks = ((torch.arange(tex_size) + 0.5) / tex_size - 0.5) * 2 * HALF_WIDTH
    v, u = torch.meshgrid(ticks, ticks, indexing="ij")
    expected = torch.stack([u, -v, torch.zeros_like(u)], dim=2).reshape(-1, 3) + middle
    assert torch.allclose(world, expected, atol=1e-6)  # float32 of coordinates near 1 m
