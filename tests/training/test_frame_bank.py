"""Frames on the GPU: all of them, or a ring."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.geometry.camera import Camera
from rgbavatar.training.frame_bank import RecordedFrames, ResidentFrames, RingFrames
from tests.helpers.tiny_subject import SIZE, tiny_dataset

pytestmark = pytest.mark.gpu
PLENTY = 1e9


@pytest.fixture
def device() -> torch.device:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    return torch.device("cuda", 0)


def many_cameras(dataset: HeadDataset) -> HeadDataset:
    n, one = len(dataset), dataset.camera
    intrinsics = one.intrinsics + torch.arange(n, dtype=torch.float32)[:, None]
    return dataclasses.replace(dataset, camera=Camera(one.world_to_camera.repeat(n, 1, 1), intrinsics, SIZE, SIZE))


@pytest.mark.parametrize("budget", [PLENTY, 0.0])
@pytest.mark.parametrize("one_camera", [True, False])
def test_a_slot_holds_the_frame_that_was_placed_there(device: torch.device, budget: float, one_camera: bool) -> None:
    dataset = tiny_dataset() if one_camera else many_cameras(tiny_dataset())
    bank = RecordedFrames(dataset, 3).open_bank(device, budget, 4)
    random = torch.Generator().manual_seed(0)
    for _ in range(5):  # more often than a ring has parts
        positions = torch.randint(len(dataset), (bank.rows, 4), generator=random)
        slots = bank.place(positions, slice(0, 4)).long().flatten()
        bank.wait()
        flat, frames = positions.flatten(), bank.frames
        assert torch.equal(frames.images[slots].cpu(), dataset.images.read(flat))
        assert torch.equal(frames.vertices[slots].cpu(), dataset.vertices[flat])
        assert torch.equal(frames.codes[slots].cpu(), dataset.codes[flat])
        chosen = slots if len(frames.intrinsics) > 1 else torch.zeros_like(slots)
        assert torch.equal(frames.intrinsics[chosen].cpu(), dataset.camera.select(flat).intrinsics.expand(len(flat), 4))


def test_the_budget_decides(device: torch.device) -> None:
    dataset = tiny_dataset()
    assert isinstance(RecordedFrames(dataset, 3).open_bank(device, PLENTY, 4), ResidentFrames)
    frame = 4 * SIZE * SIZE + dataset.vertices[0].nbytes + dataset.codes[0].nbytes
    ring = RecordedFrames(dataset, 3).open_bank(device, 11 * frame, 2)
    assert isinstance(ring, RingFrames)
    assert ring.rows == 2


def test_an_image_is_read_once(device: torch.device) -> None:
    dataset, read = tiny_dataset(), []
    plain = dataset.images.read
    dataset.images.read = lambda indices: (read.extend(indices.tolist()), plain(indices))[1]  # type: ignore[method-assign]
    bank = RecordedFrames(dataset, 3).open_bank(device, PLENTY, 4)
    for _ in range(3):
        bank.place(torch.arange(12).view(3, 4), slice(0, 4))
    assert sorted(read) == list(range(12))


def test_a_process_reads_its_own_images_alone(device: torch.device) -> None:
    dataset, read = tiny_dataset(), []
    plain = dataset.images.read
    dataset.images.read = lambda indices: (read.extend(indices.tolist()), plain(indices))[1]  # type: ignore[method-assign]
    RecordedFrames(dataset, 1).open_bank(device, 0.0, 4).place(torch.tensor([[3, 1, 4, 5]]), slice(2, 4))
    assert read == [4, 5]
