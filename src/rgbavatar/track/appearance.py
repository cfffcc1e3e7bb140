"""What a face looks like wherever it is: the detail that each of its points shows, learnt from many frames.

L points, n frames. How light falls on a nose changes as the head turns, and so does what a mesh that is not quite the person's
shows of it. So the detail of a point is a line over turns v from the head's mean rotation, found by least squares,

    detail_l(v) = level_l + slopes_l . v

with slopes held near none, so that a point that is seen from one side alone has hardly any. What differs from it much, such as a
hand before the face, counts little, by Geman and McClure's rho(s) = s / (1 + s / k^2).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from rgbavatar.geometry.rotation import nearest_rotation
from rgbavatar.track.turns import turn_between

Floats = NDArray[np.float64]
TELLING = (
    1.0  # mean detail, in its spreads, from which on an appearance tells poses: faces have more, plain skin has less
)
FAR = 2.5  # k, in spreads
_TURN = np.radians(8.0)  # a usual turn from the mean rotation
_HELD = 5.0  # frames that hold slopes near none, of usual turns
_REFITS = 2  # with what differs much counting little
_STILL, _LEAST = 0.1, 1e-6  # spread that an appearance has at least, and the same of a sum of weights


@dataclass(frozen=True)
class Appearance:
    """Of L points. middle [3, 3]: the mean rotation; lines [L, 4]: level, and slopes for each usual turn about three axes.

    spread [L]: of what was seen about the lines; seen [L]: how squarely in all frames together.
    """

    middle: Floats
    lines: Floats
    spread: Floats
    seen: Floats

    def expected(self, rotation: Floats) -> Floats:
        """The detail [n, L] of heads turned by rotation [n, 3, 3]."""
        return np.asarray(_terms(self.middle, rotation) @ self.lines.T)

    @property
    def tells(self) -> bool:
        """Whether the face has detail of its own: plain skin has none; what is found there is noise, or the wall behind."""
        return bool((self.seen * np.abs(self.lines[:, 0])).sum() > TELLING * (self.seen * self.spread).sum())


def learn_appearance(values: Floats, share: Floats, rotation: Floats) -> Appearance:
    """From details [n, L] of heads turned by rotation [n, 3, 3]. share [n, L]: how squarely each was seen, 0 to 1."""
    middle = mean_rotation(rotation)
    terms, seen = _terms(middle, rotation), share + _LEAST
    weights = seen
    for _ in range(1 + _REFITS):
        lines = _fit_lines(terms, values, weights)
        off = values - terms @ lines.T
        spread = np.sqrt((weights * off**2).sum(0) / weights.sum(0)) + _STILL
        weights = seen * trust(off / spread)
    return Appearance(middle, lines, spread, seen.sum(0))


def trust(off: Floats) -> Floats:
    """The weight of what is some spreads off."""
    return np.asarray((1 + (off / FAR) ** 2) ** -2)


def mean_rotation(rotation: Floats) -> Floats:
    """The rotation [3, 3] that is nearest to all of rotation [n, 3, 3], by least squares."""
    return nearest_rotation(torch.from_numpy(rotation.mean(0))).numpy()


def _terms(middle: Floats, rotation: Floats) -> Floats:
    """What lines are made of, [n, 4]: 1, and turns from the mean rotation."""
    turns = turn_between(np.broadcast_to(middle, rotation.shape), rotation) / _TURN
    return np.concatenate((np.ones((len(turns), 1)), turns), 1)


def _fit_lines(terms: Floats, values: Floats, weights: Floats) -> Floats:
    """Lines [L, 4] through values [n, L]."""
    products = (terms[:, :, None] * terms[:, None, :]).reshape(len(terms), -1)
    curved = (weights.T @ products).reshape(-1, 4, 4)
    curved[:, [1, 2, 3], [1, 2, 3]] += _HELD
    return np.asarray(np.linalg.solve(curved, ((weights * values).T @ terms)[..., None])[..., 0])
