"""Refined tracking: gradients by finite differences, Adam by torch's own, and a disturbed subject that is set right."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

import rgbavatar.training.fused as fused_module
from rgbavatar.binding.mesh_binding import MeshBinding, bind_template
from rgbavatar.config import Config, RefinementConfig
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import CheckpointError, ConfigError
from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.io.checkpoint import load_checkpoint, save_checkpoint
from rgbavatar.losses import composite
from rgbavatar.model.corrections import Correction, Corrections, correct_camera, correct_gaussians, move_points
from rgbavatar.renderer import render
from rgbavatar.trained import trained_from_checkpoint
from rgbavatar.training.processes import ALONE
from rgbavatar.training.refinement import Refinement
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.setup import build_trainer
from rgbavatar.training.trainer import Trainer
from rgbavatar.types import Gaussians
from tests.helpers import tolerances
from tests.helpers.tiny_subject import CODE_WIDTH, CPU, grid_template, tiny_config, tiny_dataset, tiny_trainer

STEP = 1e-6  # of finite differences, in radians, metres and logarithms


def refined(config: Config, **refinement: float) -> Config:
    settings = {"after": 0, **refinement}
    return dataclasses.replace(
        config,
        training=dataclasses.replace(config.training, refine_tracking=True),
        refinement=dataclasses.replace(config.refinement, **settings),
    )


def refining_trainer(config: Config, dataset: HeadDataset) -> Trainer:
    trainer = tiny_trainer(config, dataset)
    trainer.refinement = Refinement(dataset, config.refinement, CPU)
    return trainer


def train(trainer: Trainer, dataset: HeadDataset, images: int, batch: int = 4) -> Trainer:
    order = EpochSampler(len(dataset), 0)
    while trainer.images_seen < images:
        trainer.step(dataset.batch(order.positions(trainer.images_seen, batch), CPU))
    return trainer


def corrections_of(trainer: Trainer) -> Corrections:
    assert trainer.refinement is not None
    return trainer.refinement.corrections()


def some_correction(frames: int, size: float = 0.01) -> Correction:
    random = torch.Generator().manual_seed(4)
    turns, shifts = (size * torch.randn(frames, 3, generator=random).double() for _ in range(2))
    codes = torch.randn(frames, CODE_WIDTH, generator=random).double()
    return Correction(turns, shifts, codes, torch.tensor(-2 * size).double())


class Scene:
    """Gaussians of float64 on a bent grid, two frames of it, seen by a turned camera; and a loss that is a sum of pixels."""

    def __init__(self) -> None:
        random = torch.Generator().manual_seed(2)
        template = grid_template()
        binding = bind_template(template, 6)  # type: ignore[arg-type]
        tensors = {item.name: getattr(binding, item.name) for item in dataclasses.fields(binding)}
        self.binding = MeshBinding(**{n: t.double() if t.is_floating_point() else t for n, t in tensors.items()})
        flat = torch.cat([0.1 * (template.uv - 0.5), torch.ones(len(template.uv), 1)], dim=1).double()
        self.vertices = flat + 0.01 * torch.randn(2, len(flat), 3, generator=random).double()
        count = self.binding.count

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=random).double()

        self.local = Gaussians(
            means=0.002 * normal(2, count, 3),
            rotations=normal(2, count, 4),
            scales=0.004 * (0.3 * normal(count, 3)).exp(),
            opacities=0.6 + 0.2 * torch.rand(count, generator=random).double(),
            colors=0.5 + 0.2 * normal(2, count, 3).clamp(-2, 2),
        )
        turn = axis_angle_to_rotation(torch.tensor([[0.1, -0.2, 0.15]]).double())
        offset = torch.tensor([0.0, 0.0, 1.0]).double() - turn @ torch.tensor([0.0, 0.0, 1.0]).double()
        world_to_camera = torch.cat([turn, offset[..., None]], dim=2)
        self.camera = Camera(world_to_camera, torch.tensor([[200.0, 210.0, 11.0, 13.0]]).double(), 24, 24)
        self.share = normal(2, 3, 24, 24)

    def world(self) -> Gaussians:
        return self.binding.to_world(self.local, self.vertices)

    def loss(self, correction: Correction) -> Tensor:
        gaussians = correct_gaussians(self.world(), self.vertices, self.camera, correction)
        background = torch.zeros(2, 3).double()
        return (render(gaussians, correct_camera(self.camera, correction), background).color * self.share).sum()


def slope(function: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The gradient of a scalar by central differences."""
    result = torch.zeros_like(at)
    for i in range(at.numel()):
        change = torch.zeros_like(at)
        change.view(-1)[i] = STEP
        result.view(-1)[i] = (function(at + change) - function(at - change)) / (2 * STEP)
    return result


