"""Frames on the GPU, in numbered slots that the fused step reads: all of a subject, or a ring where they do not fit.

Either way a frame is read and copied while earlier steps run, on a stream of its own. The frames of a live stream are filled
in by others (rgbavatar.training.frame_pool).
"""

from __future__ import annotations

import dataclasses
from typing import Protocol

import torch
from gaussian_rasterization.fused import Frames
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.model.coefficients import CodeScaling

MAX_ROWS = 64  # steps of a stretch: tens of milliseconds, in which a host prepares the next one with ease
_READ_AT_ONCE = 64  # images read and copied together: enough to keep all decoding threads busy
_RING_PARTS = 2  # one is filled while the other trains


class FrameBank(Protocol):
    """Where the fused step finds its frames. rows: steps whose frames it can hold ready at once."""

    frames: Frames
    rows: int

    def place(self, positions: Tensor, own: slice) -> Tensor:
        """Begin to bring the frames at positions [G, M] in, their images for the columns `own` alone.

        Returns their slots [G, M] int32 on the CPU. Called anew when the step before the last G has ended.
        """

    def wait(self) -> None:
        """Make the current stream wait until what was placed is there."""


class ResidentFrames:
    """Every frame has a slot of its own; its image comes when it is first asked for, and stays."""

    def __init__(self, dataset: HeadDataset, device: torch.device, rows: int) -> None:
        store = dataset.images
        images = torch.empty((len(dataset), store.height, store.width, 4), dtype=torch.uint8, device=device)
        self.frames = _frames(images, dataset, torch.arange(len(dataset)), device)
        self.rows = rows
        self._store = store
        self._there = torch.zeros(len(dataset), dtype=torch.bool)
        self._copies = _CopyStream(device)

    def place(self, positions: Tensor, own: slice) -> Tensor:
        wanted = positions[:, own].flatten().unique()
        for part in wanted[~self._there[wanted]].split(_READ_AT_ONCE):
            self._copies.copy(self._store.read(part), self.frames.images, part)
        self._there[wanted] = True
        return positions.to(torch.int32)

    def wait(self) -> None:
        self._copies.wait()


class RingFrames:
    """Slots for the frames of `rows` steps, twice: the next ones come in while those before them train."""

    def __init__(self, dataset: HeadDataset, device: torch.device, rows: int, batch: int) -> None:
        store = dataset.images
        slots = _RING_PARTS * rows * batch
        images = torch.empty((slots, store.height, store.width, 4), dtype=torch.uint8, device=device)
        self.frames = _frames(images, dataset, torch.zeros(slots, dtype=torch.int64), device)
        self.rows = rows
        self._dataset = dataset
        self._part_length = rows * batch
        self._part = 0
        self._copies = _CopyStream(device)

    def place(self, positions: Tensor, own: slice) -> Tensor:
        first = self._part * self._part_length
        self._part = (self._part + 1) % _RING_PARTS
        slots = torch.arange(first, first + positions.numel()).view(positions.shape)
        there, flat, dataset = slots.flatten(), positions.flatten(), self._dataset
        self._copies.copy(dataset.vertices[flat], self.frames.vertices, there)
        self._copies.copy(dataset.codes[flat], self.frames.codes, there)
        if len(dataset.camera) > 1:
            self._copies.copy(dataset.camera.world_to_camera[flat], self.frames.world_to_camera, there)
            self._copies.copy(dataset.camera.intrinsics[flat], self.frames.intrinsics, there)
        own_slots, own_positions = slots[:, own].flatten(), positions[:, own].flatten()
        for some, where in zip(own_positions.split(_READ_AT_ONCE), own_slots.split(_READ_AT_ONCE), strict=True):
            self._copies.copy(dataset.images.read(some), self.frames.images, where)
        return slots.to(torch.int32)

    def wait(self) -> None:
        self._copies.wait()


