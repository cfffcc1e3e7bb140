from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgbavatar.config import Config, config_from_dict, config_to_dict
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import CheckpointError, TrainingError
from rgbavatar.geometry.camera import Camera
from rgbavatar.io.checkpoint import load_checkpoint, save_checkpoint
from rgbavatar.losses import composite
from rgbavatar.model.gaussians import colors_from_sh
from rgbavatar.renderer import render
from rgbavatar.trained import load_trained, trained_from_checkpoint
from rgbavatar.training.trainer import StepReport, Trainer
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer


def step(trainer: Trainer, dataset: HeadDataset, frames: int = 4) -> StepReport:
    first = trainer.images_seen % len(dataset)
    positions = (torch.arange(frames) + first) % len(dataset)
    return trainer.step(dataset.batch(positions, CPU))


def train(trainer: Trainer, dataset: HeadDataset, steps: int) -> StepReport:
    for _ in range(steps - 1):
        step(trainer, dataset)
    return step(trainer, dataset)


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.clone() for name, tensor in trainer.model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


def error(trainer: Trainer, dataset: HeadDataset) -> Tensor:
    """Rendering minus truth of all frames over black, in the middle of the pictures: [n, 3, 8, 8]."""
    batch = dataset.batch(torch.arange(len(dataset)), CPU)
    avatar = trained_from_checkpoint(trainer.checkpoint(), "test")
    black = torch.zeros(len(dataset), 3)
    difference = avatar.render(batch, black).color - composite(batch.images, black)
    return difference[:, :, 8:16, 8:16]


def calm(config: Config) -> Config:
    """Rates for a hundred Gaussians and a hundred steps: splats that keep their size, a network that learns fast."""
    rates = dataclasses.replace(config.optimizer, opacity=0.05, scale=0.0, mean=0.0, mlp=0.02)
    return dataclasses.replace(config, optimizer=rates)


def test_training_makes_the_picture_better() -> None:
    dataset = tiny_dataset()
    trainer = tiny_trainer(calm(tiny_config()), dataset)
    step(trainer, dataset)
    before = float(error(trainer, dataset).abs().mean())
    train(trainer, dataset, 150)
    assert float(error(trainer, dataset).abs().mean()) < 0.5 * before


def test_the_bases_learn_what_the_code_tells() -> None:
    """The blue level differs from frame to frame, and the code tells it: the base alone can only show one level."""
    dataset = tiny_dataset()
    blended, plain = (tiny_trainer(calm(tiny_config(bases_after=start)), dataset) for start in (0, 10**6))
    train(blended, dataset, 200)
    train(plain, dataset, 200)
    blue = [float(error(trainer, dataset)[:, 2].mean(dim=(1, 2)).abs().mean()) for trainer in (blended, plain)]
    assert blue[0] < 0.5 * blue[1]
    assert blue[1] > 0.15


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = (tiny_trainer(tiny_config(), tiny_dataset()) for _ in range(2))
    train(first, tiny_dataset(), 8)
    train(second, tiny_dataset(), 8)
    assert same(parameters(first), parameters(second))


def test_another_seed_gives_another_avatar() -> None:
    config = tiny_config()
    first = tiny_trainer(config, tiny_dataset())
    second = tiny_trainer(dataclasses.replace(config, seed=1), tiny_dataset())
    train(first, tiny_dataset(), 4)
    train(second, tiny_dataset(), 4)
    assert not same(parameters(first), parameters(second))


def test_a_restored_trainer_goes_on_bit_for_bit(tmp_path: Path) -> None:
    dataset, path = tiny_dataset(), tmp_path / "checkpoint.pt"
    straight = tiny_trainer(tiny_config(), dataset)
    train(straight, dataset, 5)
    save_checkpoint(path, straight.checkpoint())
    train(straight, dataset, 5)

    resumed = tiny_trainer(tiny_config(), dataset)
    resumed.restore(load_checkpoint(path))
    assert resumed.images_seen == 20
    train(resumed, dataset, 5)
    assert same(parameters(straight), parameters(resumed))
    assert torch.equal(straight.color_init.seen, resumed.color_init.seen)


def test_a_checkpoint_of_other_sizes_is_refused() -> None:
    dataset = tiny_dataset()
    checkpoint = tiny_trainer(tiny_config(), dataset).checkpoint()
    larger = config_to_dict(tiny_config()) | {"model": {"tex_size": 16, "num_bases": 3, "hidden_width": 8}}
    with pytest.raises(CheckpointError, match="does not fit"):
        tiny_trainer(config_from_dict(larger, "test"), dataset).restore(checkpoint)


def test_bases_and_network_rest_until_they_join() -> None:
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(bases_after=8), dataset)
    before = parameters(trainer)
    train(trainer, dataset, 2)
    waiting = [name for name in before if not name.startswith("base.")]
    assert all(torch.equal(before[name], parameters(trainer)[name]) for name in waiting)
    train(trainer, dataset, 2)
    assert not any(torch.equal(before[name], parameters(trainer)[name]) for name in waiting if "weight" in name)
    assert float(trainer.model.basis.sh.detach().abs().max()) > 0.0


