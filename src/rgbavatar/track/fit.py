"""What a fit of a face minimises, for one frame or for a clip: robust least squares on landmarks, with priors.

    cost = 1/2 ( sum_l c_l rho(|u_l - seen_l|^2 / sigma^2)           landmarks, Geman and McClure's rho(s) = s / (1 + s / k^2)
               + sum |expression - scores|^2 / spread^2 + the same of the gaze
               + sum log(1 + |change|^2 / pace^2)                    from frame to frame, and from an anchor
               + |identity|^2 + (log focal - expected)^2 / spread^2 )

The logarithm (Cauchy's) lets a blink or a shaken head pass, and smooths what hardly changes. Landmarks err together, as one
network's output, so all of them count as EVIDENCE independent ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.pose import GAZE, POSE, Motion, Person, frame_slopes, look, person_slopes, project
from rgbavatar.track.solver import System, add_links
from rgbavatar.track.turns import turn_between, turn_by

Floats = NDArray[np.float64]

EVIDENCE = 80.0  # independent landmarks that all of them are worth
PERSON_EVIDENCE = (
    4.0  # frames that any number of frames is worth, of who a person is: landmarks err the same way in all
)
NOISE = 0.015  # sigma, in eye distances
FAR = 4.0  # k: landmarks that are more sigmas off count little
SCORE_SPREAD = 0.25  # of an expression about its score
SILENT_SPREAD = 0.5  # of an expression that has no score, about 0
GAZE_SPREAD = 0.15  # radians
TURN_PACE, SHIFT_PACE = 0.006, 0.0012  # radians and metres that a frame at PACE_RATE may be off steady motion
EXPRESSION_PACE, GAZE_PACE = 0.08, 0.05
PACE_RATE = 30.0  # frames per second that the paces are for
FOCAL_SIZES, FOCAL_SPREAD = (
    1.3,
    0.35,
)  # expected focal length in longer picture sides, and how far off its logarithm may be
_ROWS = 64  # of a product: 62 x 62 x 64 is below what OpenBLAS shares among threads
_AT_ONCE = 32  # frames whose slopes are held at a time: 478 landmarks and 110 unknowns are 0.8 MB each


@dataclass(frozen=True)
class Observed:
    """What was seen in n frames. points [n, L, 2] pixels; trust [n, L]: weights in [0, 1]; size [n]: eye distance in pixels.

    scores [n, E]: expected expression; spread [E]: how far it may be from that; gaze [n, 4]: expected.
    """

    points: Floats
    trust: Floats
    size: Floats
    scores: Floats
    spread: Floats
    gaze: Floats

    def __len__(self) -> int:
        return len(self.points)

    def select(self, frames: slice | NDArray[np.int64]) -> Observed:
        """Some frames."""
        names = ("points", "trust", "size", "scores", "gaze")
        return replace(self, **{name: getattr(self, name)[frames] for name in names})


@dataclass(frozen=True)
class Anchor:
    """A motion that n frames should be near, and the paces [n, P]: how near."""

    motion: Motion
    pace: Floats


@dataclass(frozen=True)
class PersonPrior:
    """What is expected of a person that is fitted along. focal: pixels; spread: of its logarithm, 0 to hold it."""

    focal: float
    spread: float


@dataclass(frozen=True)
class Fit:
    """The state of a fit."""

    person: Person
    motion: Motion


@dataclass(frozen=True)
class FaceProblem:
    """A `solver.Problem`. paces [n - 1, P]: how far changes between frames may be from those expected, `drift`
    [n - 1, P]; infinite where frames are not linked. prior: None to hold the person. far: see FAR.
    """

    model: FaceModel
    seen: Observed
    paces: Floats
    drift: Floats
    anchor: Anchor | None = None
    prior: PersonPrior | None = None
    far: float = FAR

    def cost(self, state: Fit) -> float:
        off = (project(self.model, state.person, state.motion) - self.seen.points) / self._sigma[:, None, None]
        square = (off * off).sum(-1)
        total = (self._evidence * square / (1 + square / self.far**2)).sum()
        total += (self._pull(state.motion) ** 2 / self._spreads**2).sum()
        total += np.log1p(((changes(state.motion) - self.drift) / self.paces) ** 2).sum()
        if self.anchor is not None:
            total += np.log1p((_difference(self.anchor.motion, state.motion) / self.anchor.pace) ** 2).sum()
        if self.prior is not None:
            pull = self._person_pull(state.person)
            total += (pull**2 * self._person_weights).sum()
        return float(total) / 2

    def linearize(self, state: Fit) -> System:
        count, width = len(state.motion), self.paces.shape[1]
        shared = 0 if self.prior is None else len(state.person.identity) + 1
        diagonal, pull = np.empty((count, width, width)), np.empty((count, width))
        border, corner, shared_pull = np.zeros((count, width, shared)), np.zeros((shared, shared)), np.zeros(shared)
        for start in range(0, count, _AT_ONCE):
            part = slice(start, start + _AT_ONCE)
            rows, held, off = self._rows(state.person, state.motion.select(part), part)
            diagonal[part] = _gram(rows, rows)
            pull[part] = -_gram(rows, off[..., None])[..., 0]
            if held is not None:
                border[part] = _gram(rows, held)
                corner += _gram(held, held).sum(0)
                shared_pull -= _gram(held, off[..., None])[..., 0].sum(0)
        links = self._add_priors(state.motion, diagonal, pull)
        if self.prior is not None:
            self._add_person(state.person, corner, shared_pull)
        return System(diagonal, links, border, corner, pull, shared_pull, _free(state.motion, pull))

    def move(self, state: Fit, step: Floats, shared: Floats) -> Fit:
        motion, person = state.motion, state.person
        moved = Motion(
            rotation=turn_by(step[:, :3]) @ motion.rotation,
            position=motion.position + step[:, 3:6],
            expression=np.clip(motion.expression + step[:, POSE:-GAZE], 0.0, 1.0),
            gaze=motion.gaze + step[:, -GAZE:],
        )
        if self.prior is None:
            return Fit(person, moved)
        focal = person.focal * float(np.exp(np.clip(shared[-1], -1.0, 1.0)))
        return Fit(replace(person, identity=person.identity + shared[:-1], focal=focal), moved)

    def _rows(self, person: Person, motion: Motion, part: slice) -> tuple[Floats, Floats | None, Floats]:
        """Slopes of frames and of the person, if that is fitted, and errors [n, 2 L], each times the root of its weight."""
        seen = look(self.model, person, motion)
        off = (seen.points - self.seen.points[part]) / self._sigma[part, None, None]
        share = 1 / (1 + (off * off).sum(-1) / self.far**2) ** 2
        root = np.tile(np.sqrt(self._evidence[part] * share), 2)
        scale = (root / self._sigma[part, None])[..., None]
        held = None if self.prior is None else person_slopes(self.model, person, seen) * scale
        flat = np.swapaxes(off, 1, 2).reshape(len(off), -1) * root
        return frame_slopes(self.model, person, motion, seen) * scale, held, flat

    def _add_priors(self, motion: Motion, diagonal: Floats, pull: Floats) -> Floats:
        """Add what does not come from landmarks. Returns the links [n - 1, P]."""
        at = np.arange(diagonal.shape[1])
        weight = 1 / self._spreads**2
        diagonal[:, at[POSE:], at[POSE:]] += weight
        pull[:, POSE:] -= weight * self._pull(motion)
        change = changes(motion) - self.drift
        links = 1 / (self.paces**2 + change**2)
        add_links(diagonal, pull, links, change)
        if self.anchor is not None:
            away = _difference(self.anchor.motion, motion)
            held = 1 / (self.anchor.pace**2 + away**2)
            diagonal[:, at, at] += held
            pull -= held * away
        return links

    def _add_person(self, person: Person, corner: Floats, shared_pull: Floats) -> None:
        at = np.arange(len(corner))
        corner[at, at] += self._person_weights
        shared_pull -= self._person_weights * self._person_pull(person)

    def _person_pull(self, person: Person) -> Floats:
        """How far a person's unknowns [Q] are from what is expected."""
        assert self.prior is not None
        return np.append(person.identity, np.log(person.focal / self.prior.focal))

    @property
    def _person_weights(self) -> Floats:
        assert self.prior is not None
        weights = np.ones(len(self.model.identity) + 1)
        weights[-1] = 1e8 if self.prior.spread <= 0 else self.prior.spread**-2
        return weights * max(1.0, len(self.seen) / PERSON_EVIDENCE)

    def _pull(self, motion: Motion) -> Floats:
        """How far expression and gaze [n, E + 4] are from what is expected."""
        return np.concatenate((motion.expression - self.seen.scores, motion.gaze - self.seen.gaze), 1)

    @property
    def _spreads(self) -> Floats:
        return np.concatenate((self.seen.spread, np.full(GAZE, GAZE_SPREAD)))

    @property
    def _sigma(self) -> Floats:
        return NOISE * self.seen.size

    @property
    def _evidence(self) -> Floats:
        trust = self.model.confidence * self.seen.trust
        return trust * EVIDENCE / np.maximum(self.model.confidence.sum(), 1e-9)


