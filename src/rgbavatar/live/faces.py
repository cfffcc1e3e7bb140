"""Faces of a camera's pictures, fitted as they come: pictures are taken, looked at and fitted by a thread each."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from dataclasses import dataclass, replace
from typing import cast

import numpy as np

from rgbavatar.live.pictures import NewestPictures, TakenFrame
from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.first_pass import NO_FACE, NO_FIT, Seen, ahead, look_at
from rgbavatar.track.fit import FaceProblem, Fit, changes, make_paces
from rgbavatar.track.landmarks import Face, FaceFinder
from rgbavatar.track.observe import observe
from rgbavatar.track.pose import Motion, Person
from rgbavatar.track.pose import join as join_motions
from rgbavatar.track.solver import minimize
from rgbavatar.track.stream import LOST_ERROR, StreamTracker, landmark_errors

_ROUNDS, _TOLERANCE = 6, 1e-3


@dataclass(frozen=True)
class LiveFace:
    """A face that was fitted. motion: one frame; cut: whether another shot begins; settled: whether the person is."""

    frame: TakenFrame
    face: Face
    motion: Motion
    person: Person
    cut: bool
    settled: bool

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) of the picture."""
        return self.frame.picture.shape[1], self.frame.picture.shape[0]


@dataclass(frozen=True)
class LostFace:
    """A picture without a face that can be used, and why."""

    frame: TakenFrame
    reason: str


class FaceTracker:
    """Fits the faces that were seen, in their order."""

    def __init__(self, model: FaceModel, focal: float | None) -> None:
        self._model, self._focal = model, focal
        self._tracker: StreamTracker | None = None
        self._cut_waits = False

    def track(self, seen: Seen) -> LiveFace | LostFace:
        """Fit the face of the next picture."""
        frame = cast("TakenFrame", seen.frame)
        if self._tracker is None:
            self._tracker = StreamTracker(self._model, (frame.picture.shape[1], frame.picture.shape[0]), self._focal)
        if seen.cut:
            self._tracker.restart()
            self._cut_waits = True
        if seen.sighting.face is None:
            return LostFace(frame, NO_FACE)
        tracked = self._tracker.track(seen.sighting.face, frame.seconds)
        if tracked is None:
            return LostFace(frame, NO_FIT)
        cut, self._cut_waits = self._cut_waits, False
        return LiveFace(frame, seen.sighting.face, tracked.motion, self._tracker.person, cut, self._tracker.is_settled)


def follow_faces(
    pictures: NewestPictures, finder: FaceFinder, model: FaceModel, focal: float | None, closed: threading.Event
) -> Generator[LiveFace | LostFace, None, None]:
    """The faces of a camera's pictures, until it ends or `closed` is set. focal: pixels, None to find it."""
    tracker = FaceTracker(model, focal)
    yield from ahead(tracker.track(seen) for seen in ahead(look_at(pictures.frames(closed), finder)))


def refit(model: FaceModel, faces: Sequence[LiveFace], person: Person) -> list[LiveFace]:
    """Frames that were fitted while the person was not settled, fitted anew, as one chain; without those that do not fit."""
    seen = observe(model, [one.face for one in faces])
    spans = np.diff([one.frame.seconds for one in faces])
    spans[[one.cut for one in faces[1:]]] = np.inf
    motion = join_motions([one.motion for one in faces])
    drift = np.zeros_like(changes(motion))
    problem = FaceProblem(model, seen, make_paces(drift.shape[1], spans), drift)
    motion = minimize(problem, Fit(person, motion), _ROUNDS, _TOLERANCE).motion
    fits = landmark_errors(model, person, motion, seen) <= LOST_ERROR
    chosen = [int(i) for i in np.flatnonzero(fits)]
    return [replace(faces[i], motion=motion.select(slice(i, i + 1)), person=person, settled=True) for i in chosen]
