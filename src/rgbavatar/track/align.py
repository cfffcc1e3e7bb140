"""The third pass, over a whole clip: heads and expressions are corrected until the pictures of a face agree with each other.

Landmarks err from frame to frame, and some expressions they hardly see; a mole goes where the skin does. So each point of the
face gets an *appearance*: its detail (see `detail`) in frames all over the clip, and how far that varies, for lids and lips vary
more than a nose. Appearance and corrections are found in turns, from coarse detail to fine (Lucas and Kanade's method, with a
mesh in place of a window); then all frames are aligned with the appearance that was found, a piece of the clip at a time.

What all corrections have in common, no picture tells: the appearance would slide along with it. So that is left at none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.appearance import Appearance
from rgbavatar.track.clip import spread_frames
from rgbavatar.track.corrections import Heads, average, center, correct, links_between, step
from rgbavatar.track.detail import Bytes, Windows, choose_windows, find_detail
from rgbavatar.track.fit import Fit
from rgbavatar.track.pose import POSE, Motion, Person, place, see
from rgbavatar.track.surface import Surface

Floats = NDArray[np.float64]
LEVELS = ((0.03, 0.3), (0.015, 0.2), (0.0075, 0.12))  # blurs that detail lies between, in eye distances
SAMPLE = 240  # frames that appearance is made of
ROUNDS, STEPS = 4, 2  # of appearance and corrections in turns, and steps of corrections in each
PIECE_STEPS = 4
PIECE, OVERLAP = 400, 30  # frames that are aligned at once, and those around that are looked at along with them
_AT_ONCE = 32  # frames whose points are held at a time

Pictures = Callable[[Iterable[int]], Iterator[tuple[int, np.ndarray]]]
"""Gives the pictures at some positions of the clip, RGB [H, W, 3] uint8, in their order."""


@dataclass(frozen=True)
class _Studio:
    """What all pieces of a clip are aligned with. eye: distance between the eyes in pixels of the cut-outs."""

    surface: Surface
    person: Person
    windows: Windows
    eye: float

    def heads(self, motion: Motion, frames: NDArray[np.int64], cuts: Sequence[Bytes]) -> Heads:
        """Some frames of a clip. motion: of these; cuts: their cut-outs."""
        return Heads(
            surface=self.surface,
            motion=motion,
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
    """Correct poses and expressions of n frames, unless the face shows too little to tell them by.

    eye: median distance between the eyes, pixels; seconds [n]; shots: runs of frames that follow each other; progress: is told
    how many more frames are done.
    """
    if not len(surface):
        return fit
    windows = choose_windows(*_boxes(surface, fit))
    studio = _Studio(surface, fit.person, windows, eye * windows.scale)
    looks = _learn(studio, fit.motion, pictures)
    if not looks[-1].tells:
        progress(len(seconds))
        return fit
    links = _links(seconds, shots, POSE + fit.motion.expression.shape[1])
    found = []
    for wanted, part, cuts in _pieces(_cut_all(windows, pictures, len(seconds)), len(seconds)):
        frames = np.arange(part.start, part.stop)
        heads = studio.heads(fit.motion.select(part), frames, cuts)
        aligned = _align(heads, looks, links[part.start : part.stop - 1])
        found.append(aligned[wanted.start - part.start : wanted.stop - part.start])
        progress(wanted.stop - wanted.start)
    return replace(fit, motion=correct(fit.motion, center(np.concatenate(found))))


def _boxes(surface: Surface, fit: Fit) -> tuple[Floats, Floats]:
    """Corners [n, 2] of the boxes around the points, pixels of the source."""
    low, high = [], []
    for start in range(0, len(fit.motion), _AT_ONCE):
        motion = fit.motion.select(slice(start, start + _AT_ONCE))
        points = see(fit.person.focal, fit.person.middle, place(motion, surface.place(motion.expression)))
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


def _links(seconds: Floats, shots: Sequence[slice], width: int) -> Floats:
    """How firmly the corrections of frames that follow each other are held together, [n - 1, width]; 0 between shots."""
    links = links_between(np.diff(seconds), width)
    for shot in shots[1:]:
        links[shot.start - 1] = 0
    return links


def _learn(studio: _Studio, motion: Motion, pictures: Pictures) -> list[Appearance]:
    """The appearance at each level, from frames that differ as much as can be."""
    frames = spread_frames(motion, SAMPLE)
    cuts = [studio.windows.cut(picture, position) for position, picture in pictures(frames.tolist())]
    heads = studio.heads(motion.select(frames), frames, cuts)
    correction = np.zeros((len(frames), heads.width))
    apart = np.zeros((len(frames) - 1, heads.width))
    for level in range(len(LEVELS)):
        for _ in range(ROUNDS):
            look = average(heads, level, correction)
            for _ in range(STEPS):
                correction = center(step(heads, level, look, correction, apart))
    return [average(heads, level, correction) for level in range(len(LEVELS))]


def _align(heads: Heads, looks: Sequence[Appearance], links: Floats) -> Floats:
    """The corrections [n, P] with which heads agree with the appearance at all levels."""
    correction = np.zeros((len(heads.motion), heads.width))
    for level, look in enumerate(looks):
        for _ in range(PIECE_STEPS):
            correction = step(heads, level, look, correction, links)
    return correction
