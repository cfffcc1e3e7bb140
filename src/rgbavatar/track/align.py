"""The third pass, over a whole clip: heads are turned and shifted until the pictures of their faces agree with each other.

Landmarks err from frame to frame; a mole does not. So each point of the face gets a mean *appearance*: its detail (see `detail`)
in frames all over the clip, and how far that varies, for lids and lips vary more than a nose. Appearance and poses are found in
turns, from coarse detail to fine (Lucas and Kanade's method, with a mesh in place of a window); then all frames are aligned with
the appearance that was found, a piece of the clip at a time.

Words. L points, n frames. A *correction* [n, 6] turns a head about the face model's centre, and shifts it, in the head's own
axes: radians, then metres. It minimises, with A the appearance, a its spread, and rho(s) = s / (1 + s / k^2),

    1/2 ( sum_l w_l rho((detail_l - A_l)^2 / a_l^2) + |correction|^2 / spread^2 + sum |change from frame to frame|^2 / pace^2 )

What all corrections have in common, no picture tells: the appearance would slide along with it. So that is left at none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.clip import spread_frames
from rgbavatar.track.detail import Bytes, Windows, choose_windows, find_detail, look_up
from rgbavatar.track.fit import PACE_RATE, Fit
from rgbavatar.track.pose import Motion, Person
from rgbavatar.track.solver import solve_chain
from rgbavatar.track.surface import Surface
from rgbavatar.track.turns import turn_between, turn_by

Floats = NDArray[np.float64]
LEVELS = ((0.03, 0.3), (0.015, 0.2))  # blurs that detail lies between, in eye distances
EVIDENCE = 300.0  # independent points that all of them are worth
SPREAD = np.array([np.radians(1.0)] * 3 + [0.003, 0.003, 0.006])  # of corrections; a face's depth is seen the worst
PACE = np.array([np.radians(0.3)] * 3 + [0.0008, 0.0008, 0.0016])  # of their changes, in a frame at PACE_RATE
TELLING = 1.0  # mean detail, in its spreads, from which on an appearance tells poses: faces have 1.6 or more
FAR = 2.5  # k: points that are more spreads off count little
SAMPLE = 240  # frames that appearance is made of
ROUNDS, STEPS = 4, 2  # of appearance and poses in turns, and steps of poses in each
PIECE_STEPS = 4
PIECE, OVERLAP = 400, 30  # frames that are aligned at once, and those around that are looked at along with them
_EDGE, _SQUARE = 0.25, 0.75  # cosines to the camera from which on a point is seen, and in full
_FEWEST = 200.0  # points that have to be seen for the evidence to be full
_STILL, _LEAST = 0.1, 1e-6  # spread that an appearance has at least, and the same of a sum of weights
_AT_ONCE = 32  # frames whose slopes are held at a time

Pictures = Callable[[Iterable[int]], Iterator[tuple[int, np.ndarray]]]
"""Gives the pictures at some positions of the clip, RGB [H, W, 3] uint8, in their order."""


@dataclass(frozen=True)
class Appearance:
    """Of L points at a level of detail. mean [L]; spread [L]; seen [L]: how squarely in all frames together."""

    mean: Floats
    spread: Floats
    seen: Floats


@dataclass(frozen=True)
class _Heads:
    """n frames as they were fitted. places [n, L, 3]: in the head's own axes; rotation [n, 3, 3]; position [n, 3].

    normals [L, 3]; focal, middle [n, 2]: pixels of the cut-outs; details: of each level, [n, S, S].
    """

    places: Floats
    rotation: Floats
    position: Floats
    normals: Floats
    focal: float
    middle: Floats
    details: Sequence[Bytes]


@dataclass(frozen=True)
class _Seen:
    """n heads, corrected. points [n, L, 2]: pixels of the cut-outs; placed [n, L, 3]: in the camera's axes; rotation [n, 3, 3];
    share [n, L]: how squarely each point is seen, 0 to 1."""

    points: Floats
    placed: Floats
    rotation: Floats
    share: Floats


@dataclass(frozen=True)
class _Studio:
    """What all pieces of a clip are aligned with. eye: distance between the eyes in pixels of the cut-outs."""

    surface: Surface
    person: Person
    windows: Windows
    eye: float

    def heads(self, motion: Motion, frames: NDArray[np.int64], cuts: Sequence[Bytes]) -> _Heads:
        """Some frames of a clip. motion: of these; cuts: their cut-outs."""
        return _Heads(
            places=self.surface.place(motion.expression),
            rotation=motion.rotation,
            position=motion.position,
            normals=self.surface.normals,
            focal=self.person.focal * self.windows.scale,
            middle=self.person.middle * self.windows.scale - self.windows.corners[frames],
            details=[np.stack([find_detail(cut, *(self.eye * np.array(level))) for cut in cuts]) for level in LEVELS],
        )


def align_clip(
    surface: Surface,
    fit: Fit,
    eye: float,
    seconds: Floats,
    shots: Sequence[slice],
    pictures: Pictures,
    progress: Callable[[int], None],
) -> Fit:
    """Correct the poses of n frames, unless the face shows too little to tell them by.

    eye: median distance between the eyes, pixels; seconds [n]; shots: runs of frames that follow each other; progress: is told
    how many more frames are done.
    """
    if not len(surface):
        return fit
    windows = choose_windows(*_boxes(surface, fit))
    studio = _Studio(surface, fit.person, windows, eye * windows.scale)
    looks = _learn(studio, fit.motion, pictures)
    if not _tells(looks[-1]):
        progress(len(seconds))
        return fit
    links = _links(seconds, shots)
    found = []
    for wanted, part, cuts in _pieces(_cut_all(windows, pictures, len(seconds)), len(seconds)):
        frames = np.arange(part.start, part.stop)
        heads = studio.heads(fit.motion.select(part), frames, cuts)
        aligned = _align(heads, looks, links[part.start : part.stop - 1])
        found.append(aligned[wanted.start - part.start : wanted.stop - part.start])
        progress(wanted.stop - wanted.start)
    return replace(fit, motion=correct(fit.motion, _centred(np.concatenate(found))))


def correct(motion: Motion, correction: Floats) -> Motion:
    """Turn and shift n heads by corrections [n, 6]."""
    rotation, position = _corrected(motion.rotation, motion.position, correction)
    return replace(motion, rotation=rotation, position=position)


def _corrected(rotation: Floats, position: Floats, correction: Floats) -> tuple[Floats, Floats]:
    """Rotations [n, 3, 3] and positions [n, 3]."""
    shift = np.einsum("nij,nj->ni", rotation, correction[:, 3:])
    return rotation @ turn_by(correction[:, :3]), position + shift


def correction_size(before: Motion, after: Motion) -> tuple[float, float]:
    """Root mean squares of the turns, degrees, and of the shifts, millimetres, between two motions."""
    turn, shift = turn_between(before.rotation, after.rotation), after.position - before.position
    return (
        float(np.degrees(np.sqrt((turn**2).sum(1).mean()))),
        float(1e3 * np.sqrt((shift**2).sum(1).mean())),
    )


def _boxes(surface: Surface, fit: Fit) -> tuple[Floats, Floats]:
    """Corners [n, 2] of the boxes around the points, pixels of the source."""
    low, high = [], []
    for start in range(0, len(fit.motion), _AT_ONCE):
        motion = fit.motion.select(slice(start, start + _AT_ONCE))
        placed = surface.place(motion.expression) @ np.swapaxes(motion.rotation, 1, 2) + motion.position[:, None]
        points = fit.person.focal * placed[..., :2] / placed[..., 2:] + fit.person.middle
        low.append(points.min(1))
        high.append(points.max(1))
    return np.concatenate(low), np.concatenate(high)


def _cut_all(windows: Windows, pictures: Pictures, count: int) -> Iterator[Bytes]:
    return (windows.cut(picture, position) for position, picture in pictures(range(count)))


def _pieces(cuts: Iterator[Bytes], count: int) -> Iterator[tuple[slice, slice, list[Bytes]]]:
    """A clip in pieces: the frames that are wanted of each, those that it has, and their cut-outs."""
    held: list[Bytes] = []
    begin = 0
    for first in range(0, count, PIECE):
        wanted = slice(first, min(first + PIECE, count))
        part = slice(max(0, first - OVERLAP), min(wanted.stop + OVERLAP, count))
        del held[: part.start - begin]
        begin = part.start
        held.extend(islice(cuts, part.stop - part.start - len(held)))
        yield wanted, part, held


def _links(seconds: Floats, shots: Sequence[slice]) -> Floats:
    """How firmly the corrections of frames that follow each other are held together, [n - 1, 6]; 0 between shots."""
    spans = np.maximum(np.diff(seconds) * PACE_RATE, 1e-3)
    links = (spans[:, None] * PACE) ** -2.0
    for shot in shots[1:]:
        links[shot.start - 1] = 0
    return links


def _learn(studio: _Studio, motion: Motion, pictures: Pictures) -> list[Appearance]:
    """The appearance at each level, from frames that differ as much as can be."""
    frames = spread_frames(motion, SAMPLE)
    cuts = [studio.windows.cut(picture, position) for position, picture in pictures(frames.tolist())]
    heads = studio.heads(motion.select(frames), frames, cuts)
    correction = np.zeros((len(frames), 6))
    apart = np.zeros((len(frames) - 1, 6))
    for details in heads.details:
        for _ in range(ROUNDS):
            look = _average(heads, details, correction)
            for _ in range(STEPS):
                correction = _centred(correction + _step(heads, details, look, correction, apart))
    return [_average(heads, details, correction) for details in heads.details]


def _tells(look: Appearance) -> bool:
    """Whether a face has detail of its own: plain skin has none, and what is found there is noise, or the wall behind it."""
    return bool((look.seen * np.abs(look.mean)).sum() > TELLING * (look.seen * look.spread).sum())


def _align(heads: _Heads, looks: Sequence[Appearance], links: Floats) -> Floats:
    """The corrections [n, 6] with which heads agree with an appearance."""
    correction = np.zeros((len(heads.position), 6))
    for details, look in zip(heads.details, looks, strict=True):
        for _ in range(PIECE_STEPS):
            correction = correction + _step(heads, details, look, correction, links)
    return correction


def _centred(correction: Floats) -> Floats:
    return np.asarray(correction - correction.mean(0))


def _see(heads: _Heads, correction: Floats) -> _Seen:
    rotation, position = _corrected(heads.rotation, heads.position, correction)
    placed = heads.places @ np.swapaxes(rotation, 1, 2) + position[:, None]
    points = heads.focal * placed[..., :2] / placed[..., 2:] + heads.middle[:, None]
    normals = heads.normals @ np.swapaxes(rotation, 1, 2)
    facing = -(normals * placed).sum(-1) / np.linalg.norm(placed, axis=-1)
    return _Seen(points, placed, rotation, np.clip((facing - _EDGE) / (_SQUARE - _EDGE), 0, 1))


def _average(heads: _Heads, details: Bytes, correction: Floats) -> Appearance:
    """The mean appearance; what differs from it much, such as a hand before the face, counts little."""
    seen = _see(heads, correction)
    values, _ = look_up(details, seen.points)
    share = seen.share + _LEAST
    mean, spread = _moments(values, share)
    for _ in range(2):
        mean, spread = _moments(values, share * _trust((values - mean) / (spread + _STILL)))
    return Appearance(mean, spread + _STILL, share.sum(0))


def _moments(values: Floats, share: Floats) -> tuple[Floats, Floats]:
    """Mean and standard deviation [L] of values [n, L]."""
    total = share.sum(0)
    mean = (share * values).sum(0) / total
    return mean, np.sqrt((share * (values - mean) ** 2).sum(0) / total)


def _trust(off: Floats) -> Floats:
    """The weight of what is some spreads off, by Geman and McClure's rho."""
    return np.asarray((1 + (off / FAR) ** 2) ** -2)


