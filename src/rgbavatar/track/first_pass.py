"""The first pass: landmarks and a fit of each frame, as they come; those of the next are looked for while one is fitted."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.cuts import CutFinder
from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.landmarks import Face, FaceFinder, FaceFollower, Sighting
from rgbavatar.track.pose import Motion, Person
from rgbavatar.track.pose import join as join_motions
from rgbavatar.track.stream import StreamTracker
from rgbavatar.track.video import VideoFrame, VideoFrames

Floats = NDArray[np.float64]
Item = TypeVar("Item")
NO_FACE, NO_FIT = "no face found", "the template could not be fitted to the face"


@dataclass(frozen=True)
class Seen:
    """One picture looked at. cut: whether it begins another shot."""

    frame: VideoFrame
    sighting: Sighting
    cut: bool


@dataclass(frozen=True)
class FirstPass:
    """n frames that were tracked, in their order, and what was not.

    size: (width, height) of the pictures; numbers [n], seconds [n]; faces; motion: of each; person: who they were last fitted
    as. cuts: positions in the n frames that begin another shot; lost: why, by number; crowded: numbers with several faces.
    pictures: how many were looked at; rate: pictures a second.
    """

    size: tuple[int, int]
    numbers: list[int]
    seconds: Floats
    faces: list[Face]
    motion: Motion
    person: Person
    cuts: list[int]
    lost: dict[int, str]
    crowded: list[int]
    pictures: int
    rate: float

    @property
    def shots(self) -> list[slice]:
        """Runs of frames that follow each other."""
        bounds = [0, *self.cuts, len(self.numbers)]
        return [slice(first, end) for first, end in pairwise(bounds)]


@dataclass
class Collected:
    """What a first pass gathers while it runs."""

    numbers: list[int] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)
    motions: list[Motion] = field(default_factory=list)
    cuts: list[int] = field(default_factory=list)
    lost: dict[int, str] = field(default_factory=dict)
    crowded: list[int] = field(default_factory=list)
    pictures: int = 0


def look_at(frames: Iterable[VideoFrame], finder: FaceFinder) -> Iterator[Seen]:
    """Find the face in each picture."""
    follower, cuts = FaceFollower(finder), CutFinder()
    for frame in frames:
        cut = cuts.picture_cuts(frame.picture)
        if cut:
            follower.restart()
        sighting = follower.follow(frame.picture, round(1000 * frame.seconds))
        if sighting.face is not None:
            cut = cuts.face_cuts(sighting.face, frame.seconds) or cut
        yield Seen(frame, sighting, cut)


def ahead(items: Iterable[Item]) -> Iterator[Item]:
    """The same items, each made by a thread while the one before is used."""
    source, end = iter(items), object()
    with ThreadPoolExecutor(1, thread_name_prefix="look") as pool:
        waiting = pool.submit(next, source, end)
        while (item := waiting.result()) is not end:
            waiting = pool.submit(next, source, end)
            yield item  # type: ignore[misc]


class FirstPassRun:
    """A first pass that can be watched, and stopped between two frames."""

    def __init__(self, model: FaceModel, focal: float | None) -> None:
        self._model, self._focal = model, focal
        self._tracker: StreamTracker | None = None
        self._size = (0, 0)
        self._found = Collected()
        self._cut_waits = False
        self._began = time.monotonic()

    def take(self, seen: Seen) -> bool:
        """Track the face of one picture. Returns whether that went well."""
        found, frame = self._found, seen.frame
        if self._tracker is None:
            self._size = (frame.picture.shape[1], frame.picture.shape[0])
            self._tracker = StreamTracker(self._model, self._size, self._focal)
        found.pictures += 1
        if seen.cut:
            self._tracker.restart()
            self._cut_waits = True
        if seen.sighting.faces > 1:
            found.crowded.append(frame.number)
        if seen.sighting.face is None:
            found.lost[frame.number] = NO_FACE
            return False
        tracked = self._tracker.track(seen.sighting.face, frame.seconds)
        if tracked is None:
            found.lost[frame.number] = NO_FIT
            return False
        if self._cut_waits and found.numbers:
            found.cuts.append(len(found.numbers))
        self._cut_waits = False
        found.numbers.append(frame.number)
        found.seconds.append(frame.seconds)
        found.faces.append(seen.sighting.face)
        found.motions.append(tracked.motion)
        return True

    @property
    def tracked(self) -> int:
        """Frames that were tracked so far."""
        return len(self._found.numbers)

    @property
    def lost(self) -> dict[int, str]:
        """Why frames were lost, by number."""
        return self._found.lost

    def result(self) -> FirstPass:
        """All that was found. Needs a frame that was tracked."""
        assert self._tracker is not None
        found = self._found
        return FirstPass(
            size=self._size,
            numbers=found.numbers,
            seconds=np.array(found.seconds),
            faces=found.faces,
            motion=join_motions(found.motions),
            person=self._tracker.person,
            cuts=found.cuts,
            lost=found.lost,
            crowded=found.crowded,
            pictures=found.pictures,
            rate=found.pictures / max(1e-9, time.monotonic() - self._began),
        )


def run_first_pass(frames: VideoFrames, finder: FaceFinder, run: FirstPassRun) -> Generator[Seen, None, None]:
    """Track all pictures, and hand out each when it is done."""
    for seen in ahead(look_at(frames, finder)):
        run.take(seen)
        yield seen
