"""A small subject and an avatar trained on it for a second, made once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rgbavatar.config import config_from_dict
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.recorded import load_tracking
from rgbavatar.datasets.synthetic import DemoSettings, make_demo_subject, make_demo_template
from rgbavatar.io.checkpoint import Checkpoint
from rgbavatar.subject import load_subject, load_template
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.training.setup import build_trainer
from rgbavatar.viewer.frames import RecordedPoses
from tests.helpers.tiny_subject import CPU

FRAMES = 20  # more than are posed at a time


@dataclass(frozen=True)
class Small:
    """The subject, its tracked frames, and a checkpoint of an avatar."""

    dataset: HeadDataset
    poses: RecordedPoses
    checkpoint: Checkpoint

    def avatar(self, device: torch.device = CPU) -> TrainedAvatar:
        """One that nobody else has."""
        avatar = trained_from_checkpoint(self.checkpoint, "test")
        return TrainedAvatar(
            avatar.model.to(device), avatar.binding.to(device), avatar.config, avatar.images_seen, avatar.uses_bases
        )


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder: Path = tmp_path_factory.mktemp("viewer")
    model = make_demo_template(folder / "template", overwrite=False)
    settings = {
        "dataset": {"data_dir": str(folder), "test_frames": 2},
        "template": {"path": str(model)},
        "model": {"tex_size": 40, "num_bases": 4, "initial_scale": 0.004},
        "training": {"batch_size": 4, "bases_after": 8},
    }
    config = config_from_dict(settings, "test")
    template = load_template(config)
    make_demo_subject(folder / "small", template, DemoSettings(frames=FRAMES, size=48, samples=2), overwrite=False)
    dataset = load_subject(config, "small", Split.ALL, CPU, preload=True, template=template)
    trainer = build_trainer(config, template, CPU)
    for begin in range(0, 32, 4):
        trainer.step(dataset.batch(torch.arange(begin, begin + 4) % FRAMES, CPU))
    poses = RecordedPoses(load_tracking(folder / "small", template, "auto"), template)
    return Small(dataset, poses, trainer.checkpoint())
