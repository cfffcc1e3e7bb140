"""Settings against learning frames by heart: each does what it says, and a run with it can be gone on with."""

from __future__ import annotations

import copy
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import rgbavatar.training.fused as fused_module
from rgbavatar.config import Config, config_to_dict, override_config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.errors import CheckpointError, ConfigError
from rgbavatar.export.bundle import read_bundle, write_bundle
from rgbavatar.io.checkpoint import load_checkpoint, save_checkpoint
from rgbavatar.losses import LossWeights
from rgbavatar.trained import checkpoint_table, trained_from_checkpoint
from rgbavatar.training import setup
from rgbavatar.training.network_noise import NetworkNoise
from rgbavatar.training.optimizer import Pace, learning_rates
from rgbavatar.training.processes import ALONE, Processes
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.schedule import ImageSchedule
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import CODE_WIDTH, CPU, tiny_config, tiny_dataset

NORMALIZE = "model.normalize_code=true"
LIMIT = "model.limit_code=true"
WEIGHT_DECAY = "optimizer.mlp_weight_decay=0.36"  # of 12 frames 30
NOISE = "training.code_noise=0.3"
DROPOUT = "model.mlp_dropout=0.4"
AVERAGE = "training.average=0.8"
EXPOSURE = "optimizer.exposure=0.02"
SMOOTH_WEIGHTS = "loss.smooth_weights=1"
FUSED_TOO = (
    "optimizer.final_share=0.1",
    "optimizer.size_epsilon=0.01",
    "optimizer.basis_epsilon=0.01",
    NORMALIZE,
    WEIGHT_DECAY,
)
PLAIN_ALONE = (
    NOISE,
    DROPOUT,
    AVERAGE,
    EXPOSURE,
    SMOOTH_WEIGHTS,
    "loss.smooth_bases=0.1",
)  # what the fused step does not compute
SETTINGS = (*FUSED_TOO, *PLAIN_ALONE)
BLACK = torch.zeros(12, 3)


def configured(*settings: str, **training: object) -> Config:
    return override_config(tiny_config(**{"bases_after": 8, **training}), list(settings))


def make_trainer(config: Config, dataset: HeadDataset) -> Trainer:
    return build_trainer(config, dataset.template, CPU, frames=dataset)


def train(trainer: Trainer, dataset: HeadDataset, images: int) -> Trainer:
    order = EpochSampler(len(dataset), 0)
    while trainer.images_seen < images:
        trainer.step(dataset.batch(order.positions(trainer.images_seen, 4), CPU))
    return trainer


def parameters(trainer: Trainer) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in trainer.model.state_dict().items()}


def same(first: dict[str, Tensor], second: dict[str, Tensor]) -> bool:
    return all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("setting", SETTINGS)
def test_each_setting_changes_what_is_learnt_and_the_same_seed_gives_the_same_bits(setting: str) -> None:
    dataset = tiny_dataset()
    published = train(make_trainer(configured(), dataset), dataset, 24).checkpoint().model
    first, second = (
        train(make_trainer(configured(setting), dataset), dataset, 24).checkpoint().model for _ in range(2)
    )
    assert same(first, second)
    assert not same(published, first)


@pytest.mark.parametrize("setting", [*SETTINGS, "loss.ssim=0.3"])
def test_a_run_that_is_gone_on_with_gives_the_same_bits(setting: str, tmp_path: Path) -> None:
    dataset, config = tiny_dataset(), configured(setting, "loss.ssim_after=16")
    straight = train(make_trainer(config, dataset), dataset, 20)
    save_checkpoint(tmp_path / "checkpoint.pt", straight.checkpoint())
    train(straight, dataset, 40)
    resumed = make_trainer(config, dataset)
    resumed.restore(load_checkpoint(tmp_path / "checkpoint.pt"))
    train(resumed, dataset, 40)
    assert same(parameters(straight), parameters(resumed))
    assert same(straight.checkpoint().model, resumed.checkpoint().model)


