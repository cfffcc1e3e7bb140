"""Online training on a scripted stream of the tiny subject's frames."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import torch

from rgbavatar.config import Config
from rgbavatar.datasets.stream import StreamFrame
from rgbavatar.io.checkpoint import load_checkpoint
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.online import OnlineReport, train_online
from tests.helpers.streams import Item, ScriptedSource, frame_of
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer

DATASET = tiny_dataset()
DEVICES = [
    pytest.param(CPU, id="cpu"),
    pytest.param(torch.device("cuda", 0), id="cuda", marks=pytest.mark.gpu),
]
SOON = 60.0  # seconds within which a busy machine has done what takes milliseconds


def online_config(batch_size: int = 4, **online: object) -> Config:
    """Full steps, and no decay, unless asked for: there are few frames, each unlike the others."""
    online = {"steps_per_frame": 1e6, "network_decay": 0.0, **online}
    config = tiny_config(bases_after=0, batch_size=batch_size)
    return dataclasses.replace(config, online=dataclasses.replace(config.online, **online))  # type: ignore[arg-type]


class Run:
    """A trainer, its folder, and what became of it."""

    def __init__(self, path: Path, config: Config, device: torch.device = CPU) -> None:
        if device.type == "cuda" and not torch.cuda.is_available():
            pytest.skip("no CUDA device")
        self.trainer = tiny_trainer(config, DATASET, device)
        self.dir = RunDir(path)
        path.mkdir(exist_ok=True)

    def train(self, items: Iterable[Item], **options: object) -> OnlineReport:
        source = ScriptedSource(DATASET.template, iter(items))
        return train_online(self.trainer, source, self.dir, NullLog(), **options)  # type: ignore[arg-type]

    def wait_for_images(self, count: int) -> None:
        wait_until(lambda: self.trainer.images_seen >= count)

    @property
    def saved_images(self) -> int:
        return load_checkpoint(self.dir.checkpoint).images_seen

    @property
    def quality(self) -> list[dict[str, float]]:
        return [json.loads(line) for line in self.dir.quality.read_text().splitlines()]


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.002)


def frames(count: int, first: int = 0) -> Iterator[StreamFrame]:
    return (frame_of(DATASET, number) for number in range(first, first + count))
