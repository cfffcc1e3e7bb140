"""Tracking a face as its frames come: each fit starts from where the one before leaves off.

Who the person is and what the lens does are settled in the first second: fitted to *key frames*, whose poses differ, again as
these grow in number, and held from then on.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.fit import (
    FAR,
    FOCAL_SIZES,
    FOCAL_SPREAD,
    NOISE,
    PERSON_EVIDENCE,
    Anchor,
    Fit,
    Observed,
    PersonPrior,
    make_paces,
    unlinked,
)
from rgbavatar.track.landmarks import Face
from rgbavatar.track.observe import observe
from rgbavatar.track.pose import GAZE, POSE, Motion, Person, look, project, rest_landmarks
from rgbavatar.track.pose import join as join_motions
from rgbavatar.track.solver import minimize
from rgbavatar.track.turns import turn_between, turn_by

Floats = NDArray[np.float64]
SETTLING = 1.0  # seconds after which a person is held
KEY_FRAMES = 10
KEY_TURN, KEY_CHANGE = 0.05, 0.3  # radians, and of an expression, by which a key frame differs from the others
LOST_ERROR = 0.12  # mean error, in eye distances, from which on a fit has failed
LOOSE = 15.0  # sigmas: what counts while nothing is known of a person
GAP = 0.4  # seconds without a face after which it may be anywhere
FRAME_ROUNDS, KEY_ROUNDS, FIRST_ROUNDS = 5, 3, 12
TOLERANCE = 1e-3
OFFSET_SPREAD = 0.002  # metres that a landmark may be off the template's
_STEADY = 0.6  # share of the old velocity in the new one


@dataclass(frozen=True)
class Tracked:
    """One frame: its motion (n is 1), who it was fitted as, and the mean error of its landmarks in eye distances."""

    motion: Motion
    person: Person
    error: float


@dataclass(frozen=True)
class _Past:
    """The frame before: when, its motion, and how fast it went: radians and metres in a second, [6]."""

    seconds: float
    motion: Motion
    velocity: Floats


class StreamTracker:
    """Fits a face model to one face after the other. size: (width, height) of the pictures; focal: pixels, None to find it."""

    def __init__(self, model: FaceModel, size: tuple[int, int], focal: float | None = None) -> None:
        self._model = model
        self.prior = focal_prior(size, focal)
        middle = np.array(size, float) / 2
        none = np.zeros((len(model.landmarks), 3))
        self.person = Person(np.zeros(len(model.identity)), self.prior.focal, middle, none)
        self._past: _Past | None = None
        self._keys: list[tuple[Observed, Motion]] = []
        self._settled_at: float | None = None
        self._due = 1

    @property
    def is_settled(self) -> bool:
        """Whether who the person is will not change any more."""
        return self._settled_at is not None

    def restart(self) -> None:
        """The next face is of another shot; the person stays who it is."""
        self._past = None

    def track(self, face: Face, seconds: float) -> Tracked | None:
        """Fit the face of the next picture; None where it does not fit."""
        seen = observe(self._model, [face])
        start, anchor = self._expect(face, seconds)
        motion = self._fit(seen, start, anchor)
        error = landmark_errors(self._model, self.person, motion, seen)[0]
        if error > LOST_ERROR / 2:  # it may have gone astray
            again = self._fit(seen, place_face(self._model, self.person, face, seen), None)
            found = landmark_errors(self._model, self.person, again, seen)[0]
            motion, error = (again, found) if found < error else (motion, error)
        if not self._keys or self._settled_at is None:
            motion = self._settle(seen, motion, seconds)
            error = landmark_errors(self._model, self.person, motion, seen)[0]
        if error > LOST_ERROR:
            self._past = None
            return None
        self._past = _Past(seconds, motion, self._velocity(motion, seconds))
        return Tracked(motion, self.person, float(error))

    def _fit(self, seen: Observed, start: Motion, anchor: Anchor | None) -> Motion:
        return minimize(unlinked(self._model, seen, anchor), Fit(self.person, start), FRAME_ROUNDS, TOLERANCE).motion

    def _expect(self, face: Face, seconds: float) -> tuple[Motion, Anchor | None]:
        """Where to start, and where the face should be by what it did before."""
        past = self._past
        if past is None or seconds - past.seconds > GAP:
            return place_face(self._model, self.person, face, observe(self._model, [face])), None
        passed = seconds - past.seconds
        ahead = past.velocity * passed
        expected = Motion(
            turn_by(ahead[None, :3]) @ past.motion.rotation,
            past.motion.position + ahead[3:],
            past.motion.expression,
            past.motion.gaze,
        )
        width = POSE + len(self._model.expression) + GAZE
        return expected, Anchor(expected, make_paces(width, np.array([passed])))

    def _velocity(self, motion: Motion, seconds: float) -> Floats:
        past = self._past
        if past is None or not 0 < seconds - past.seconds <= GAP:
            return np.zeros(6)
        moved = np.concatenate(
            (turn_between(past.motion.rotation, motion.rotation)[0], (motion.position - past.motion.position)[0])
        )
        return _STEADY * past.velocity + (1 - _STEADY) * moved / (seconds - past.seconds)

    def _settle(self, seen: Observed, motion: Motion, seconds: float) -> Motion:
        """Take a frame as a key frame where it differs, and fit the person anew as their number doubles, and at the end."""
        first = self._settled_at is None and not self._keys
        if first:
            self._began = seconds
        over = seconds - self._began >= SETTLING
        fresh = all(_differ(motion, key) for _, key in self._keys) and len(self._keys) < KEY_FRAMES
        if fresh:
            self._keys.append((seen, motion))
        if (fresh and len(self._keys) >= self._due) or over:
            self._due = 2 * len(self._keys)
            self._bundle(FIRST_ROUNDS if first else KEY_ROUNDS)
            motion = self._keys[-1][1] if fresh else self._fit(seen, motion, None)
        if over:
            self._settled_at = seconds
        return motion

    def _bundle(self, rounds: int) -> None:
        seen = join_observed([seen for seen, _ in self._keys])
        motion = join_motions([motion for _, motion in self._keys])
        found = fit_person(self._model, seen, Fit(self.person, motion), self.prior, rounds)
        self.person = found.person
        self._keys = [(one, found.motion.select(slice(i, i + 1))) for i, (one, _) in enumerate(self._keys)]


def fit_person(model: FaceModel, seen: Observed, start: Fit, prior: PersonPrior, rounds: int) -> Fit:
    """Person and frames together, frames not linked; far points first count much, then little; then what is left of the
    person."""
    for far in (LOOSE, FAR):
        start = minimize(unlinked(model, seen, None, prior, far), start, rounds, TOLERANCE)
    person = replace(start.person, offsets=find_offsets(model, seen, start))
    return minimize(unlinked(model, seen), replace(start, person=person), rounds, TOLERANCE)


def find_offsets(model: FaceModel, seen: Observed, fit: Fit) -> Floats:
    """The offsets [L, 3] that explain what all frames are off alike: ridge regression, landmark by landmark."""
    looked = look(model, fit.person.plain, fit.motion)
    sigma = (NOISE * seen.size)[:, None, None]
    off = (seen.points - looked.points) / sigma
    rows = np.swapaxes(looked.rows, 1, 2) / sigma[..., None]  # [n, L, 2, 3]
    trust = seen.trust / (1 + (off * off).sum(-1) / FAR**2) ** 2
    share = trust * min(1.0, PERSON_EVIDENCE / len(seen))
    gram = np.einsum("nl,nlai,nlaj->lij", share, rows, rows, optimize=True) + np.eye(3) / OFFSET_SPREAD**2
    return np.linalg.solve(gram, np.einsum("nl,nlai,nla->li", share, rows, off, optimize=True)[..., None])[..., 0]


def focal_prior(size: tuple[int, int], focal: float | None) -> PersonPrior:
    """What is expected of the lens. focal: what is known of it."""
    return PersonPrior(FOCAL_SIZES * max(size), FOCAL_SPREAD) if focal is None else PersonPrior(focal, 0.0)


def place_face(model: FaceModel, person: Person, face: Face, seen: Observed) -> Motion:
    """A start from nothing: the similarity that lays the model at rest over the landmarks, whose depth is in pixels too.

    Least squares (Umeyama 1991) gives rotation and pixels a metre; the distance follows from these.
    """
    rest = rest_landmarks(model, person)
    points = face.points[model.landmarks]
    weights = model.confidence[:, None] / model.confidence.sum()
    middle, rest_middle = (weights * points).sum(0), (weights * rest).sum(0)
    left, spread, right = np.linalg.svd((weights * (points - middle)).T @ (rest - rest_middle))
    signs = np.array((1.0, 1.0, np.sign(np.linalg.det(left @ right))))
    rotation = left * signs @ right
    scale = (spread * signs).sum() / (weights * (rest - rest_middle) ** 2).sum()
    depth = person.focal / scale
    place = np.append((middle[:2] - person.middle) / scale, depth) - rotation @ rest_middle
    return Motion(rotation[None], place[None], seen.scores.clip(0, 1), seen.gaze.copy())


def landmark_errors(model: FaceModel, person: Person, motion: Motion, seen: Observed) -> Floats:
    """Mean distance of the mesh's landmarks from where they were seen in n frames, by confidence, in eye distances. [n]."""
    off = np.linalg.norm(project(model, person.plain, motion) - seen.points, axis=-1)
    weights = model.confidence * seen.trust
    return (off * weights).sum(1) / weights.sum(1) / seen.size


def join_observed(parts: list[Observed]) -> Observed:
    """Observations one after the other."""
    names = ("points", "trust", "size", "scores", "gaze")
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in names}
    return Observed(spread=parts[0].spread, **joined)


def _differ(motion: Motion, other: Motion) -> bool:
    turn = np.linalg.norm(turn_between(other.rotation, motion.rotation))
    return bool(turn > KEY_TURN or np.abs(motion.expression - other.expression).max() > KEY_CHANGE)
