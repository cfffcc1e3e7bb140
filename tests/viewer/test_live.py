"""Looking on while an avatar is trained changes nothing about it, and cannot break it."""

from __future__ import annotations

import argparse
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.datasets.stream import StreamFrame
from rgbavatar.io.metrics_log import NullLog
from rgbavatar.io.run_dir import RunDir
from rgbavatar.training.offline import train_offline
from rgbavatar.training.trainer import Trainer
from rgbavatar.viewer import live
from rgbavatar.viewer.frames import Offsets, Pose
from rgbavatar.viewer.live import LiveExhibit, LiveView
from rgbavatar.viewer.newest import NewestPose, WatchedSource
from rgbavatar.viewer.painter import Look
from rgbavatar.viewer.snapshot import Snapshot
from tests.helpers.online_run import DATASET, DEVICES, Run, frames, online_config, wait_until
from tests.helpers.streams import ScriptedSource
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer

DATA = tiny_dataset()


def pose_of(position: int) -> Pose:
    one = slice(position, position + 1)
    return Pose(position, DATA.codes[one], DATA.vertices[one], DATA.camera)


class OnePose:
    """A PoseSource of the first frame."""

    numbers = (0,)
    expression_count = 0
    expression_names: tuple[str, ...] = ()
    joints: frozenset[str] = frozenset()
    codes = DATA.codes[:1]

    def pose(self, position: int, offsets: Offsets) -> Pose:
        return pose_of(0)


class Onlooker:
    """A view that is watched, and a thread that paints whatever it sees."""

    def __init__(self, trainer: Trainer, folder: Path) -> None:
        self.view = LiveView()
        self.view.is_watched = lambda: True
        self.view.exhibit = self.exhibit = LiveExhibit(trainer, folder, OnePose())
        self.pictures: list[np.ndarray] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._paint, daemon=True)

    def __enter__(self) -> Onlooker:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _paint(self) -> None:
        seen = None
        while not self._ended.is_set():
            painter = self.exhibit.painter()
            if painter is not None and painter is not seen:
                seen, pose = painter, pose_of(0)
                self.pictures.append(painter.paint(pose, Look(background=(1.0, 0.0, 0.0)), pose.camera))
            time.sleep(0.001)


def train(folder: Path, device: torch.device, view: LiveView | None, trainer: Trainer) -> dict[str, torch.Tensor]:
    folder.mkdir()
    extra = {} if view is None else {"observer": view.observe, "show": view.show}
    train_offline(trainer, DATA, RunDir(folder), NullLog(), device, **extra)  # type: ignore[arg-type]
    return trainer.checkpoint().model


@pytest.mark.parametrize("device", DEVICES)
def test_a_watched_training_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: torch.device
) -> None:
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    monkeypatch.setattr(live, "_SNAPSHOT_SECONDS", 0.0)
    monkeypatch.setattr(live, "_SNAPSHOT_SHARE", 1e9)
    config = tiny_config(images=400, reproducible=True)
    alone = train(tmp_path / "alone", device, None, tiny_trainer(config, DATA, device))
    trainer = tiny_trainer(config, DATA, device)
    with Onlooker(trainer, tmp_path / "watched") as onlooker:
        watched = train(tmp_path / "watched", device, onlooker.view, trainer)
        wait_until(lambda: bool(onlooker.pictures))
    assert alone.keys() == watched.keys()
    assert all(torch.equal(alone[name], watched[name]) for name in alone)
    assert "400 of 400" in onlooker.exhibit.text
    assert "loss: " in onlooker.exhibit.text
    if device.type == "cpu":  # a GPU is done before a picture is
        assert any(not np.array_equal(picture, onlooker.pictures[0]) for picture in onlooker.pictures)