@pytest.mark.parametrize("name", ["turns", "shifts"])
def test_gradients_of_corrections_are_those_of_finite_differences(name: str) -> None:
    scene, correction = Scene(), some_correction(2)

    def loss(value: Tensor) -> Tensor:
        return scene.loss(dataclasses.replace(correction, **{name: value}))

    leaf = getattr(correction, name).clone().requires_grad_()
    [gradient] = torch.autograd.grad(loss(leaf), leaf)
    tolerances.assert_close(gradient, slope(loss, leaf.detach()), tolerances.FINITE_DIFFERENCES, name)


def test_the_gradient_of_the_focal_correction_is_known_to_a_percent_of_what_the_focal_length_does() -> None:
    """The head's distance nearly undoes that, so that a tenth of the whole is wrong: a share of some X/Z, here up to 0.06, of
    what the splats' covariances tell is left out. Root mean squares over losses that are different sums of the pixels."""
    scene, correction = Scene(), some_correction(2)
    world, focal, background = scene.world(), correction.focal, torch.zeros(2, 3).double()

    def loss(value: Tensor) -> Tensor:
        return scene.loss(dataclasses.replace(correction, focal=value))

    def loss_of_the_camera(value: Tensor) -> Tensor:
        camera = correct_camera(scene.camera, dataclasses.replace(correction, focal=value))
        return (render(world, camera, background).color * scene.share).sum()

    found = []
    for seed in range(6):
        scene.share = torch.randn(2, 3, 24, 24, generator=torch.Generator().manual_seed(seed)).double()
        leaf = focal.clone().requires_grad_()
        [gradient] = torch.autograd.grad(loss(leaf), leaf)
        whole = slope(loss, focal)
        found.append(torch.stack([gradient - whole, whole, slope(loss_of_the_camera, focal)]))
    error, whole, of_the_camera = torch.stack(found).square().mean(dim=0).sqrt().tolist()
    assert error < 0.01 * of_the_camera
    assert error < 0.2 * whole


def test_moving_the_gaussians_is_moving_the_mesh_that_poses_them() -> None:
    scene = Scene()
    correction = dataclasses.replace(some_correction(2, 0.3), focal=torch.zeros(()).double())
    moved = correct_gaussians(scene.world(), scene.vertices, scene.camera, correction)
    mesh = move_points(scene.vertices, scene.vertices.mean(dim=1), correction)
    expected = scene.binding.to_world(scene.local, mesh)
    assert torch.allclose(moved.means, expected.means, atol=1e-12)
    same = (moved.rotations * expected.rotations).sum(dim=2).abs()
    assert torch.allclose(same, expected.rotations.norm(dim=2) * moved.rotations.norm(dim=2), atol=1e-12)


def test_the_focal_correction_keeps_the_size_of_what_is_as_far_as_the_middle() -> None:
    scene = Scene()
    still = torch.zeros(2, 3).double()
    correction = Correction(still, still, still, torch.tensor(0.3).double())
    dataset = dataclasses.replace(tiny_dataset(2), vertices=scene.vertices, codes=still, camera=scene.camera)
    common = Corrections(torch.arange(2), **vars(correction))
    before, after = (in_picture(each) for each in (dataset, common.apply(dataset)))
    depth = (scene.vertices @ scene.camera.world_to_camera[0, 2, :3]) + scene.camera.world_to_camera[0, 2, 3]
    middle = depth.mean(dim=1, keepdim=True)
    centre = scene.camera.intrinsics[0, 2:]
    growth = (after - centre).norm(dim=2) / (before - centre).norm(dim=2)
    expected = torch.exp(correction.focal) * depth / (depth + torch.expm1(correction.focal) * middle)
    assert torch.allclose(growth, expected, atol=1e-9)
    assert bool(((growth > 1) == (depth > middle)).all())


