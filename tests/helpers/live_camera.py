"""A camera that is not there: a head that moves before a wall, and a landmarker that knows where it is.

A picture's first pixel tells its number, and so what the landmarker has to say.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np

from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.live.masks import LayerMasks, Small
from rgbavatar.live.recorder import SubjectRecorder
from rgbavatar.live.source import LiveSettings, LiveSource
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.track.fit import Fit
from rgbavatar.track.frames import tracked_frames
from rgbavatar.track.landmarks import Face
from rgbavatar.track.video import VideoFrame
from rgbavatar.track.zones import ZoneFinder
from tests.helpers.tracked_face import Clip, face_model, head_data, make_clip

FRAMES, SIZE, FOCAL, RATE = 75, (160, 144), 190.0, 30.0
SKIN = (205, 150, 120)
LOST = range(48, 54)  # frames in which `TrueFinder` sees no face, where it is told so


@cache
def template() -> BlendshapeTemplate:
    return BlendshapeTemplate(head_data())


@cache
def live_clip() -> Clip:
    return make_clip(FRAMES, noise=0.004, outliers=0.0, focal=FOCAL, size=SIZE)


@cache
def true_frames() -> list[TrackedFrame]:
    """What a perfect tracker would say of each picture."""
    clip = live_clip()
    return tracked_frames(face_model(), Fit(clip.person, clip.motion), SIZE)


@cache
def true_heads() -> list[np.ndarray]:
    """Where the painted head is in each picture, bool [H, W]."""
    finder = ZoneFinder(template())
    return [finder.find(frame, *SIZE).core for frame in true_frames()]


@cache
def pictures() -> list[np.ndarray]:
    """Skin where the head is, on a wall with a pattern."""
    generator = np.random.default_rng(0)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    wall = np.stack([110 + 30 * np.sin(columns / 7), 160 + 20 * np.cos(rows / 9), 150 + 0 * rows], 2)
    painted = []
    for i, head in enumerate(true_heads()):
        picture = np.where(head[..., None], SKIN, wall) + generator.normal(0, 2, (*wall.shape[:2], 3))
        picture = picture.clip(0, 255).astype(np.uint8)
        picture[0, 0] = i
        painted.append(picture)
    return painted


@dataclass(frozen=True)
class VirtualCamera:
    """Gives the first pictures in their time. slowness: times as slow. looked: filled by who looks at them; the camera waits
    until all before were looked at, so that none is missed however busy the machine is; None: it waits for nobody."""

    count: int = FRAMES
    slowness: float = 1.0
    looked: list[int] | None = None
    name: str = "virtual camera"

    def __iter__(self) -> Iterator[VideoFrame]:
        start = time.monotonic()
        for i, picture in enumerate(pictures()[: self.count]):
            time.sleep(max(0.0, start + self.slowness * i / RATE - time.monotonic()))
            limit = time.monotonic() + 20
            while self.looked is not None and len(self.looked) < i and time.monotonic() < limit:
                time.sleep(0.001)
            yield VideoFrame(i, i / RATE, picture)


@dataclass
class TrueFinder:
    """Says what there is in each picture. blind: numbers of pictures in which it sees nothing."""

    blind: Sequence[int] = ()
    looked: list[int] = field(default_factory=list)

    def census(self, picture: np.ndarray) -> Sequence[Face]:
        number = int(picture[0, 0, 0])
        return [] if number in self.blind else [live_clip().faces[number]]

    def follow_one(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        self.looked.append(int(picture[0, 0, 0]))
        return self.census(picture)

    follow_all = follow_one


class PromptMasks(LayerMasks):
    """Learns while all wait."""

    def begin(self, first: Sequence[Small]) -> None:
        super().begin(first)
        self.is_ready(wait=True)


def make_source(
    folder: Path | None = None,
    blind: Sequence[int] = (),
    count: int = FRAMES,
    slowness: float = 0.0,
    masks: LayerMasks | None = None,
) -> LiveSource:
    """A live source of the virtual camera, which misses nothing. folder: the subject to record, None for none."""
    recorder = None if folder is None else SubjectRecorder(folder, "virtual", {"live": True}, overwrite=False)
    finder = TrueFinder(blind)
    return LiveSource(
        "one",
        VirtualCamera(count, slowness, finder.looked),
        template(),
        face_model(),
        lambda: contextlib.nullcontext(finder),
        PromptMasks() if masks is None else masks,
        recorder,
        LiveSettings(size=128, focal=FOCAL),
    )


def broken_source() -> LiveSource:
    """A source that cannot be made."""
    from rgbavatar.errors import DataError

    raise DataError("virtual camera: is not plugged in")
