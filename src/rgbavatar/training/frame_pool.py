"""The frames that online training may draw, in numbered slots: memory for those and no others, however long the stream is.

A *slot* is a row of the pool's tensors, and a position in its dataset. One that was given back is filled again only after all
others that are free: steps that were prepared before may still read it.
"""

from __future__ import annotations

from collections import deque

import torch

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.datasets.stream import StreamFrame
from rgbavatar.geometry.camera import Camera
from rgbavatar.model.coefficients import CodeScaling
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.training.frame_bank import FilledSlots, FrameBank, RingFrames, ring_rows

MAX_STREAM_ROWS = 16  # steps between two looks at the stream: under 20 ms on a fast GPU, half a frame at 25 a second


class FramePool:
    """Slots for frames like the first one, on `device`.

    dataset: a view of the slots, whose content changes with each `put`; its numbers are those of the frames.
    """

    most_rows = MAX_STREAM_ROWS
    reads_ahead = False  # a slot may change before a step that is to come

    def __init__(
        self, first: StreamFrame, template: HeadTemplate, subject: str, slots: int, device: torch.device
    ) -> None:
        height, width, _ = first.image.shape
        pin_memory = device.type == "cpu" and torch.cuda.is_available()
        self._free = deque(range(slots))
        self._pixels = torch.empty((slots, height, width, 4), dtype=torch.uint8, device=device)
        self.dataset = HeadDataset(
            subject=subject,
            numbers=torch.full((slots,), -1, dtype=torch.int64),
            images=PreloadedImages(self._pixels, pin_memory),
            vertices=torch.zeros(slots, *first.vertices.shape, device=device),
            codes=torch.zeros(slots, *first.code.shape, device=device),
            camera=Camera(
                first.camera.world_to_camera.repeat(slots, 1, 1).to(device),
                first.camera.intrinsics.repeat(slots, 1).to(device),
                width,
                height,
            ),
            template=template,
        )

    def put(self, frame: StreamFrame) -> int:
        """Copy a frame into a free slot, on the current stream. Returns the slot."""
        slot, dataset = self._free.popleft(), self.dataset
        self._pixels[slot] = frame.image
        dataset.vertices[slot] = frame.vertices
        dataset.codes[slot] = frame.code
        dataset.camera.world_to_camera[slot] = frame.camera.world_to_camera[0]
        dataset.camera.intrinsics[slot] = frame.camera.intrinsics[0]
        dataset.numbers[slot] = frame.number
        return slot

    def free(self, slot: int) -> None:
        """Give a slot back."""
        self._free.append(slot)

    def open_bank(
        self, device: torch.device, budget_bytes: float, batch: int, scaling: CodeScaling | None = None
    ) -> FrameBank:
        """The slots themselves where they lie on `device`, else a ring that they are copied through."""
        if scaling is not None:
            raise TypeError("the codes of a stream are trained on as they come, expected no scaling")
        if self._pixels.device == device:
            return FilledSlots(self.dataset, self.most_rows)
        return RingFrames(self.dataset, device, ring_rows(self.dataset, budget_bytes, self.most_rows, batch), batch)


def pool_bytes(first: StreamFrame, slots: int) -> int:
    """Memory for so many frames."""
    return slots * (first.image.nbytes + first.vertices.nbytes + first.code.nbytes)