def in_picture(dataset: HeadDataset) -> Tensor:
    """The vertices' pixel coordinates, [n, V, 2]."""
    world, intrinsics = dataset.camera.world_to_camera[0], dataset.camera.intrinsics[0]
    seen = dataset.vertices @ world[:, :3].T + world[:, 3]
    return intrinsics[:2] * seen[..., :2] / seen[..., 2:] + intrinsics[2:]


def disturbed(dataset: HeadDataset) -> tuple[HeadDataset, Tensor, Tensor]:
    """The same frames with meshes turned in the picture and shifted across it; turns [n] about z, shifts [n, 2]."""
    random = torch.Generator().manual_seed(9)
    turn = 0.05 * torch.randn(len(dataset), generator=random)
    shift = 0.004 * torch.randn(len(dataset), 2, generator=random)
    axis = torch.nn.functional.pad(turn[:, None], (2, 0))
    zero = torch.zeros(len(dataset), CODE_WIDTH)
    noise = Correction(axis, torch.nn.functional.pad(shift, (0, 1)), zero, torch.zeros(()))
    vertices = move_points(dataset.vertices, dataset.vertices.mean(dim=1), noise)
    return dataclasses.replace(dataset, vertices=vertices), turn, shift


def calm(config: Config) -> Config:
    """Rates for a hundred Gaussians and a hundred steps."""
    rates = dataclasses.replace(config.optimizer, opacity=0.02, scale=0.0, mean=0.0, mlp=0.02)
    return dataclasses.replace(config, optimizer=rates)


def correlation(first: Tensor, second: Tensor) -> float:
    return float(torch.corrcoef(torch.stack([first, second]))[0, 1])


def test_what_was_done_to_the_tracking_is_found_and_undone() -> None:
    clean = tiny_dataset(24)
    dataset, turn, shift = disturbed(clean)
    config = calm(tiny_config(bases_after=10**6))
    trainer = refining_trainer(refined(config, rotation=4e-3, translation=4e-4), dataset)
    plain = tiny_trainer(config, dataset)
    for each in (trainer, plain):
        train(each, dataset, 400)
    found = corrections_of(trainer)
    assert correlation(found.turns[:, 2], -turn) > 0.9
    assert min(correlation(found.shifts[:, axis], -shift[:, axis]) for axis in (0, 1)) > 0.8  # half a pixel of noise
    assert error(trainer, found.apply(dataset)) < 0.9 * error(plain, dataset)
    assert error(trainer, clean) < error(plain, clean), "the avatar is no sharper where the tracking is good"


def error(trainer: Trainer, dataset: HeadDataset) -> float:
    """Mean absolute difference of an avatar from frames taken as they are, in red and green, which the code does not tell."""
    avatar, batch = (
        trained_from_checkpoint(trainer.checkpoint(), "test"),
        dataset.batch(torch.arange(len(dataset)), CPU),
    )
    black = torch.zeros(len(dataset), 3)
    difference = avatar.render(batch, black).color - composite(batch.images, black)
    return float(difference[:, :2].abs().mean())


def test_corrections_have_no_part_in_common() -> None:
    dataset, *_ = disturbed(tiny_dataset())
    found = corrections_of(train(refining_trainer(refined(tiny_config(), code=0.1), dataset), dataset, 100))
    for table in (found.turns, found.shifts, found.codes):
        assert float(table.abs().max()) > 1e-4
        assert float(table.mean(dim=0).abs().max()) < 1e-6


def test_before_they_join_corrections_change_no_bit() -> None:
    dataset = tiny_dataset()
    late = train(refining_trainer(refined(tiny_config(), after=40), dataset), dataset, 40)
    plain = train(tiny_trainer(tiny_config(), dataset), dataset, 40)
    assert all(torch.equal(a, b) for a, b in zip(late.model.parameters(), plain.model.parameters(), strict=True))
    assert not bool(corrections_of(late).turns.any())