@pytest.mark.parametrize("setting", PLAIN_ALONE)
def test_what_the_fused_step_does_not_compute_takes_the_plain_path(
    setting: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fused_module.fused, "fits_device", lambda *_: True)
    gpu = torch.device("meta")  # any that is not the CPU
    assert not fused_module.supports(configured(setting), gpu)
    assert fused_module.supports(configured(*FUSED_TOO, LIMIT, "loss.ssim_after=100"), gpu)


@pytest.mark.parametrize("setting", [NORMALIZE, LIMIT, NOISE, EXPOSURE, SMOOTH_WEIGHTS])
def test_what_needs_to_know_the_frames_is_refused_for_a_stream(setting: str) -> None:
    with pytest.raises(ConfigError, match=rf"{setting.partition('=')[0]} is .*stream"):
        build_trainer(configured(setting), tiny_dataset().template, CPU)


def test_all_rates_fall_to_their_share_at_the_end() -> None:
    config = configured("optimizer.final_share=0.04", images=40)
    schedule = ImageSchedule(config)
    assert [schedule.next(images).scale for images in (0, 20, 40, 60)] == pytest.approx([1.0, 0.2, 0.04, 0.04])
    first, last = (learning_rates(config.optimizer, Pace(0.5, schedule.next(images).scale)) for images in (0, 40))
    assert last == pytest.approx({name: 0.04 * rate for name, rate in first.items()})


def with_spread(dataset: HeadDataset, center: Tensor, spread: Tensor) -> HeadDataset:
    codes = dataset.codes - dataset.codes.mean(dim=0)
    return dataclasses.replace(dataset, codes=center + spread * codes / codes.std(dim=0, correction=0))


def test_a_normalised_network_sees_codes_of_mean_0_and_deviation_1() -> None:
    dataset = with_spread(tiny_dataset(), torch.tensor([5.0, -1.0, 0.2]), torch.tensor([0.9, 7.0, 1e-5]))
    scaling = make_trainer(configured(NORMALIZE), dataset).model.network.scaling
    assert scaling is not None
    seen = scaling(dataset.codes)
    torch.testing.assert_close(seen.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-4)
    torch.testing.assert_close(seen[:, :2].std(dim=0, correction=0), torch.ones(2), rtol=1e-3, atol=0)
    assert float(seen[:, 2].abs().max()) < 0.01  # what hardly varies is not blown up


def test_entries_that_a_part_hardly_uses_are_not_blown_up() -> None:
    """They are told in tenths of the one that varies most in the part; other parts do not matter."""
    dataset = with_spread(tiny_dataset(), torch.zeros(3), torch.tensor([0.02, 4.0, 0.02]))
    scaling = make_trainer(configured(NORMALIZE), dataset).model.network.scaling
    assert scaling is not None
    expected = torch.tensor([0.02 / 0.4, 1.0, 1.0])
    torch.testing.assert_close(scaling(dataset.codes).std(dim=0, correction=0), expected, rtol=1e-3, atol=0)


def test_codes_in_other_units_train_the_same_normalised_avatar() -> None:
    dataset = with_spread(tiny_dataset(), torch.zeros(3), torch.ones(3))
    other = with_spread(dataset, torch.tensor([5.0, -1.0, 0.2]), torch.tensor([1.05, 7.0, 40.0]))
    ours, theirs = (train(make_trainer(configured(NORMALIZE), data), data, 24) for data in (dataset, other))
    weights = [trainer.model.weights(data.codes) for trainer, data in ((ours, dataset), (theirs, other))]
    torch.testing.assert_close(weights[0], weights[1], rtol=0, atol=2e-3)