@pytest.mark.parametrize("device", DEVICES)
def test_a_snapshot_shows_the_trainer_of_its_moment_without_what_was_not_seen(device: torch.device) -> None:
    if device.type == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    trainer = tiny_trainer(tiny_config(), DATA, device)
    batch = DATA.to(device).batch(torch.arange(4), device)
    trainer.step(batch)
    trainer.color_init.seen[:10] = False
    seen = trainer.color_init.seen.clone()
    snapshot, mean = Snapshot(trainer), trainer.model.base.mean.detach().clone()
    trainer.step(batch)
    avatar = snapshot.avatar()
    assert avatar.images_seen == 4
    assert torch.equal(avatar.model.base.mean, mean)
    assert not torch.equal(trainer.model.base.mean, mean)
    opacities = avatar.model.base.opacities()
    assert opacities[~seen].max() < 1e-30
    assert opacities[seen].min() > 0.1


def test_nothing_is_done_where_nobody_looks(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_config(), DATA)
    onlooker = Onlooker(trainer, tmp_path)
    onlooker.view.is_watched = lambda: False
    onlooker.exhibit.is_held = True
    assert onlooker.view.observe(trainer, 0.0) is False
    assert onlooker.exhibit.snapshot is None
    assert LiveView().observe(trainer, 0.0) is False


def test_an_error_of_the_view_ends_the_view_and_not_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(trainer: Trainer) -> Snapshot:
        raise MemoryError("no room\nat all")

    monkeypatch.setattr(live, "Snapshot", fail)
    trainer = tiny_trainer(tiny_config(), DATA)
    onlooker = Onlooker(trainer, tmp_path)
    train(tmp_path / "run", CPU, onlooker.view, trainer)
    assert trainer.images_seen == 40
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    assert warnings == ["warning: the viewer has ended, training goes on: MemoryError: no room at all"]


def test_offline_training_pauses_and_goes_on(tmp_path: Path) -> None:
    trainer = tiny_trainer(tiny_config(images=80), DATA)
    onlooker = Onlooker(trainer, tmp_path)
    onlooker.exhibit.toggle_hold()
    thread = threading.Thread(target=train, args=(tmp_path / "run", CPU, onlooker.view, trainer))
    thread.start()
    wait_until(lambda: trainer.images_seen == 4)
    time.sleep(0.2)
    assert trainer.images_seen == 4
    onlooker.exhibit.toggle_hold()
    thread.join(60.0)
    assert trainer.images_seen == 80


def test_online_training_that_a_page_pauses_takes_frames_in_all_the_same(tmp_path: Path) -> None:
    run = Run(tmp_path, online_config())
    onlooker = Onlooker(run.trainer, tmp_path)

    def pause() -> None:
        run.wait_for_images(8)
        onlooker.exhibit.toggle_hold()

    def go_on() -> None:
        wait_until(lambda: {"paused: yes", "frames: 43"} <= set(onlooker.exhibit.text.split("  \n")))
        onlooker.exhibit.toggle_hold()

    report = run.train(
        [*frames(3), pause, *frames(40, first=3), go_on, *frames(2, first=43)],
        observer=onlooker.view.observe,
        show=onlooker.view.show,
    )
    assert (report.arrived, report.dropped) == (45, 0)


def test_a_watched_stream_tells_of_its_newest_frame() -> None:
    newest = NewestPose()
    source = WatchedSource(ScriptedSource(DATASET.template, iter(frames(3))), newest)
    assert newest.pose(0, Offsets()) is None
    assert newest.picture() is None
    numbers = []
    for item in source.frames(threading.Event()):
        assert isinstance(item, StreamFrame)
        pose = newest.pose(0, Offsets())
        assert pose is not None
        assert torch.equal(pose.vertices[0], item.vertices)
        picture = newest.picture()
        assert picture is newest.picture()
        numbers.append(pose.number)
    assert numbers == [0, 1, 2]
    assert picture is not None
    assert picture.shape == (24, 24, 3)
    assert (source.subject, source.expected) == ("scripted", None)


def test_a_page_that_cannot_be_served_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    trainer = tiny_trainer(tiny_config(), DATA)
    asked = argparse.Namespace(view=True, view_host="203.0.113.7", view_port=8080)
    with live._served(asked, trainer, tmp_path, OnePose) as view:
        assert view.observe(trainer, 0.0) is False
    err = capsys.readouterr().err
    assert err.startswith("warning: no page is shown, training goes on: --host 203.0.113.7")
    assert err.count("\n") == 1