def test_the_focal_correction_is_learnt_before_the_frames_corrections_join() -> None:
    dataset = tiny_dataset()
    found = corrections_of(train(refining_trainer(refined(tiny_config(), after=40, focal=0.01), dataset), dataset, 40))
    assert float(found.focal) != 0.0
    assert not bool(found.turns.any() or found.shifts.any() or found.codes.any())


def test_a_row_that_each_step_shows_moves_as_torchs_adam_moves_it() -> None:
    refinement = Refinement(tiny_dataset(5), RefinementConfig(rotation=0.01), CPU)
    table = refinement._tables["turns"]
    expected = torch.zeros(5, 3, requires_grad=True)
    adam = torch.optim.Adam([expected], lr=0.01, eps=1e-15)
    random = torch.Generator().manual_seed(0)
    for _ in range(20):
        gradient = torch.randn(5, 3, generator=random)
        table.values.grad, expected.grad = gradient.clone(), gradient
        with torch.no_grad():
            table.step(torch.ones(5, dtype=torch.bool))
        adam.step()
    assert torch.allclose(table.values, expected, atol=1e-7)


def test_a_frame_that_a_step_does_not_show_keeps_its_numbers() -> None:
    refinement = Refinement(tiny_dataset(5), RefinementConfig(), CPU)
    table = refinement._tables["turns"]
    shown = torch.tensor([True, False, True, False, False])
    for gradient in (torch.ones(5, 3), -torch.ones(5, 3)):
        before = table.values.detach().clone()
        table.values.grad = gradient
        with torch.no_grad():
            table.step(shown)
        changed = (table.values.detach() != before).any(dim=1)
        assert torch.equal(changed, shown)


def test_a_frame_twice_in_a_batch_counts_once() -> None:
    dataset = tiny_dataset(3)
    refinement = Refinement(dataset, RefinementConfig(after=0), CPU)
    correction = refinement.correct(dataset.batch(torch.tensor([1, 1, 2]), CPU), 0)
    assert correction is not None
    refinement.penalty(correction).backward()
    refinement.update(torch.tensor([1, 1, 2]), ALONE)
    assert refinement.state()["turns"]["visits"].tolist() == [0.0, 1.0, 1.0]


def test_a_refining_trainer_goes_on_bit_for_bit(tmp_path: Path) -> None:
    dataset, *_ = disturbed(tiny_dataset())
    config = refined(tiny_config(), code=0.1, after=8)
    straight = train(refining_trainer(config, dataset), dataset, 40)
    save_checkpoint(tmp_path / "checkpoint.pt", straight.checkpoint())
    train(straight, dataset, 80)

    resumed = refining_trainer(config, dataset)
    resumed.restore(load_checkpoint(tmp_path / "checkpoint.pt"))
    assert resumed.images_seen == 40
    train(resumed, dataset, 80)
    assert all(torch.equal(a, b) for a, b in zip(resumed.model.parameters(), straight.model.parameters(), strict=True))
    found, expected = corrections_of(resumed), corrections_of(straight)
    assert all(torch.equal(getattr(found, name), getattr(expected, name)) for name in vars(expected))


def test_a_checkpoint_without_corrections_goes_on_with_none() -> None:
    dataset = tiny_dataset()
    plain = train(tiny_trainer(tiny_config(), dataset), dataset, 20)
    trainer = refining_trainer(refined(tiny_config()), dataset)
    trainer.restore(plain.checkpoint())
    assert not bool(corrections_of(trainer).turns.any())
    assert bool(corrections_of(train(trainer, dataset, 24)).turns.any())


def test_a_checkpoint_with_corrections_does_not_go_on_without() -> None:
    dataset = tiny_dataset()
    checkpoint = train(refining_trainer(refined(tiny_config()), dataset), dataset, 8).checkpoint()
    with pytest.raises(CheckpointError, match=r"training\.refine_tracking=true"):
        tiny_trainer(tiny_config(), dataset).restore(checkpoint)


