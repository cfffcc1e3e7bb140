"""The fused path against the plain one: the same steps, to rounding."""

from __future__ import annotations

import dataclasses

import gaussian_rasterization as gr
import pytest
import torch
from torch import Tensor

import rgbavatar.training.fused as fused_module
from rgbavatar.config import Config, override_config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import TrainingError
from rgbavatar.geometry.camera import Camera
from rgbavatar.model.avatar import parameters_in_order
from rgbavatar.training.adam_clock import moments_in_order
from rgbavatar.training.frame_bank import MAX_ROWS, RecordedFrames
from rgbavatar.training.fused import FusedTraining, supports
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.step_report import PlainReport, StepReport
from rgbavatar.training.steps import run_steps
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import tiny_config, tiny_dataset, tiny_trainer

pytestmark = pytest.mark.gpu

CUDA = torch.device("cuda", 0)

NAMES = (
    "mean", "rotation", "sh", "log_scale", "opacity_logit", "basis mean", "basis rotation", "basis sh",
    "weight 0", "bias 0", "weight 1", "bias 1", "weight 2", "bias 2",
)  # fmt: skip


@pytest.fixture(autouse=True)
def needs_cuda() -> None:
    if not torch.cuda.is_available() or "cuda" not in gr.backends():
        pytest.skip("no CUDA device, or the extension was built without it")


def plain(config: Config) -> Config:
    return dataclasses.replace(config, training=dataclasses.replace(config.training, reproducible=True))


def new_trainer(config: Config, dataset: HeadDataset, device: torch.device = CUDA) -> Trainer:
    """With Gaussians that differ and are not round: the gradient of a round one's rotation is rounding alone."""
    trainer = tiny_trainer(config, dataset, device)
    random = torch.Generator().manual_seed(1)
    for tensor in (trainer.model.base.log_scale, trainer.model.base.rotation, trainer.model.basis.mean):
        noise = torch.randn(tensor.shape, generator=random) * (1e-4 if tensor.ndim == 3 else 0.3)
        tensor.data += noise.to(tensor.device)
    return trainer


def train(
    config: Config, dataset: HeadDataset, steps: int, device: torch.device = CUDA
) -> tuple[Trainer, list[StepReport]]:
    trainer = new_trainer(config, dataset, device)
    size = config.training.batch_size
    sampler = EpochSampler(len(dataset), 0)
    order = [sampler.positions(step * size, size) for step in range(steps)]
    return trainer, list(run_steps(trainer, RecordedFrames(dataset), order, lambda: False))


def averages(trainer: Trainer) -> list[Tensor]:
    return moments_in_order(trainer.optimizer, parameters_in_order(trainer.model))[0]


def assert_gradients_agree(fused: Trainer, expected: Trainer) -> None:
    """After one step Adam's averages are a tenth of the gradients."""
    for name, ours, theirs in zip(NAMES, averages(fused), averages(expected), strict=True):
        scale = theirs.abs().max().item()
        assert (ours - theirs).abs().max().item() <= 1e-3 * scale, (
            f"{name}: {ours.flatten()[:4]} {theirs.flatten()[:4]}"
        )


def assert_no_further_apart(fused: Trainer, expected: Trainer, elsewhere: Trainer, start: Trainer) -> None:
    """Training amplifies rounding, so the yardstick is what rounding alone does: the plain path on the CPU and on CUDA. Where
    the two happen to agree, a hundredth of the way that the parameters have gone."""
    parameters = (parameters_in_order(trainer.model) for trainer in (fused, expected, elsewhere, start))
    for name, ours, theirs, others, before in zip(NAMES, *parameters, strict=True):
        apart = (ours - theirs).abs().mean().item()
        by_rounding = (others.to(theirs.device) - theirs).abs().mean().item()
        moved = (theirs - before).abs().mean().item()
        assert apart <= 3.0 * by_rounding + 1e-2 * moved, (
            f"{name}: {apart:.2e} apart, where rounding makes {by_rounding:.2e} and the way was {moved:.2e}"
        )


@pytest.mark.parametrize("color_init", [True, False])
@pytest.mark.parametrize("bases_after", [0, 1000])
def test_one_fused_step_has_the_plain_steps_gradients(color_init: bool, bases_after: int) -> None:
    config, dataset = tiny_config(bases_after=bases_after, color_init=color_init), tiny_dataset()
    fused, _ = train(config, dataset, 1)
    expected, _ = train(plain(config), dataset, 1)
    assert_gradients_agree(fused, expected)
    assert torch.equal(fused.color_init.seen, expected.color_init.seen)


