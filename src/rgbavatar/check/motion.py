"""What is wrong with tracked parameters over time: jumps, values that no face has, parts that were not tracked.

The *departure* of a frame is its distance from the middle of its two neighbours. Smooth motion has small departures however
fast it is; a frame where the tracker slipped, or a cut in the video, has a large one.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from rgbavatar.check.findings import Finding, name_numbers, note, problem, warning
from rgbavatar.check.timeline import first_of_moments
from rgbavatar.datasets.tracking import Tracking
from rgbavatar.geometry.rotation import nearest_rotation
from rgbavatar.templates.base import HeadParameters, HeadTemplate

JUMP = 12.0  # robust standard deviations (1.4826 times the median absolute deviation) above the median departure
MIN_SHIFT = 0.006  # metres: departures below these are no jumps, however still the rest is
MIN_TURN = 0.03  # radians
MIN_CHANGE = 1.0  # of expression coefficients
FAR_OUT = 6.0  # of an expression coefficient, which is in standard deviations of the model
STILL_TURN = 0.05  # radians: a head that turns less all in all shows one side
DEGREES = 57.29578  # in a radian
_CONSTANT = 1e-6


def judge_motion(tracking: Tracking, template: HeadTemplate) -> list[Finding]:
    """Findings on all tracked frames of a subject."""
    moments = first_of_moments(tracking)
    motion, numbers = tracking.motion.select(moments), [tracking.numbers[i] for i in moments.tolist()]
    if len(motion) < 3:
        return []
    times = numbers if tracking.moments is None else sorted(set(tracking.moments))
    return [
        *_judge_jumps(motion, numbers, times),
        *_judge_expression(motion, numbers),
        *_judge_parts(motion, template),
        *_judge_turns(motion),
    ]


def _judge_jumps(motion: HeadParameters, numbers: Sequence[int], times: Sequence[int]) -> list[Finding]:
    """numbers [n]: of the frames, for messages; times [n]: rising, with gaps where frames are missing."""
    step = torch.tensor(times).diff()
    inner = torch.nonzero(step[1:] == step[:-1])[:, 0]  # i, of which i, i + 1 and i + 2 follow each other
    series = (
        ("position", "the head's position", _departures(motion.translation), MIN_SHIFT, 1e3, "mm"),
        ("rotation", "the head's rotation", _turn_departures(motion.root @ motion.neck), MIN_TURN, DEGREES, "degrees"),
        ("expression", "the expression", _departures(motion.expression), MIN_CHANGE, 1.0, "standard deviations"),
    )
    found = []
    for name, what, departures, least, unit, units in series:
        places, largest = find_jumps(departures[inner], inner + 1, least)
        if places:
            where = name_numbers([numbers[place] for place in places])
            text = f"{what} jumps at frames {where}, by up to {largest * unit:.3g} {units}"
            found.append(warning(f"jump-{name}", text, "track these frames again, or cut the sequence there"))
    return found


def _departures(values: Tensor) -> Tensor:
    """Of vectors [n, D]: [n - 2], the first of the second frame."""
    return (values[1:-1] - (values[:-2] + values[2:]) / 2).norm(dim=1)


def _turn_departures(rotation: Tensor) -> Tensor:
    """Of rotations [n, 3, 3]: [n - 2] radians."""
    middle = nearest_rotation((rotation[:-2] + rotation[2:]) / 2)
    return _angles(rotation[1:-1] @ middle.mT)


def _angles(rotation: Tensor) -> Tensor:
    """By how much rotations [n, 3, 3] turn, radians; exact for small ones, unlike an arc cosine of the trace."""
    return 2 * torch.arcsin(((rotation - torch.eye(3).to(rotation)).flatten(1).norm(dim=1) / 8**0.5).clamp_max(1.0))


def find_jumps(departures: Tensor, places: Tensor, least: float) -> tuple[list[int], float]:
    """Frames whose departure stands out: their positions, rising, and the largest departure.

    departures, places [m]: of frames at rising positions; least: what a jump has.
    """
    if not len(departures):
        return [], 0.0
    median = departures.median()
    limit = max(least, (median + JUMP * 1.4826 * (departures - median).abs().median()).item())
    padded = torch.nn.functional.pad(departures, (1, 1))
    peak = (departures >= padded[:-2]) & (departures > padded[2:])  # its neighbours depart by half of it
    return places[(departures > limit) & peak].tolist(), departures.max().item()


def _judge_expression(motion: HeadParameters, numbers: Sequence[int]) -> list[Finding]:
    values = motion.expression
    if (values == 0).all():
        found = "all expression coefficients are zero in all frames: the avatar could not move its face"
        return [
            problem("expression-zero", found, "track with expressions, or look for another key in the tracker's output")
        ]
    if _is_constant(values):
        found = "the expression is the same in all frames: it was not tracked, or one frame was exported over and over"
        return [problem("expression-constant", found, "track the expression of each frame")]
    size = values.abs().amax(1)
    beyond = [numbers[i] for i in torch.nonzero(size > FAR_OUT)[:, 0].tolist()]
    low, high = values.min().item(), values.max().item()
    if beyond:
        found = f"expression coefficients reach {size.max():.1f}, beyond {FAR_OUT:g}, in frames {name_numbers(beyond)}"
        return [
            warning("expression-range", found, "look at these frames: the tracker bends the face beyond what faces do")
        ]
    return [note("expression-range", f"expression coefficients lie between {low:.2f} and {high:.2f}")]


def _judge_parts(motion: HeadParameters, template: HeadTemplate) -> list[Finding]:
    """Parts that the template can move and the tracking does not."""
    parts = (
        ("jaw", motion.jaw, "the jaw does not move: the mouth opens by expression alone, if at all"),
        ("eyelids", motion.eyelids, "the eyelids do not move: blinks are learned from expression alone, if at all"),
        ("eyes", motion.eyes, "the eyes do not move: they cannot be steered"),
    )
    return [
        warning(f"{name}-constant", found, "track it, or go without")
        for name, values, found in parts
        if name in template.code_layout and _is_constant(values)
    ]


def _judge_turns(motion: HeadParameters) -> list[Finding]:
    rotation = motion.root @ motion.neck
    turn = _angles(rotation @ rotation[:1].mT).max().item()
    if turn > STILL_TURN:
        return []
    found = f"the head turns by {DEGREES * turn:.1f} degrees all in all: its sides will be guesses"
    return [warning("head-still", found, "record turns of the head to both sides")]


def _is_constant(values: Tensor) -> bool:
    return bool((values - values[:1]).abs().max() <= _CONSTANT)