def test_corrections_of_other_frames_are_refused() -> None:
    checkpoint = train(refining_trainer(refined(tiny_config()), tiny_dataset(12)), tiny_dataset(12), 8).checkpoint()
    moved = dataclasses.replace(tiny_dataset(12), numbers=torch.arange(12) + 1)
    for other in (tiny_dataset(10), moved):
        with pytest.raises(CheckpointError, match="12 frames, which are not the"):
            refining_trainer(refined(tiny_config()), other).restore(checkpoint)


def test_the_avatar_shows_its_training_frames_as_training_did_and_others_by_the_camera_alone() -> None:
    dataset, *_ = disturbed(tiny_dataset())
    config = refined(tiny_config(), code=0.1, focal=0.02, predict=False)
    trainer = train(refining_trainer(config, dataset), dataset, 100)
    avatar = trained_from_checkpoint(trainer.checkpoint(), "test")
    assert avatar.corrections is not None
    frames, black = torch.arange(len(dataset)), torch.zeros(len(dataset), 3)
    shown = avatar.render(avatar.corrections.apply(dataset).batch(frames, CPU), black).color
    assert torch.allclose(shown, trainer.show(dataset.batch(frames, CPU), black).color, atol=1e-4)
    assert not torch.allclose(shown, avatar.render(dataset.batch(frames, CPU), black).color, atol=1e-2)

    unseen = dataclasses.replace(dataset, numbers=dataset.numbers + 1000)
    other = avatar.corrections.apply(unseen)
    factor = torch.exp(avatar.corrections.focal)
    assert abs(float(factor) - 1.0) > 1e-4
    assert torch.allclose(other.camera.intrinsics[:, :2], dataset.camera.intrinsics[:, :2] * factor)
    assert torch.equal(other.camera.intrinsics[:, 2:], dataset.camera.intrinsics[:, 2:])
    assert torch.equal(other.codes, dataset.codes)
    change = other.vertices - dataset.vertices  # along the camera's axis, z of this world
    assert float(change[..., :2].abs().max()) < 1e-6
    assert avatar.corrections.count_of(dataset.numbers) == len(dataset)
    assert avatar.corrections.count_of(unseen.numbers) == 0


def test_an_avatar_of_plain_training_has_no_corrections() -> None:
    dataset = tiny_dataset()
    checkpoint = train(tiny_trainer(tiny_config(), dataset), dataset, 8).checkpoint()
    assert not [name for name in checkpoint.model if name.startswith("tracking.")]
    assert trained_from_checkpoint(checkpoint, "test").corrections is None


def test_the_penalty_is_reported_and_keeps_corrections_small() -> None:
    dataset, *_ = disturbed(tiny_dataset())
    free, bound = (
        corrections_of(train(refining_trainer(refined(tiny_config(), weight=weight), dataset), dataset, 80))
        for weight in (0.0, 1.0)
    )
    assert float(bound.shifts.norm()) < 0.2 * float(free.shifts.norm())
    trainer = refining_trainer(refined(tiny_config(), weight=0.5), dataset)
    train(trainer, dataset, 8)
    report = trainer.step(dataset.batch(torch.arange(4), CPU))
    terms = report.terms()
    assert terms["refinement"] > 0.0
    assert report.loss() == pytest.approx(terms["l1"] + 0.5 * terms["refinement"], rel=1e-5)


def test_a_stream_cannot_be_refined() -> None:
    with pytest.raises(ConfigError, match=r"training\.refine_tracking is true.*stream"):
        build_trainer(refined(tiny_config()), tiny_dataset().template, CPU)


def test_a_recorded_subject_is_refined_where_it_is_asked_for() -> None:
    dataset = tiny_dataset()
    assert build_trainer(refined(tiny_config()), dataset.template, CPU, frames=dataset).refinement is not None
    assert build_trainer(tiny_config(), dataset.template, CPU, frames=dataset).refinement is None


@pytest.mark.parametrize(("setting", "fast"), [({}, True), ({"code": 0.01}, False), ({"focal": 0.005}, False)])
def test_the_fused_step_refines_poses(setting: dict[str, float], fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fused_module.fused, "fits_device", lambda *_: True)
    assert fused_module.supports(refined(tiny_config(), **setting), torch.device("meta")) is fast  # any but the CPU
