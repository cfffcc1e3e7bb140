"""The compact file: small, near to what it was made from, and readable by anyone."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.errors import CheckpointError
from rgbavatar.export.bundle import bundle_arrays, read_bundle, write_bundle
from rgbavatar.metrics import psnr
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.training.frame_bank import RecordedFrames
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.steps import run_steps
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer

DATASET = tiny_dataset()


@pytest.fixture(scope="module")
def avatar() -> TrainedAvatar:
    trainer, sampler = tiny_trainer(tiny_config(bases_after=0), DATASET), EpochSampler(12, 0)
    order = [sampler.positions(4 * step, 4) for step in range(300)]
    list(run_steps(trainer, RecordedFrames(DATASET), order, lambda: False))
    return trained_from_checkpoint(trainer.checkpoint(), "tiny")


def quality(avatar: TrainedAvatar) -> float:
    batch = DATASET.batch(torch.arange(12), CPU)
    truth = avatar_over_black(batch.images)
    return float(psnr(avatar.render(batch, torch.zeros(12, 3)).color.clamp(0, 1), truth).mean())


def avatar_over_black(images: torch.Tensor) -> torch.Tensor:
    straight = images.permute(0, 3, 1, 2).float() / 255.0
    return straight[:, :3] * straight[:, 3:]


def test_an_avatar_comes_back_nearly_as_it_was(tmp_path: Path, avatar: TrainedAvatar) -> None:
    write_bundle(tmp_path / "avatar.npz", avatar)
    again = read_bundle(tmp_path / "avatar.npz", CPU)
    assert (again.config, again.images_seen, again.uses_bases) == (avatar.config, avatar.images_seen, True)
    for item in dataclasses.fields(avatar.binding):
        tolerance = 2e-5 if item.name == "barycentrics" else 0.0
        torch.testing.assert_close(
            getattr(again.binding, item.name), getattr(avatar.binding, item.name), atol=tolerance, rtol=0.0
        )
    assert quality(avatar) > 22.0
    assert abs(quality(again) - quality(avatar)) < 0.1


def test_a_level_is_within_half_a_step_and_none_overflows(avatar: TrainedAvatar) -> None:
    arrays = bundle_arrays(avatar)
    for name in ("mean", "rotation", "sh"):
        basis = getattr(avatar.model.basis, name).detach().numpy()
        levels, step = arrays[f"basis_{name}"], arrays[f"basis_{name}_step"].astype(np.float64)
        assert levels.dtype == np.int8
        assert np.abs(levels.astype(int)).max() <= 127
        assert (np.abs(levels * step[None, :, None] - basis) <= 0.5 * step[None, :, None] + 1e-12).all()


def test_bases_of_zero_stay_zero(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_config(), DATASET)
    avatar = trained_from_checkpoint(trainer.checkpoint(), "new")
    write_bundle(tmp_path / "avatar.npz", avatar)
    again = read_bundle(tmp_path / "avatar.npz", CPU)
    assert not again.uses_bases
    assert torch.equal(again.model.basis.mean, torch.zeros_like(again.model.basis.mean))


def test_the_published_size_takes_less_than_15_megabytes(tmp_path: Path, avatar: TrainedAvatar) -> None:
    """58,800 Gaussians with 20 bases, all numbers random, so that nothing compresses that would not."""
    count, random = 58_800, torch.Generator().manual_seed(0)
    model = AvatarModel(AvatarShape(count, 20, 129, 128), random)
    for parameter in model.parameters():
        parameter.data = torch.randn(parameter.shape, generator=random)
    binding = dataclasses.replace(
        avatar.binding,
        faces=torch.randint(0, 5023, (9976, 3), generator=random),
        tangents=torch.rand(9976, 2, generator=random),
        face_ids=torch.randint(0, 9976, (count,), generator=random),
        barycentrics=torch.rand(count, 3, generator=random),
    )
    write_bundle(tmp_path / "avatar.npz", dataclasses.replace(avatar, model=model, binding=binding))
    assert (tmp_path / "avatar.npz").stat().st_size < 15e6


def test_numpy_alone_reads_what_the_documentation_lists(tmp_path: Path, avatar: TrainedAvatar) -> None:
    write_bundle(tmp_path / "avatar.npz", avatar)
    with np.load(tmp_path / "avatar.npz", allow_pickle=False) as archive:
        meta = json.loads(archive["meta"].tobytes())
        assert (meta["format"], meta["version"]) == ("rgbavatar bundle", 1)
        count = avatar.model.shape.count
        assert archive["mean"].shape == (count, 3)
        assert archive["basis_rotation"].shape == (3, count, 4)
        assert archive["basis_rotation_step"].dtype == np.float16
        assert archive["network_0"].shape == (8, 3)
        assert archive["face_ids"].dtype == np.int32


@pytest.mark.parametrize("damage", ["missing", "text", "other", "version", "truncated"])
def test_what_is_no_bundle_is_one_line(tmp_path: Path, avatar: TrainedAvatar, damage: str) -> None:
    path = tmp_path / "avatar.npz"
    if damage == "text":
        path.write_text("hello")
    elif damage == "other":
        np.savez(path, x=np.zeros(3))
    elif damage != "missing":
        arrays = bundle_arrays(avatar)
        if damage == "version":
            arrays["meta"] = np.frombuffer(json.dumps({"format": "rgbavatar bundle", "version": 9}).encode(), np.uint8)
        np.savez(path, **arrays)
        if damage == "truncated":
            path.write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(CheckpointError, match=r"avatar\.npz") as caught:
        read_bundle(path, CPU)
    assert "\n" not in str(caught.value)