def make_paces(width: int, seconds: Floats) -> Floats:
    """How far unknowns [m, P] may change in each of m time spans; infinite for a span that is."""
    pace = np.full(width, EXPRESSION_PACE)
    pace[:3], pace[3:POSE], pace[-GAZE:] = TURN_PACE, SHIFT_PACE, GAZE_PACE
    return pace * np.maximum(seconds * PACE_RATE, 1e-3)[:, None]


def unlinked(
    model: FaceModel,
    seen: Observed,
    anchor: Anchor | None = None,
    prior: PersonPrior | None = None,
    far: float = FAR,
) -> FaceProblem:
    """The problem of frames that have nothing to do with each other but the person."""
    none = np.zeros((max(0, len(seen) - 1), POSE + len(model.expression) + GAZE))
    return FaceProblem(model, seen, none + np.inf, none, anchor, prior, far)


def _gram(left: Floats, right: Floats) -> Floats:
    """left^T right of matrices [n, R, P] and [n, R, Q], a few rows at a time. Returns [n, P, Q].

    Larger products make OpenBLAS start threads, which for matrices of this size wait for each other longer than they compute,
    many times longer where a landmarker runs beside them.
    """
    total = np.zeros((len(left), left.shape[2], right.shape[2]))
    for start in range(0, left.shape[1], _ROWS):
        part = slice(start, start + _ROWS)
        total += np.swapaxes(left[:, part], 1, 2) @ right[:, part]
    return total


def changes(motion: Motion) -> Floats:
    """From each frame to the next [n - 1, P]."""
    return _difference(motion.select(slice(0, -1)), motion.select(slice(1, None)))


def _difference(first: Motion, second: Motion) -> Floats:
    parts = (
        turn_between(first.rotation, second.rotation),
        second.position - first.position,
        second.expression - first.expression,
        second.gaze - first.gaze,
    )
    return np.concatenate(parts, 1)


def _free(motion: Motion, pull: Floats) -> NDArray[np.bool_]:
    """All but the expressions that stand at a bound and are pushed beyond it."""
    free = np.ones(pull.shape, bool)
    free[:, POSE:-GAZE] = may_move(motion.expression, pull[:, POSE:-GAZE])
    return free


def may_move(expression: Floats, pull: Floats) -> NDArray[np.bool_]:
    """Which expressions are not pushed beyond a bound that they stand at."""
    return np.asarray(~((expression <= 0) & (pull < 0) | (expression >= 1) & (pull > 0)))
