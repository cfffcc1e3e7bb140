"""A camera, from its pictures to what training takes: the same as the recorded subject gives."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.config import Config, DatasetConfig, TemplateConfig
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.datasets.features import compute_features, join_frames
from rgbavatar.datasets.frame_layout import join_cameras
from rgbavatar.datasets.parameter_file import read_parameter_file
from rgbavatar.datasets.stream import StreamFrame
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from rgbavatar.live.masks import LayerMasks
from rgbavatar.live.source import LiveSource
from rgbavatar.prepare.resize import cut
from rgbavatar.subject import load_subject
from rgbavatar.templates.blendshape_data import write_blendshape_data
from tests.helpers.live_camera import FRAMES, LOST, RATE, SIZE, make_source, template, true_frames, true_heads
from tests.helpers.tracked_face import head_data


class Ran:
    """A live run that has ended, and its recording."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "subjects" / "one"
        self.source = make_source(self.folder, blind=LOST)
        self.frames = [f for f in self.source.frames(threading.Event()) if isinstance(f, StreamFrame)]
        self.source.close()
        write_blendshape_data(folder / "head.npz", head_data())
        self._config = Config(
            dataset=DatasetConfig(data_dir=str(folder / "subjects"), test_frames=0),
            template=TemplateConfig(path=str(folder / "head.npz")),
        )

    def load(self) -> HeadDataset:
        return load_subject(self._config, "one", Split.ALL, torch.device("cpu"), preload=True)

    def number(self, frame: StreamFrame) -> int:
        """Of the camera's picture."""
        return round(frame.stamp * RATE)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    return Ran(tmp_path_factory.mktemp("live"))


def test_every_picture_is_used_or_counted(ran: Ran) -> None:
    sight, pictures = ran.source.sight, ran.source._pictures
    assert pictures.came == FRAMES
    assert len(ran.frames) == sight.used
    assert (sight.lost, pictures.missed) == (len(LOST), 0)
    assert sight.used == FRAMES - len(LOST)
    assert not {ran.number(frame) for frame in ran.frames} & set(LOST)
    assert max(ran.number(frame) for frame in ran.frames) > LOST.stop


def test_frames_are_numbered_without_a_gap_and_those_held_back_can_wait(ran: Ran) -> None:
    assert [frame.number for frame in ran.frames] == list(range(len(ran.frames)))
    assert [frame.stamp for frame in ran.frames] == sorted(frame.stamp for frame in ran.frames)
    held = [frame for frame in ran.frames if frame.can_wait]
    assert held == ran.frames[: len(held)]
    assert held[0].stamp < 0.3
    assert not ran.frames[-1].can_wait


def test_what_is_recorded_is_what_was_trained_on(ran: Ran) -> None:
    dataset = ran.load()
    assert len(dataset) == len(ran.frames)
    images = dataset.images.read(torch.arange(len(dataset)))
    assert torch.equal(images, torch.stack([frame.image for frame in ran.frames]))
    assert (dataset.vertices - torch.stack([frame.vertices for frame in ran.frames])).abs().max() < 1e-6
    assert (dataset.codes - torch.stack([frame.code for frame in ran.frames])).abs().max() < 1e-6
    camera = ran.frames[0].camera
    assert (dataset.camera.width, dataset.camera.height) == (camera.width, camera.height)
    assert torch.equal(dataset.camera.world_to_camera[:1], camera.world_to_camera)
    assert (dataset.camera.intrinsics[:1] - camera.intrinsics).abs().max() < 1e-4
    dataset.close()


def test_the_mesh_lies_where_the_head_is(ran: Ran) -> None:
    """Each vertex, brought back from the crop into the picture, is where the truth has it."""
    crop = ran.source._stage.crop  # type: ignore[union-attr]
    for frame in ran.frames[::7]:
        scale = crop.width / frame.camera.width
        found = project(frame.vertices, frame.camera) * scale + torch.tensor([crop.left, crop.top])
        true = true_frames()[ran.number(frame)]
        vertices, _ = compute_features(template(), join_frames([true]))
        expected = project(vertices[0], join_cameras([true.intrinsics], *SIZE))
        off = (found - expected).norm(dim=1)
        assert off.mean() < 1.5  # pixels of a head of a hundred
        assert off.max() < 6.0


def project(vertices: torch.Tensor, camera: Camera) -> torch.Tensor:
    pose, (fx, fy, cx, cy) = camera.world_to_camera[0], camera.intrinsics[0].tolist()
    x, y, z = (vertices @ pose[:, :3].T + pose[:, 3]).unbind(1)
    return torch.stack((fx * x / z + cx, fy * y / z + cy), 1)


def test_the_masks_are_the_painted_head(ran: Ran) -> None:
    crop = ran.source._stage.crop  # type: ignore[union-attr]
    overlaps = []
    for frame in ran.frames[::5]:
        truth = cut(true_heads()[ran.number(frame)].astype(np.float32), crop)
        truth = cv2.resize(truth, frame.image.shape[1::-1], interpolation=cv2.INTER_AREA) > 0.5
        found = frame.image[..., 3].numpy() > 127
        overlaps.append((truth & found).sum() / (truth | found).sum())
    assert np.mean(overlaps) > 0.85


def test_the_identity_is_one_for_all(ran: Ran) -> None:
    files = sorted((ran.folder / "parameters").iterdir())
    frames = [read_parameter_file(path) for path in files]
    assert len(frames) == len(ran.frames)
    assert all(torch.equal(frame.shape, frames[0].shape) for frame in frames)
    assert frames[0].shape.abs().max() > 0.1


def test_pictures_that_come_while_masks_are_learned_are_missed_and_no_more(tmp_path: Path) -> None:
    source = make_source(masks=LayerMasks(), slowness=2.0)
    frames = list(source.frames(threading.Event()))
    source.close()
    assert len(frames) + source._pictures.missed == FRAMES
    assert len(frames) >= 30


def test_a_source_that_is_closed_ends_soon(tmp_path: Path) -> None:
    source, closed = make_source(slowness=20.0), threading.Event()
    threading.Timer(0.5, closed.set).start()
    begin = time.monotonic()
    list(source.frames(closed))
    assert time.monotonic() - begin < 4
    source.close()


def run(source: LiveSource) -> list[object]:
    try:
        return list(source.frames(threading.Event()))
    finally:
        source.close()


def test_a_camera_that_ends_before_the_person_is_known_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="ended before a face was seen for a second"):
        run(make_source(tmp_path / "one", count=12))
    assert not (tmp_path / "one").exists()


def test_a_camera_that_sees_nobody_is_an_error() -> None:
    with pytest.raises(DataError, match="expected the face of one person"):
        run(make_source(blind=range(FRAMES)))
