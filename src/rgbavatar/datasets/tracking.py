"""What a layout says of a subject: which frames there are, and what was tracked in them.

A *layout* is the way in which a tracker's users store a subject: names of folders and files, keys, conventions. Each is read
into the same few things, so that nothing behind here knows of layouts (rgbavatar.datasets.layouts lists them).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rgbavatar.datasets.base import Split
from rgbavatar.datasets.images import ImageFile
from rgbavatar.geometry.camera import Camera
from rgbavatar.templates.base import HeadParameters, HeadTemplate


@dataclass(frozen=True)
class Tracking:
    """n tracked frames of one person. numbers: those of the frames. camera: one for all or one for each; its size is that of
    the pictures that were tracked. moments: when each frame was taken, where several cameras show one moment; frames of one
    moment have one motion."""

    numbers: list[int]
    motion: HeadParameters
    camera: Camera
    moments: list[int] | None = None


class FrameListing(Protocol):
    """The n frames of a subject, in the order of their numbers, before any is decoded or posed."""

    @property
    def numbers(self) -> list[int]:
        """Rising. Frames of several cameras have numbers of their own, also where they show the same moment."""

    @property
    def images(self) -> Sequence[ImageFile]:
        """n images; none where the listing is of the tracking alone."""

    @property
    def splits(self) -> Sequence[Split] | None:
        """The split of each frame, where the layout says it."""

    def read(self, template: HeadTemplate, size: tuple[int, int] | None) -> Tracking:
        """Read and check what was tracked. size: (width, height) of the images, where there are any.

        Raises DataError naming the file: broken, not for this template, or not for images of this size.
        """


class Layout(Protocol):
    """One way of storing a subject. name: in dataset.layout. holds: what a folder of it holds, for messages."""

    @property
    def name(self) -> str: ...

    @property
    def holds(self) -> str: ...

    def matches(self, folder: Path) -> bool:
        """Whether a folder looks like one of this layout, at least in part."""

    def list_frames(self, folder: Path) -> FrameListing:
        """The frames, each with its image. Raises DataError naming what is missing."""

    def list_tracking(self, folder: Path) -> FrameListing:
        """The frames without images; gaps are left out. Raises DataError."""