def test_what_is_saved_of_a_normalised_avatar_takes_codes_as_they_are(tmp_path: Path) -> None:
    """Checkpoint, bundle and published table: their network is a plain one that gives the same weights."""
    dataset = with_spread(tiny_dataset(), torch.tensor([5.0, -1.0, 0.2]), torch.tensor([0.05, 7.0, 1.0]))
    trainer = train(make_trainer(configured(NORMALIZE), dataset), dataset, 40)
    expected = trainer.model.weights(dataset.codes)
    avatar = trained_from_checkpoint(trainer.checkpoint(), "test")
    write_bundle(tmp_path / "avatar.npz", avatar)
    bundle = read_bundle(tmp_path / "avatar.npz", CPU)
    table = checkpoint_table(trainer.checkpoint(), "test")
    from_table = copy.deepcopy(avatar.model)
    torch.nn.utils.vector_to_parameters(torch.from_numpy(table.network), from_table.network.parameters())
    for model in (avatar.model, bundle.model, from_table, trainer.model.select(torch.arange(5))):
        assert model.network.scaling is None
        torch.testing.assert_close(model.weights(dataset.codes), expected, rtol=0, atol=1e-4)


def test_a_run_that_was_not_normalised_does_not_go_on_normalised() -> None:
    dataset = tiny_dataset()
    checkpoint = make_trainer(configured(), dataset).checkpoint()
    with pytest.raises(CheckpointError, match="does not fit"):
        make_trainer(configured(NORMALIZE), dataset).restore(checkpoint)


def test_noise_is_as_large_as_the_spread_says_and_new_in_each_step() -> None:
    spread, codes = torch.tensor([1.0, 0.1, 0.0]), torch.randn(4000, CODE_WIDTH)
    noise = NetworkNoise(configured(NOISE), spread)
    (first, factors), (second, _) = (noise.draw(codes, images, ALONE) for images in (0, 4))
    assert factors is None
    torch.testing.assert_close((first - codes).std(dim=0), 0.3 * spread, rtol=0.05, atol=1e-6)
    assert not torch.equal(first, second)


def test_dropout_leaves_out_its_share_and_keeps_the_mean() -> None:
    noise = NetworkNoise(configured(DROPOUT), torch.zeros(CODE_WIDTH))
    codes = torch.randn(4000, CODE_WIDTH)
    changed, factors = noise.draw(codes, 0, ALONE)
    assert torch.equal(changed, codes)
    assert factors is not None
    for layer in factors:
        assert layer.shape == (4000, 8)
        assert float((layer == 0.0).float().mean()) == pytest.approx(0.4, abs=0.02)
        assert float(layer.mean()) == pytest.approx(1.0, abs=0.03)


def test_two_processes_draw_the_noise_that_one_would() -> None:
    noise = NetworkNoise(configured(NOISE, DROPOUT), torch.ones(CODE_WIDTH))
    codes = torch.randn(6, CODE_WIDTH)
    whole, factors = noise.draw(codes, 8, ALONE)
    halves = [noise.draw(codes[3 * rank : 3 * rank + 3], 8, Processes(rank, 2)) for rank in range(2)]
    assert torch.equal(torch.cat([half[0] for half in halves]), whole)
    for layer in range(2):
        assert factors is not None
        parts = [half[1][layer] for half in halves if half[1] is not None]
        assert torch.equal(torch.cat(parts), factors[layer])


@pytest.mark.parametrize("setting", [NOISE, DROPOUT, EXPOSURE])
def test_the_avatar_is_shown_without_what_training_adds(setting: str) -> None:
    dataset = tiny_dataset()
    trainer = train(make_trainer(configured(setting), dataset), dataset, 40)
    batch = dataset.batch(torch.arange(12), CPU)
    avatar = trained_from_checkpoint(trainer.checkpoint(), "test")
    assert torch.equal(trainer.show(batch, BLACK).color, avatar.render(batch, BLACK).color)