@pytest.mark.parametrize("batch_size", [1, 3, 4, 10, 17])
def test_fifty_fused_steps_end_where_fifty_plain_ones_do(batch_size: int) -> None:
    config, dataset = tiny_config(bases_after=5 * batch_size, batch_size=batch_size), tiny_dataset(frames=20)
    fused, reports = train(config, dataset, 50)
    expected, expected_reports = train(plain(config), dataset, 50)
    elsewhere, _ = train(config, dataset, 50, torch.device("cpu"))
    assert_no_further_apart(fused, expected, elsewhere, new_trainer(config, dataset))
    assert [r.images_seen for r in reports] == [r.images_seen for r in expected_reports]
    for ours, theirs in zip(reports, expected_reports, strict=True):
        assert ours.loss() == pytest.approx(theirs.loss(), rel=0.02)
        assert ours.quality() == pytest.approx(theirs.quality(), abs=0.1)
        assert ours.num_invalid() == theirs.num_invalid() == 0
    steps = [float(expected.optimizer.state_of(p)["step"]) for p in parameters_in_order(expected.model)]
    assert [float(fused.optimizer.state_of(p)["step"]) for p in parameters_in_order(fused.model)] == steps
    assert torch.equal(fused.generators["background"].get_state(), expected.generators["background"].get_state())


def test_a_ring_of_frames_trains_as_resident_ones_do() -> None:
    dataset = tiny_dataset(frames=20)
    resident, _ = train(tiny_config(), dataset, 30)
    ring, _ = train(tiny_config(frame_memory_gib=0.0), dataset, 30)
    elsewhere, _ = train(tiny_config(), dataset, 30)
    assert_no_further_apart(ring, resident, elsewhere, new_trainer(tiny_config(), dataset))


def test_a_camera_for_each_frame_trains_as_one_for_all() -> None:
    dataset = tiny_dataset()
    one, n = dataset.camera, len(dataset)
    many = Camera(one.world_to_camera.repeat(n, 1, 1), one.intrinsics.repeat(n, 1), one.width, one.height)
    fused, _ = train(tiny_config(bases_after=0), dataclasses.replace(dataset, camera=many), 1)
    expected, _ = train(tiny_config(bases_after=0), dataset, 1)
    assert_gradients_agree(fused, expected)


def test_buffers_that_are_too_small_grow_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    config, dataset = tiny_config(bases_after=0), tiny_dataset()
    expected, reports = train(config, dataset, 20)
    elsewhere, _ = train(plain(config), dataset, 20)
    monkeypatch.setattr(fused_module, "_FIRST_PAIRS", 1 / 144 / 4)  # room for one pair
    fused, grown_reports = train(config, dataset, 20)
    assert_no_further_apart(fused, expected, elsewhere, new_trainer(config, dataset))
    assert grown_reports[0].loss() == pytest.approx(reports[0].loss(), rel=1e-5)


def test_a_last_batch_of_another_size_and_a_change_of_path_keep_the_count() -> None:
    dataset, config = tiny_dataset(), tiny_config(bases_after=8)
    trainer = new_trainer(config, dataset)
    order = [torch.arange(4), torch.arange(4, 8), torch.arange(3), torch.arange(4), torch.arange(4)]
    reports = list(run_steps(trainer, RecordedFrames(dataset), order, lambda: False))
    expected = new_trainer(plain(config), dataset)
    expected_reports = list(run_steps(expected, RecordedFrames(dataset), order, lambda: False))
    assert [r.images_seen for r in reports] == [r.images_seen for r in expected_reports] == [4, 8, 11, 15, 19]
    counts = [float(trainer.optimizer.state_of(p)["step"]) for p in parameters_in_order(trainer.model)]
    assert counts == [5.0] * 5 + [3.0] * 9
    for ours, theirs in zip(reports, expected_reports, strict=True):
        assert ours.loss() == pytest.approx(theirs.loss(), rel=1e-3)


def test_training_stops_where_the_last_report_stands() -> None:
    dataset = tiny_dataset()
    trainer = new_trainer(tiny_config(bases_after=0), dataset)
    order = [torch.arange(4)] * 200
    asked = iter([False, True])  # before the first stretch, and after it
    reports = list(run_steps(trainer, RecordedFrames(dataset), order, lambda: next(asked)))
    assert len(reports) == MAX_ROWS
    assert reports[-1].images_seen == trainer.images_seen