class FilledSlots:
    """Slots that are filled where they lie, on the GPU, by whoever owns the dataset: nothing is copied here."""

    def __init__(self, dataset: HeadDataset, rows: int) -> None:
        store = dataset.images
        if not isinstance(store, PreloadedImages):
            raise TypeError(f"the images are {type(store).__name__}, expected PreloadedImages")
        self.frames = Frames(
            images=store.pixels,
            vertices=dataset.vertices,
            codes=dataset.codes,
            world_to_camera=dataset.camera.world_to_camera,
            intrinsics=dataset.camera.intrinsics,
        )
        self.rows = rows

    def place(self, positions: Tensor, own: slice) -> Tensor:
        return positions.to(torch.int32)

    def wait(self) -> None:
        """Nothing was begun."""


class FrameSupply(Protocol):
    """Where training finds the frames of its positions. most_rows: steps that may be prepared at once. reads_ahead: whether a
    frame may be read before the steps before its own have run."""

    @property
    def dataset(self) -> HeadDataset: ...

    @property
    def most_rows(self) -> int: ...

    @property
    def reads_ahead(self) -> bool: ...

    def open_bank(
        self, device: torch.device, budget_bytes: float, batch: int, scaling: CodeScaling | None = None
    ) -> FrameBank:
        """The frames on a GPU, within a budget. scaling: of their codes, where the network has one."""


class RecordedFrames:
    """The frames of a recorded subject, none of which changes."""

    reads_ahead = True

    def __init__(self, dataset: HeadDataset, most_rows: int = MAX_ROWS) -> None:
        self.dataset = dataset
        self.most_rows = most_rows

    def open_bank(
        self, device: torch.device, budget_bytes: float, batch: int, scaling: CodeScaling | None = None
    ) -> FrameBank:
        """All frames where they fit the budget, else a ring of as many steps as do (one at least)."""
        dataset = self.dataset if scaling is None else _scale_codes(self.dataset, scaling)
        if _frame_bytes(dataset) * len(dataset) <= budget_bytes:
            return ResidentFrames(dataset, device, self.most_rows)
        rows = ring_rows(dataset, budget_bytes, self.most_rows, batch)
        return RingFrames(dataset, device, rows, batch)


def ring_rows(dataset: HeadDataset, budget_bytes: float, most_rows: int, batch: int) -> int:
    """Steps of a ring that fits the budget: one at least, `most_rows` at most."""
    fitting = int(budget_bytes // (_RING_PARTS * batch * _frame_bytes(dataset)))
    return max(1, min(most_rows, fitting))


def _scale_codes(dataset: HeadDataset, scaling: CodeScaling) -> HeadDataset:
    codes = scaling(dataset.codes.to(scaling.center.device)).to(dataset.codes.device)
    return dataclasses.replace(dataset, codes=codes)


def _frame_bytes(dataset: HeadDataset) -> int:
    return 4 * dataset.images.width * dataset.images.height + dataset.vertices[0].nbytes + dataset.codes[0].nbytes


class _CopyStream:
    """Copies from page-locked memory to slots, beside the current stream."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))  # for the memory that was made on that one

    def copy(self, source: Tensor, target: Tensor, slots: Tensor) -> None:
        with torch.cuda.stream(self._stream):
            there = source.to(self._device, non_blocking=True)
            target.index_copy_(0, slots.pin_memory().to(self._device, non_blocking=True), there)

    def wait(self) -> None:
        torch.cuda.current_stream(self._device).wait_stream(self._stream)


def _frames(images: Tensor, dataset: HeadDataset, positions: Tensor, device: torch.device) -> Frames:
    """The frames at positions [S] but for their images; a camera for each slot only where the dataset has several."""
    camera = dataset.camera.select(positions)
    return Frames(
        images=images,
        vertices=dataset.vertices[positions].to(device),
        codes=dataset.codes[positions].to(device),
        world_to_camera=camera.world_to_camera.to(device).contiguous(),
        intrinsics=camera.intrinsics.to(device).contiguous(),
    )