def test_first_colors_are_those_of_the_images() -> None:
    """The square's green ramp runs down the image, which is against v: the texels' rows from the bottom up."""
    dataset = tiny_dataset()
    config = tiny_config()
    frozen = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, color=0.0))
    trainer = tiny_trainer(frozen, dataset)
    step(trainer, dataset)
    assert bool(trainer.color_init.seen.all())
    green = colors_from_sh(trainer.model.base.sh.detach())[:, 1].reshape(12, 12).mean(dim=1)
    expected = torch.linspace(0.73, 0.27, 12)  # 0.5 + 5 y at the rows' centres
    assert float((green - expected).abs().max()) < 0.05


def test_a_gaussian_gets_its_first_color_once() -> None:
    dataset = tiny_dataset()
    config = tiny_config()
    frozen = dataclasses.replace(config, optimizer=dataclasses.replace(config.optimizer, color=0.0))
    trainer = tiny_trainer(frozen, dataset)
    step(trainer, dataset)
    first = trainer.model.base.sh.detach().clone()
    step(trainer, dataset)
    assert torch.equal(trainer.model.base.sh, first)


def hide_half(dataset: HeadDataset) -> HeadDataset:
    """Cut the upper half of the images out of the head mask."""
    images = dataset.images.read(torch.arange(len(dataset)))
    images[:, : images.shape[1] // 2, :, 3] = 0
    return dataclasses.replace(dataset, images=type(dataset.images)(images))


@pytest.mark.parametrize(("color_init", "kept"), [(True, 0.5), (False, 1.0)])
def test_gaussians_that_no_image_shows_are_left_out_if_colors_are_initialised(
    color_init: bool, kept: float, tmp_path: Path
) -> None:
    dataset = hide_half(tiny_dataset())
    trainer = tiny_trainer(tiny_config(color_init=color_init), dataset)
    train(trainer, dataset, 2)
    save_checkpoint(tmp_path / "checkpoint.pt", trainer.checkpoint())
    avatar = load_trained(tmp_path / "checkpoint.pt", CPU)
    assert avatar.binding.count == pytest.approx(kept * trainer.binding.count, rel=0.2)
    assert avatar.model.shape.count == avatar.binding.count


def test_a_trained_avatar_renders_what_the_trainer_renders(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(), dataset)
    train(trainer, dataset, 10)
    save_checkpoint(tmp_path / "checkpoint.pt", trainer.checkpoint())
    batch = dataset.batch(torch.arange(3), CPU)
    rendering = load_trained(tmp_path / "checkpoint.pt", CPU).render(batch, torch.zeros(3, 3))
    world = trainer.binding.to_world(trainer.model.blended(trainer.model.weights(batch.codes)), batch.vertices)
    assert torch.equal(rendering.color, render(world, batch.camera, torch.zeros(3, 3)).color)


@pytest.mark.parametrize("term", ["ssim", "alpha", "sparsity", "orthogonality"])
def test_every_loss_term_changes_what_is_learnt(term: str) -> None:
    dataset = tiny_dataset()
    config = tiny_config(bases_after=0)
    weighted = dataclasses.replace(config, loss=dataclasses.replace(config.loss, **{term: 0.5}))
    plain, changed = tiny_trainer(config, dataset), tiny_trainer(weighted, dataset)
    train(plain, dataset, 3)
    report = train(changed, dataset, 3)
    assert set(report.terms()) == {"l1", term}
    assert not same(parameters(plain), parameters(changed))


def test_a_camera_for_each_image_trains_as_one_for_all() -> None:
    dataset = tiny_dataset()
    one = dataset.camera
    many = Camera(one.world_to_camera.repeat(12, 1, 1), one.intrinsics.repeat(12, 1), one.width, one.height)
    single, multiple = tiny_trainer(tiny_config(), dataset), tiny_trainer(tiny_config(), dataset)
    train(single, dataset, 4)
    train(multiple, dataclasses.replace(dataset, camera=many), 4)
    assert same(parameters(single), parameters(multiple))


def test_divergence_is_an_error_that_names_the_rates() -> None:
    dataset = tiny_dataset()
    trainer = tiny_trainer(tiny_config(), dataset)
    trainer.model.base.mean.data[3] = float("nan")
    report = step(trainer, dataset)
    with pytest.raises(TrainingError, match=r"4 Gaussians with values that are not finite.*optimizer"):
        trainer.check_finite(report)


def test_the_configuration_is_part_of_the_checkpoint() -> None:
    config = tiny_config()
    checkpoint = tiny_trainer(config, tiny_dataset()).checkpoint()
    assert config_from_dict(checkpoint.config, "test") == config