def test_a_run_that_is_stopped_and_resumed_draws_what_one_that_was_not_does() -> None:
    dataset, config = tiny_dataset(), tiny_config(bases_after=0)
    straight, _ = train(config, dataset, 12)
    trainer = new_trainer(config, dataset)
    sampler = EpochSampler(len(dataset), 0)
    list(
        run_steps(
            trainer, RecordedFrames(dataset), [sampler.positions(4 * step, 4) for step in range(5)], lambda: False
        )
    )
    resumed = new_trainer(config, dataset)
    resumed.restore(trainer.checkpoint())
    list(
        run_steps(
            resumed, RecordedFrames(dataset), [sampler.positions(4 * step, 4) for step in range(5, 12)], lambda: False
        )
    )
    elsewhere, _ = train(plain(config), dataset, 12)
    assert_no_further_apart(resumed, straight, elsewhere, new_trainer(config, dataset))
    state = straight.generators["background"].get_state()
    assert torch.equal(resumed.generators["background"].get_state(), state)


@pytest.mark.parametrize("setting", ["size_epsilon", "basis_epsilon"])
def test_what_few_pixels_show_moves_as_little_as_on_the_plain_path(setting: str) -> None:
    """So large an epsilon makes a step all but proportional to the gradient, so that the two must agree from step to step."""
    config, dataset = override_config(tiny_config(bases_after=0), [f"optimizer.{setting}=1"]), tiny_dataset()
    before, published = new_trainer(config, dataset), train(tiny_config(bases_after=0), dataset, 5)[0]
    fused, expected = (train(which, dataset, 5)[0] for which in (config, plain(config)))
    values = (parameters_in_order(trainer.model) for trainer in (before, published, fused, expected))
    touched = slice(3, 5) if setting == "size_epsilon" else slice(5, 8)
    for name, start, usual, ours, theirs in list(zip(NAMES, *values, strict=True))[touched]:
        way = (theirs - start).abs().mean()
        assert (ours - theirs).abs().mean() <= 0.02 * way, name
        assert 0 < way < 0.2 * (usual - start).abs().mean(), name


@pytest.mark.parametrize(
    ("loss", "fast"),
    [({}, True), ({"l1": 2.0}, True), ({"ssim": 0.1}, False), ({"alpha": 0.1}, False), ({"sparsity": 0.1}, False)],
)
def test_what_the_fused_step_does_not_compute_takes_the_plain_one(loss: dict[str, float], fast: bool) -> None:
    config = tiny_config(bases_after=0)
    config = dataclasses.replace(config, loss=dataclasses.replace(config.loss, **loss))
    assert supports(config, CUDA) is fast
    _, reports = train(config, tiny_dataset(), 3)
    _, expected_reports = train(plain(config), tiny_dataset(), 3)
    assert reports[-1].loss() == pytest.approx(expected_reports[-1].loss(), rel=1e-3)
    assert reports[-1].terms() == pytest.approx(expected_reports[-1].terms(), rel=1e-3)


def test_a_batch_too_large_for_the_fused_step_takes_the_plain_one() -> None:
    config = tiny_config(bases_after=0, batch_size=700)
    _, reports = train(config, tiny_dataset(), 1)
    assert isinstance(reports[0], PlainReport)


def test_pictures_of_a_report_show_truth_and_avatar() -> None:
    dataset = tiny_dataset()
    _, reports = train(tiny_config(bases_after=0), dataset, 60)
    truth, avatar = reports[-1].pictures()
    assert truth.shape == avatar.shape == (3, 24, 24)
    assert float((truth - avatar).abs().mean()) < 0.1


def test_divergence_is_seen() -> None:
    dataset = tiny_dataset()
    trainer = new_trainer(tiny_config(), dataset)
    trainer.model.base.mean.data[3] = float("nan")
    [report] = run_steps(trainer, RecordedFrames(dataset), [torch.arange(4)], lambda: False)
    assert report.num_invalid() == 4
    with pytest.raises(TrainingError, match="4 Gaussians"):
        trainer.check_finite(report)


def test_no_step_waits_for_the_host() -> None:
    """Between the first stretch and the last, only the end of a stretch is waited for: torch names every other wait."""
    dataset = tiny_dataset()
    trainer = new_trainer(tiny_config(bases_after=0, checkpoint_every=10**6, picture_every=10**6), dataset)
    bank = RecordedFrames(dataset).open_bank(CUDA, 1e9, 4)
    training = FusedTraining(trainer, bank)
    first = training.prepare(torch.arange(8).view(2, 4), None)
    training.launch(first)  # records the graphs
    training.finish(first)
    torch.cuda.set_sync_debug_mode("error")
    try:
        second = training.prepare(torch.arange(8).view(2, 4), None)
        training.launch(second)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    training.finish(second)


def test_the_reproducible_way_gives_the_same_bits_twice() -> None:
    config, dataset = plain(tiny_config(bases_after=0)), tiny_dataset()
    first, _ = train(config, dataset, 10)
    second, _ = train(config, dataset, 10)
    for name, ours, theirs in zip(
        NAMES, parameters_in_order(first.model), parameters_in_order(second.model), strict=True
    ):
        assert torch.equal(ours, theirs), name