def test_weight_decay_takes_its_part_of_the_network_alone() -> None:
    """By hand, for a step: the decayed parameters differ from the others by rate times decay, of what they were. Where
    there are 12 frames, decay counts 1,000 / 12 times."""
    dataset = tiny_dataset()
    plain, decayed = (make_trainer(configured(*more, bases_after=0), dataset) for more in ((), (WEIGHT_DECAY,)))
    before = parameters(plain)
    for trainer in (plain, decayed):
        train(trainer, dataset, 4)
    for name, value in parameters(plain).items():
        part = 1e-3 * 30 * before[name] if name.startswith("network.") else torch.zeros_like(value)
        torch.testing.assert_close(parameters(decayed)[name], value - part, rtol=0, atol=1e-6)


def by_hand(trainer: Trainer, dataset: HeadDataset, decay: float, steps: int) -> dict[str, Tensor]:
    """The mean of all parameters over the steps: alike at first, then fading."""
    mean: dict[str, Tensor] = {}
    for step in range(1, steps + 1):
        train(trainer, dataset, 4 * step)
        share = max(1.0 - decay, 1.0 / step)
        now = parameters(trainer)
        mean = {name: (1.0 - share) * mean.get(name, value) + share * value for name, value in now.items()}
    return mean


def test_the_saved_avatar_is_the_mean_over_the_steps() -> None:
    dataset = tiny_dataset()
    trainer = make_trainer(configured(AVERAGE, color_init=False), dataset)
    expected = by_hand(trainer, dataset, 0.8, 10)
    saved = trained_from_checkpoint(trainer.checkpoint(), "test").model.state_dict()
    for name, value in saved.items():
        torch.testing.assert_close(value, expected[name], rtol=1e-4, atol=1e-6)
    assert not same(parameters(trainer), saved)


def test_a_first_color_counts_at_once() -> None:
    """Else the mean would hold the grey that a Gaussian had before an image showed it: here, half of them in late steps."""
    dataset = tiny_dataset()
    images = dataset.images.read(torch.arange(12))
    images[:, :12, :, 3] = 0
    half = dataclasses.replace(dataset, images=PreloadedImages(images))
    frozen = [f"optimizer.{name}=0" for name in ("color", "opacity", "scale", "mean")]
    trainer = make_trainer(configured("training.average=0.999", *frozen), dataset)
    early = int(train(trainer, half, 40).color_init.seen.sum())
    train(trainer, dataset, 44)
    seen = trainer.color_init.seen
    assert 0 < early < int(seen.sum())
    saved = trained_from_checkpoint(trainer.checkpoint(), "test").model.base.sh
    torch.testing.assert_close(saved, trainer.model.base.sh[seen], rtol=0, atol=1e-5)


def test_a_mean_may_begin_and_end_with_a_run_that_is_gone_on_with() -> None:
    dataset = tiny_dataset()
    without, having = configured(), configured(AVERAGE)
    for first, second in ((without, having), (having, without)):
        trainer = train(make_trainer(first, dataset), dataset, 20)
        resumed = make_trainer(second, dataset)
        resumed.restore(trainer.checkpoint())
        assert same(parameters(trainer), parameters(resumed))
        assert ("average" in resumed.checkpoint().extra) is (second is having)


def test_ssim_joins_after_its_images() -> None:
    dataset = tiny_dataset()
    late, never = (make_trainer(configured(*more), dataset) for more in (("loss.ssim=0.5", "loss.ssim_after=16"), ()))
    for trainer in (late, never):
        train(trainer, dataset, 16)
    assert same(parameters(late), parameters(never))
    reports = [trainer.step(dataset.batch(torch.arange(4), CPU)) for trainer in (late, never)]
    assert [set(report.terms()) for report in reports] == [{"l1", "ssim"}, {"l1"}]


