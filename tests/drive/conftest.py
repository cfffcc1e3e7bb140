"""A run of an avatar that was trained on a virtual camera for a moment, made once."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from rgbavatar.config import Config, config_from_dict, config_to_yaml
from rgbavatar.datasets.base import Split
from rgbavatar.drive.transfer import OwnFace, open_own_face
from rgbavatar.io.run_dir import RunDir
from rgbavatar.subject import load_subject
from rgbavatar.trained import TrainedAvatar, load_trained
from rgbavatar.training.monitor import save_run
from rgbavatar.training.setup import build_trainer
from tests.helpers.live_camera import make_source, template
from tests.helpers.tiny_subject import CPU
from tests.helpers.tracked_face import write_head


@dataclass(frozen=True)
class Driven:
    """The run, its configuration, and the files of its template."""

    run: RunDir
    config: Config
    head: Path
    landmarks: Path

    def avatar(self) -> TrainedAvatar:
        return load_trained(self.run.checkpoint, CPU)

    def own(self) -> OwnFace:
        return open_own_face(self.config, "one", template(), None)


@pytest.fixture(scope="session")
def driven(tmp_path_factory: pytest.TempPathFactory) -> Driven:
    folder: Path = tmp_path_factory.mktemp("drive")
    head, landmarks = write_head(folder)
    source = make_source(folder / "subjects" / "one")
    assert list(source.frames(threading.Event()))
    source.close()
    settings = {
        "dataset": {"data_dir": str(folder / "subjects"), "test_frames": 0},
        "template": {"path": str(head)},
        "model": {"tex_size": 48, "num_bases": 4, "initial_scale": 0.003},
        "training": {"batch_size": 4, "bases_after": 8},
    }
    config = config_from_dict(settings, "test")
    dataset = load_subject(config, "one", Split.ALL, CPU, preload=True, template=template())
    trainer = build_trainer(config, template(), CPU)
    for begin in range(0, 120, 4):
        trainer.step(dataset.batch(torch.arange(begin, begin + 4) % len(dataset), CPU))
    dataset.close()
    run = RunDir(folder / "output" / "test" / "one")
    run.path.mkdir(parents=True)
    save_run(trainer, run)
    run.config.write_text(config_to_yaml(config))
    return Driven(run, config, head, landmarks)
