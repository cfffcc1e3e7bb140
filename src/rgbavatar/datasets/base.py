"""What training sees of a subject, whatever layout it was stored in.

A subject: one person's tracked video. A frame: one image with the head parameters tracked in it. A position: an index
into the dataset, from 0. A number: the one in a frame's file name. Symbols: n frames, B frames of a batch, V
vertices, C code entries, H x W pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Protocol

import torch
from torch import Tensor

from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.types import Batch


class Split(str, Enum):
    """Which frames of a subject: those to train on, those held out at the end, those of a held-out camera, or all."""

    TRAIN = "train"
    TEST = "test"
    VAL = "val"
    ALL = "all"


class ImageStore(Protocol):
    """n straight (not premultiplied) RGBA images of one size, read by position."""

    @property
    def width(self) -> int: ...

    @property
    def height(self) -> int: ...

    def __len__(self) -> int: ...

    def read(self, indices: Tensor) -> Tensor:
        """The images at positions `indices` [B]: a new tensor [B, H, W, 4] uint8, RGBA.

        It lies on the CPU (page-locked where the store was made so) unless the store was moved. Raises DataError naming
        the file that cannot be decoded.
        """

    def to(self, device: torch.device) -> ImageStore:
        """A store of the same images that holds on `device` whatever it holds in memory."""

    def close(self) -> None:
        """End the store's threads; a second call does nothing."""


@dataclass(frozen=True)
class HeadDataset:
    """The n frames of a subject (or of one split of it), in the order of their numbers.

    numbers [n] int64; images: n of them; vertices [n, V, 3] float32: the posed template in the
    world, metres; codes [n, C] float32; camera: one for all frames or one for each; template: the mesh that
    `vertices` pose.
    """

    subject: str
    numbers: Tensor
    images: ImageStore
    vertices: Tensor
    codes: Tensor
    camera: Camera
    template: HeadTemplate

    def __len__(self) -> int:
        return self.numbers.shape[0]

    def batch(self, indices: Tensor, device: torch.device) -> Batch:
        """The frames at positions `indices` [B] int64, on `device`. Raises DataError where an image cannot be read."""
        there = indices.to(self.vertices.device)
        return Batch(
            indices=indices.to(device),
            images=self.images.read(indices).to(device, non_blocking=True),
            vertices=self.vertices[there].to(device, non_blocking=True),
            codes=self.codes[there].to(device, non_blocking=True),
            camera=self.camera.select(there).to(device),
        )

    def to(self, device: torch.device) -> HeadDataset:
        """The same frames with all that is held in memory on `device`; images that are streamed stay on the disk."""
        return replace(
            self,
            images=self.images.to(device),
            vertices=self.vertices.to(device),
            codes=self.codes.to(device),
            camera=self.camera.to(device),
        )

    def close(self) -> None:
        """End the threads that read images; a second call does nothing."""
        self.images.close()


def split_indices(count: int, split: Split, test_frames: int) -> Tensor:
    """Positions [m] int64 of a split of `count` frames: the test split is the last `test_frames`, the rest trains.

    Raises DataError where `test_frames` is negative or leaves no frame to train on, and for a held-out camera.
    """
    if split is Split.VAL:
        raise DataError(
            "the subject has one camera, so none that is held out: there is no split val; choose train or test"
        )
    if not 0 <= test_frames < count:
        raise DataError(
            f"dataset.test_frames is {test_frames} but the subject has {count} frames; expected 0 to {count - 1}, "
            f"so that at least one frame is left to train on: lower dataset.test_frames"
        )
    first_test = count - test_frames
    bounds = {Split.TRAIN: (0, first_test), Split.TEST: (first_test, count), Split.ALL: (0, count)}
    return torch.arange(*bounds[split])