def test_the_perceptual_term_joins_after_its_images(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(setup, "load_lpips", lambda _: (lambda a, b: (a - b).square().mean(dim=(1, 2, 3)), ""))
    dataset = tiny_dataset()
    late, never = (make_trainer(configured(*more), dataset) for more in (("loss.lpips=9", "loss.lpips_after=16"), ()))
    for trainer in (late, never):
        train(trainer, dataset, 16)
    assert same(parameters(late), parameters(never))
    reports = [trainer.step(dataset.batch(torch.arange(4), CPU)) for trainer in (late, never)]
    assert [set(report.terms()) for report in reports] == [{"l1", "lpips"}, {"l1"}]
    assert not same(parameters(late), parameters(never))


@pytest.mark.parametrize("name", ["ssim", "lpips"])
def test_terms_that_all_join_later_leave_nothing_to_learn_before(name: str) -> None:
    with pytest.raises(ConfigError, match=f"that of {name} is above 0.*set loss.{name}_after to 0"):
        LossWeights(l1=0.0, **{name: 1.0, f"{name}_after": 5})
    with pytest.raises(ConfigError, match="that of lpips and ssim"):
        LossWeights(l1=0.0, ssim=1.0, lpips=1.0, ssim_after=5, lpips_after=5)
    waiting = LossWeights(l1=0.0, ssim=1.0, lpips=1.0, **{f"{name}_after": 5}).at(4)
    assert (waiting.ssim, waiting.lpips) == ((0.0, 1.0) if name == "ssim" else (1.0, 0.0))


@pytest.mark.parametrize("wrong", [{"l1": 0, "ssim": 1.0, "ssim_after": 5}, {"ssim_after": -1}])
def test_an_ssim_that_cannot_join_later_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="ssim"):
        override_config(Config(), [f"loss.{name}={value}" for name, value in wrong.items()])


def brighten(dataset: HeadDataset, gains: Tensor) -> HeadDataset:
    images = dataset.images.read(torch.arange(len(dataset)))
    images[..., :3] = (images[..., :3] * gains[:, None, None]).clamp(0, 255).round().to(torch.uint8)
    return dataclasses.replace(dataset, images=PreloadedImages(images))


def test_exposure_finds_the_gains_of_frames_and_leaves_them_out_of_the_avatar() -> None:
    dataset = tiny_dataset()
    random = torch.Generator().manual_seed(3)
    logarithms = 0.15 * torch.randn(12, 3, generator=random)
    logarithms = logarithms - logarithms.mean(dim=0)
    settings = ["optimizer.opacity=0.05", "optimizer.scale=0", "optimizer.mean=0", "optimizer.mlp=0.01"]
    config = configured(*settings, "optimizer.exposure=0.01", bases_after=10**6)
    trainer = train(make_trainer(config, brighten(dataset, logarithms.exp())), brighten(dataset, logarithms.exp()), 800)
    assert trainer.exposure is not None
    found = trainer.exposure.gains.log()
    torch.testing.assert_close(found.mean(dim=0), torch.zeros(3), rtol=0, atol=1e-5)
    for channel in (0, 1):  # blue differs from frame to frame by itself
        pair = torch.stack([found[:, channel], logarithms[:, channel]])
        assert float(torch.corrcoef(pair)[0, 1]) > 0.9
    assert not any("exposure" in name for name in trainer.checkpoint().model)


def test_exposure_of_other_frames_is_refused() -> None:
    dataset = tiny_dataset()
    checkpoint = make_trainer(configured(EXPOSURE), dataset).checkpoint()
    with pytest.raises(CheckpointError, match="exposure of 12 frames, this split has 9"):
        make_trainer(configured(EXPOSURE), tiny_dataset(9)).restore(checkpoint)


def test_a_published_checkpoint_holds_nothing_new() -> None:
    checkpoint = make_trainer(configured(), tiny_dataset()).checkpoint()
    assert set(checkpoint.extra) == {"progress"}
    assert not any("scaling" in name or "limits" in name for name in checkpoint.model)
    assert checkpoint.config == config_to_dict(configured())
