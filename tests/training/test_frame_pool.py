"""Memory for the frames that may be drawn, and for no others."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from rgbavatar.datasets.stream import StreamFrame
from rgbavatar.training.frame_bank import FilledSlots, RingFrames
from rgbavatar.training.frame_pool import FramePool
from tests.helpers.streams import frame_of
from tests.helpers.tiny_subject import CPU, tiny_dataset

DATASET = tiny_dataset()


def distinct(number: int) -> StreamFrame:
    """A frame with a camera of its own."""
    frame = frame_of(DATASET, number)
    camera = dataclasses.replace(frame.camera, intrinsics=frame.camera.intrinsics + number)
    return dataclasses.replace(frame, camera=camera)


def make_pool(slots: int, device: torch.device = CPU) -> FramePool:
    return FramePool(distinct(0), DATASET.template, "tiny", slots, device)


def assert_holds(pool: FramePool, slot: int, frame: StreamFrame) -> None:
    batch = pool.dataset.batch(torch.tensor([slot]), pool.dataset.vertices.device)
    assert torch.equal(batch.images[0].cpu(), frame.image)
    assert torch.equal(batch.vertices[0].cpu(), frame.vertices)
    assert torch.equal(batch.codes[0].cpu(), frame.code)
    assert torch.equal(batch.camera.intrinsics.cpu(), frame.camera.intrinsics)
    assert torch.equal(batch.camera.world_to_camera.cpu(), frame.camera.world_to_camera)
    assert int(pool.dataset.numbers[slot]) == frame.number


def test_a_slot_holds_all_of_its_frame() -> None:
    pool = make_pool(4)
    slots = {pool.put(distinct(number)): number for number in range(4)}
    assert sorted(slots) == [0, 1, 2, 3]
    for slot, number in slots.items():
        assert_holds(pool, slot, distinct(number))


def test_a_slot_is_filled_again_after_all_others_that_are_free() -> None:
    pool = make_pool(5)
    first = [pool.put(distinct(number)) for number in range(3)]
    pool.free(first[1])
    later = []
    for number in range(3, 6):
        later.append(pool.put(distinct(number)))
        assert later[-1] != first[1] or number == 5
    assert_holds(pool, first[1], distinct(5))
    assert_holds(pool, first[0], distinct(0))


@pytest.mark.gpu
@pytest.mark.parametrize("on_gpu", [True, False])
def test_the_fused_step_finds_the_frames_wherever_the_pool_lies(on_gpu: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cuda = torch.device("cuda", 0)
    pool = make_pool(6, cuda if on_gpu else CPU)
    slots = [pool.put(distinct(number)) for number in range(6)]
    bank = pool.open_bank(cuda, 1e9, 3)
    assert isinstance(bank, FilledSlots if on_gpu else RingFrames)
    positions = torch.tensor([slots[:3], slots[3:]])
    places = bank.place(positions, slice(0, 3)).long()
    bank.wait()
    for place, number in zip(places.flatten().tolist(), range(6), strict=True):
        assert torch.equal(bank.frames.images[place].cpu(), distinct(number).image)
        assert torch.equal(bank.frames.vertices[place].cpu(), distinct(number).vertices)
        assert torch.equal(bank.frames.codes[place].cpu(), distinct(number).code)
        assert torch.equal(bank.frames.intrinsics[place].cpu(), distinct(number).camera.intrinsics[0])
