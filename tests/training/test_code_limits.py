"""Limits of the code: what no training frame showed is not asked of the network, wherever an avatar goes."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import CheckpointError
from rgbavatar.export.bundle import read_bundle, write_bundle
from rgbavatar.import_ply import import_avatar
from rgbavatar.io.avatar_ply import export_avatar_ply
from rgbavatar.io.checkpoint import Checkpoint
from rgbavatar.trained import TrainedAvatar, checkpoint_table, trained_from_checkpoint
from rgbavatar.training.trainer import Trainer
from tests.helpers.tiny_subject import CPU, tiny_dataset
from tests.training.test_regularization import LIMIT, NORMALIZE, configured, make_trainer, train

BEYOND = torch.tensor([[0.5, 0.3, 2.0], [-4.0, 0.0, 0.1], [3.0, 3.0, 3.0]])


def limited(dataset: HeadDataset, *settings: str) -> Trainer:
    return train(make_trainer(configured(LIMIT, *settings), dataset), dataset, 40)


def within(dataset: HeadDataset, codes: Tensor) -> Tensor:
    return torch.minimum(torch.maximum(codes, dataset.codes.amin(dim=0)), dataset.codes.amax(dim=0))


@pytest.mark.parametrize("settings", [(), (NORMALIZE,)])
def test_codes_go_as_far_as_training_frames_went(settings: tuple[str, ...]) -> None:
    dataset = tiny_dataset()
    model = limited(dataset, *settings).model
    assert not torch.equal(within(dataset, BEYOND), BEYOND)
    assert torch.equal(model.weights(BEYOND), model.weights(within(dataset, BEYOND)))
    shown = model.weights(dataset.codes)
    model.network.limits = None
    assert torch.equal(model.weights(dataset.codes), shown)
    assert not torch.allclose(model.weights(BEYOND), model.weights(within(dataset, BEYOND)))


def test_training_frames_teach_the_same_as_without_limits() -> None:
    dataset = tiny_dataset()
    without = train(make_trainer(configured(), dataset), dataset, 40).model.state_dict()
    found = limited(dataset).model.state_dict()
    assert set(found) - set(without) == {"network.limits.low", "network.limits.high"}
    assert all(torch.equal(found[name], without[name]) for name in without)


def everywhere(checkpoint: Checkpoint, dataset: HeadDataset, folder: Path) -> dict[str, TrainedAvatar]:
    """An avatar, and what becomes of it in each format."""
    avatar = trained_from_checkpoint(checkpoint, "test")
    write_bundle(folder / "avatar.npz", avatar)
    export_avatar_ply(folder / "model.ply", checkpoint_table(checkpoint, "test"))
    imported = import_avatar(folder / "model.ply", dataset.template, avatar.config)
    return {
        "checkpoint": avatar,
        "bundle": read_bundle(folder / "avatar.npz", CPU),
        "table": trained_from_checkpoint(imported, "test"),
        "selection": dataclasses.replace(avatar, model=avatar.model.select(torch.arange(5))),
    }


@pytest.mark.parametrize("settings", [(), (NORMALIZE,)])
def test_an_avatar_keeps_its_limits_in_every_format(settings: tuple[str, ...], tmp_path: Path) -> None:
    dataset = tiny_dataset()
    trainer = limited(dataset, *settings)
    expected = trainer.model.weights(BEYOND)
    for name, avatar in everywhere(trainer.checkpoint(), dataset, tmp_path).items():
        torch.testing.assert_close(avatar.model.weights(BEYOND), expected, rtol=0, atol=1e-5, msg=name)


def test_an_avatar_without_limits_has_none_in_any_format(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    checkpoint = train(make_trainer(configured(), dataset), dataset, 40).checkpoint()
    for name, avatar in everywhere(checkpoint, dataset, tmp_path).items():
        assert avatar.model.network.limits is None, name


def test_limits_of_other_codes_are_refused(tmp_path: Path) -> None:
    dataset = tiny_dataset()
    checkpoint = limited(dataset).checkpoint()
    table = checkpoint_table(checkpoint, "test")
    assert table.code_limits is not None
    export_avatar_ply(tmp_path / "model.ply", dataclasses.replace(table, code_limits=table.code_limits[:, :2].copy()))
    with pytest.raises(
        CheckpointError, match=r"model.ply: its limits are for codes of 2 and 2, expected 3; set template"
    ):
        import_avatar(tmp_path / "model.ply", dataset.template, configured())
    checkpoint.model["avatar.network.limits.low"] = torch.zeros(4)
    with pytest.raises(CheckpointError, match="limits are for codes of 4 and 3"):
        trained_from_checkpoint(checkpoint, "test")


def test_a_run_without_limits_does_not_go_on_with_them() -> None:
    dataset = tiny_dataset()
    checkpoint = make_trainer(configured(), dataset).checkpoint()
    with pytest.raises(CheckpointError, match="does not fit"):
        make_trainer(configured(LIMIT), dataset).restore(checkpoint)
