"""How heads are corrected by their pictures, and the step that does it.

L points, n frames, E expressions, P = 6 + E. A *correction* [n, P] turns a head about the face model's centre and shifts it, in
the head's own axes (radians, then metres), and changes its expression, which stays within 0 and 1. With A the appearance, a its
spread, and rho as in `appearance`, it minimises

    1/2 ( sum_l w_l rho((detail_l - A_l)^2 / a_l^2) + |correction|^2 / spread^2 + sum |change from frame to frame|^2 / pace^2 )
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.appearance import Appearance, learn_appearance, trust
from rgbavatar.track.detail import Bytes, look_up
from rgbavatar.track.fit import PACE_RATE, may_move
from rgbavatar.track.pose import POSE, Motion, along, place, see
from rgbavatar.track.solver import System, add_links, solve
from rgbavatar.track.surface import Surface
from rgbavatar.track.turns import turn_between, turn_by

Floats = NDArray[np.float64]
EVIDENCE = 300.0  # independent points that all of them are worth
SPREAD = np.array(
    [np.radians(1.0)] * 3 + [0.003, 0.003, 0.006]
)  # of corrections of poses; a face's depth is seen the worst
PACE = np.array([np.radians(0.3)] * 3 + [0.0008, 0.0008, 0.0016])  # of their changes, in a frame at PACE_RATE
EXPRESSION_SPREAD, EXPRESSION_PACE = 0.35, 0.1  # the same of expressions
_EDGE, _SQUARE = 0.25, 0.75  # cosines to the camera from which on a point is seen, and in full
_FEWEST = 200.0  # points that have to be seen for the evidence to be full
_AT_ONCE = 16  # frames whose slopes are held at a time


@dataclass(frozen=True)
class Heads:
    """n frames as they were fitted. focal, middle [n, 2]: pixels of the cut-outs; details: of each level, [n, S, S]."""

    surface: Surface
    motion: Motion
    focal: float
    middle: Floats
    details: Sequence[Bytes]

    @property
    def width(self) -> int:
        """Numbers of a correction."""
        return POSE + self.motion.expression.shape[1]


@dataclass(frozen=True)
class _Seen:
    """n heads, corrected. places [n, L, 3]: in the head's own axes; placed [n, L, 3]: in the camera's.

    points [n, L, 2]: pixels of the cut-outs; share [n, L]: how squarely each point is seen, 0 to 1.
    """

    motion: Motion
    places: Floats
    placed: Floats
    points: Floats
    share: Floats


def correct(motion: Motion, correction: Floats) -> Motion:
    """Turn, shift and change n heads by corrections [n, P]."""
    return replace(
        motion,
        rotation=motion.rotation @ turn_by(correction[:, :3]),
        position=motion.position + np.einsum("nij,nj->ni", motion.rotation, correction[:, 3:POSE]),
        expression=np.clip(motion.expression + correction[:, POSE:], 0.0, 1.0),
    )


def correction_size(before: Motion, after: Motion) -> tuple[float, float, float]:
    """Root mean squares between two motions: of the turns, degrees, of the shifts, millimetres, and of the expressions."""
    turn, shift = turn_between(before.rotation, after.rotation), after.position - before.position
    return (
        float(np.degrees(np.sqrt((turn**2).sum(1).mean()))),
        float(1e3 * np.sqrt((shift**2).sum(1).mean())),
        float(np.sqrt(((after.expression - before.expression) ** 2).mean())),
    )


def center(correction: Floats) -> Floats:
    """Take away what corrections have in common: the mean of the poses, and the median of the expressions, for these rest at most
    times."""
    common = np.concatenate((correction[:, :POSE].mean(0), np.median(correction[:, POSE:], 0)))
    return np.asarray(correction - common)


def links_between(spans: Floats, width: int) -> Floats:
    """How firmly corrections are held together over spans of seconds [m], [m, width]."""
    pace = np.concatenate((PACE, np.full(width - POSE, EXPRESSION_PACE)))
    return np.asarray((np.maximum(spans * PACE_RATE, 1e-3)[:, None] * pace) ** -2.0)


def average(heads: Heads, level: int, correction: Floats) -> Appearance:
    """The appearance of corrected heads at a level of detail."""
    seen = _see(heads, correction)
    values, _ = look_up(heads.details[level], seen.points)
    return learn_appearance(values, seen.share, seen.motion.rotation)


def step(heads: Heads, level: int, look: Appearance, correction: Floats, links: Floats) -> Floats:
    """The corrections [n, P] after a step of Gauss and Newton. links [n - 1, P]."""
    seen = _see(heads, correction)
    values, slopes = look_up(heads.details[level], seen.points)
    off = (values - look.expected(seen.motion.rotation)) / look.spread
    full = EVIDENCE / np.maximum(seen.share.sum(1, keepdims=True), _FEWEST)
    curved, pull = _normal_equations(heads, seen, slopes / look.spread[:, None], off, seen.share * trust(off) * full)
    _add_priors(correction, links, curved, pull)
    free = np.ones(pull.shape, bool)
    free[:, POSE:] = may_move(seen.motion.expression, pull[:, POSE:])
    none = np.zeros((len(pull), heads.width, 0))
    moved, _ = solve(System(curved, links, none, np.zeros((0, 0)), pull, np.zeros(0), free), 0.0)
    return _bounded(heads.motion, correction + moved)


def _bounded(motion: Motion, correction: Floats) -> Floats:
    """Corrections that go no farther than expressions can."""
    return np.concatenate(
        (correction[:, :POSE], np.clip(motion.expression + correction[:, POSE:], 0.0, 1.0) - motion.expression), 1
    )


def _see(heads: Heads, correction: Floats) -> _Seen:
    motion = correct(heads.motion, correction)
    places = heads.surface.place(motion.expression)
    placed = place(motion, places)
    points = see(heads.focal, heads.middle[:, None], placed)
    normals = heads.surface.normals @ np.swapaxes(motion.rotation, 1, 2)
    facing = -(normals * placed).sum(-1) / np.linalg.norm(placed, axis=-1)
    return _Seen(motion, places, placed, points, np.clip((facing - _EDGE) / (_SQUARE - _EDGE), 0, 1))


def _normal_equations(heads: Heads, seen: _Seen, slopes: Floats, off: Floats, weights: Floats) -> tuple[Floats, Floats]:
    """Of the details alone: [n, P, P], and minus the gradient [n, P]."""
    curved, pull = np.empty((len(off), heads.width, heads.width)), np.empty((len(off), heads.width))
    for start in range(0, len(off), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        rows = _rows(heads, seen, slopes, part)
        held = np.swapaxes(rows * weights[part, :, None], 1, 2)
        curved[part] = held @ rows
        pull[part] = -(held @ off[part, :, None])[..., 0]
    return curved, pull


def _add_priors(correction: Floats, links: Floats, curved: Floats, pull: Floats) -> None:
    at = np.arange(correction.shape[1])
    spread = np.concatenate((SPREAD, np.full(correction.shape[1] - POSE, EXPRESSION_SPREAD)))
    curved[:, at, at] += spread**-2.0
    pull -= correction * spread**-2.0
    add_links(curved, pull, links, np.diff(correction, axis=0))


def _rows(heads: Heads, seen: _Seen, slopes: Floats, part: slice) -> Floats:
    """How the details at points change with some frames' corrections, [m, L, P]."""
    depth = seen.placed[part, :, 2:]
    away = (slopes[part] * (seen.points[part] - heads.middle[part, None])).sum(-1, keepdims=True)
    camera = np.concatenate((slopes[part] * heads.focal, -away), -1) / depth
    own = camera @ seen.motion.rotation[part]
    return np.concatenate(
        (
            np.cross(seen.places[part], own),
            camera @ heads.motion.rotation[part],
            along(own, heads.surface.expression_columns),
        ),
        -1,
    )
