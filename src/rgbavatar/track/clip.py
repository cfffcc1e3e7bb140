"""The second pass, over a whole clip: the person from frames all over it, then all frames of a shot as one chain.

What one frame cannot tell, such as how far a head is away, its neighbours on both sides help to; nothing lags behind, as it does
where frames are fitted as they come.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.fit import FaceProblem, Fit, Observed, PersonPrior, changes, make_paces
from rgbavatar.track.pose import POSE, Motion, Person
from rgbavatar.track.pose import join as join_motions
from rgbavatar.track.solver import minimize
from rgbavatar.track.stream import fit_person
from rgbavatar.track.turns import turn_between

Floats = NDArray[np.float64]
KEY_FRAMES = 80
KEY_ROUNDS, CHAIN_ROUNDS, DRIFT_ROUNDS = 15, 6, 3
STEADY = 3  # frames on either side that tell how fast a head moves
TOLERANCE = 1e-4
PIECE = 600  # frames of a shot that are solved at once
OVERLAP = 30  # frames that a piece sees of the one before
_TURN_WEIGHT = 6.0  # of a radian, where an expression counts 1, in how far apart two frames are

Progress = Callable[[int], None]
"""Told how many more frames are done."""


def refine_clip(
    model: FaceModel,
    seen: Observed,
    start: Fit,
    seconds: Floats,
    shots: Sequence[slice],
    prior: PersonPrior,
    progress: Progress,
) -> Fit:
    """Fit n frames together. start: a fit of each; seconds [n]; shots: runs of frames that follow each other."""
    keys = spread_frames(start.motion, KEY_FRAMES)
    person = fit_person(
        model, seen.select(keys), Fit(start.person, start.motion.select(keys)), prior, KEY_ROUNDS
    ).person
    pieces = [_refine_shot(model, seen, start.motion, person, seconds, shot, progress) for shot in shots]
    return Fit(person, join_motions(pieces))


def spread_frames(motion: Motion, wanted: int) -> NDArray[np.int64]:
    """Positions of at most `wanted` frames that differ as much as can be, rising: each the farthest from those before."""
    count = min(wanted, len(motion))
    chosen = [0]
    apart = _apart(motion, 0)
    for _ in range(count - 1):
        farthest = int(apart.argmax())
        chosen.append(farthest)
        apart = np.minimum(apart, _apart(motion, farthest))
    return np.array(sorted(set(chosen)))


def _apart(motion: Motion, place: int) -> Floats:
    """How much each frame differs from one, [n]."""
    turn = np.linalg.norm(turn_between(motion.rotation[place], motion.rotation), axis=1)
    change = np.linalg.norm(motion.expression - motion.expression[place], axis=1)
    return np.hypot(_TURN_WEIGHT * turn, change)


def _refine_shot(
    model: FaceModel,
    seen: Observed,
    motion: Motion,
    person: Person,
    seconds: Floats,
    shot: slice,
    progress: Progress,
) -> Motion:
    """The frames of a shot, in pieces that overlap: a frame is taken from the piece that sees frames on both its sides."""
    done: list[Motion] = []
    for first in range(shot.start, shot.stop, PIECE):
        part = slice(max(shot.start, first - OVERLAP), min(shot.stop, first + PIECE + OVERLAP))
        found = _solve_chain(model, seen.select(part), Fit(person, motion.select(part)), seconds[part])
        wanted = slice(first - part.start, min(shot.stop, first + PIECE) - part.start)
        done.append(found.select(wanted))
        progress(wanted.stop - wanted.start)
    return join_motions(done)


def _solve_chain(model: FaceModel, seen: Observed, fit: Fit, seconds: Floats) -> Motion:
    """Frames that follow each other, fitted to move steadily: as fast as those around do, by the round before."""
    spans = np.diff(seconds)
    for _ in range(DRIFT_ROUNDS):
        drift = _steady(changes(fit.motion), spans)
        paces = make_paces(drift.shape[1], spans)
        fit = minimize(FaceProblem(model, seen, paces, drift), fit, CHAIN_ROUNDS, TOLERANCE)
    return fit.motion


def _steady(change: Floats, spans: Floats) -> Floats:
    """What changes [m, P] of the pose would be at the mean speed of the frames around; expression and gaze may stay as they are.

    Mean speeds over a window would cut short what turns back, so the window's line is fitted by least squares (Savitzky and
    Golay's filter of order 2 for the middle of an even series is that of order 3).
    """
    drift = np.zeros_like(change)
    if len(change) <= 2 * STEADY:
        return drift
    at = np.arange(-STEADY, STEADY + 1)
    window = np.linalg.pinv(np.stack([np.ones_like(at), at, at**2], 1).astype(float))[0]
    speed = np.pad(change[:, :POSE] / spans[:, None], ((STEADY, STEADY), (0, 0)), mode="edge")
    for k, share in enumerate(window):
        drift[:, :POSE] += share * speed[k : k + len(change)]
    return drift * spans[:, None]