def _step(heads: _Heads, details: Bytes, look: Appearance, correction: Floats, links: Floats) -> Floats:
    """A step [n, 6] of Gauss and Newton. links [n - 1, 6]."""
    seen = _see(heads, correction)
    values, slopes = look_up(details, seen.points)
    off = (values - look.mean) / look.spread
    weights = seen.share * _trust(off) * (EVIDENCE / np.maximum(seen.share.sum(1, keepdims=True), _FEWEST))
    curved, pull = np.empty((len(off), 6, 6)), np.empty((len(off), 6))
    for start in range(0, len(off), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        rows = _rows(heads, seen, slopes, part) / look.spread[:, None]
        held = np.swapaxes(rows * weights[part, :, None], 1, 2)
        curved[part] = held @ rows
        pull[part] = -(held @ off[part, :, None])[..., 0]
    at, change = np.arange(6), links * np.diff(correction, axis=0)
    curved[:, at, at] += SPREAD**-2.0
    pull -= correction * SPREAD**-2.0
    curved[:-1, at, at] += links
    curved[1:, at, at] += links
    pull[:-1] += change
    pull[1:] -= change
    return solve_chain(curved, links, pull[..., None])[..., 0]


def _rows(heads: _Heads, seen: _Seen, slopes: Floats, part: slice) -> Floats:
    """How the details at points change with some frames' corrections, [m, L, 6]."""
    depth = seen.placed[part, :, 2:]
    away = (slopes[part] * (seen.points[part] - heads.middle[part, None])).sum(-1, keepdims=True)
    camera = np.concatenate((slopes[part] * heads.focal, -away), -1) / depth
    own = camera @ seen.rotation[part]
    return np.concatenate((np.cross(heads.places[part], own), camera @ heads.rotation[part]), -1)
