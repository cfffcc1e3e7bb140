"""The newest frame of a stream that is being trained on: its pose, and its picture in small."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch

from rgbavatar.datasets.stream import FrameSource, SkippedFrame, StreamFrame
from rgbavatar.io.images import to_picture
from rgbavatar.losses import composite
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.viewer.frames import Offsets, Pose

_THUMBNAIL_WIDTH = 320  # pixels: that of the controls


class NewestPose:
    """A PoseSource of one frame, as it came; it cannot be posed anew. `note` may be called in another thread."""

    numbers: Sequence[int] = ()
    expression_count = 0
    expression_names: Sequence[str] = ()
    joints: frozenset[str] = frozenset()
    codes = torch.empty(0, 0)

    def __init__(self) -> None:
        self._frame: StreamFrame | None = None
        self._pose: tuple[StreamFrame, Pose] | None = None
        self._picture: tuple[StreamFrame, np.ndarray] | None = None

    def note(self, frame: StreamFrame) -> None:
        """A frame has come."""
        self._frame = frame

    def pose(self, position: int, offsets: Offsets) -> Pose | None:
        frame = self._frame
        if frame is None:
            return None
        if self._pose is None or self._pose[0] is not frame:
            self._pose = frame, Pose(frame.number, frame.code[None], frame.vertices[None], frame.camera)
        return self._pose[1]

    def picture(self) -> np.ndarray | None:
        """The frame over black, uint8 [H, W, 3], as wide as it is shown; another array when another frame has come."""
        frame = self._frame
        if frame is None:
            return None
        if self._picture is None or self._picture[0] is not frame:
            self._picture = frame, _thumbnail(frame)
        return self._picture[1]


def _thumbnail(frame: StreamFrame) -> np.ndarray:
    whole = to_picture(composite(frame.image[None], torch.zeros(1, 3))[0])
    height, width = whole.shape[:2]
    shrink = min(1.0, _THUMBNAIL_WIDTH / width)
    size = (max(1, round(shrink * width)), max(1, round(shrink * height)))
    return np.asarray(cv2.resize(whole, size, interpolation=cv2.INTER_AREA), np.uint8)


@dataclass(frozen=True)
class WatchedSource:
    """A FrameSource that tells of each frame as it passes."""

    source: FrameSource
    newest: NewestPose

    @property
    def subject(self) -> str:
        return self.source.subject

    @property
    def template(self) -> HeadTemplate:
        return self.source.template

    @property
    def expected(self) -> int | None:
        return self.source.expected

    def frames(self, closed: threading.Event) -> Iterator[StreamFrame | SkippedFrame]:
        for item in self.source.frames(closed):
            if isinstance(item, StreamFrame):
                self.newest.note(item)
            yield item

    def close(self) -> None:
        self.source.close()
