"""Motions: what a head does over time, as HeadParameters of n frames, and what can be made of them.

The *neutral* frame of a motion shows the face at rest. Transfer between two people is relative to each one's neutral frame: a
tracker's coefficients mean the same change on different faces, not the same face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import nearest_rotation
from rgbavatar.templates.base import HeadParameters

_JAW_WEIGHT = 10.0  # an open mouth of 0.3 rad counts as much as three standard deviations of expression
_LID_WEIGHT = 2.0  # a closed eye counts as much as two of them
_TURN_WEIGHT = 3.0  # a head turned by 20 degrees counts as much as one of them
_WINDOW = 3.0  # standard deviations of a smoothing window on either side
_ROTATIONS = ("neck", "jaw", "eyes", "root")


def find_neutral(motion: HeadParameters) -> int:
    """The frame whose expression is smallest, with the mouth closed, the eyes open, and the head towards the camera.

    The last because turns are transferred too: from a head that was turned already, they would go too far.
    """
    size = motion.expression.norm(dim=1) + _LID_WEIGHT * motion.eyelids.clamp_min(0.0).sum(dim=1)
    size += _JAW_WEIGHT * _angle(motion.jaw) + _TURN_WEIGHT * _angle(motion.root @ motion.neck)
    return int(size.argmin())


def _angle(rotation: Tensor) -> Tensor:
    """By which [..., 3, 3] turns, radians."""
    trace = rotation.diagonal(dim1=-2, dim2=-1).sum(-1)
    return torch.arccos(((trace - 1.0) / 2.0).clamp(-1.0, 1.0))


def transfer(driver: HeadParameters, driver_neutral: int, own_neutral: HeadParameters) -> HeadParameters:
    """What another head does, done by one's own: each parameter changes from one's own neutral frame as it does from the other's.

    driver: n frames. own_neutral: one frame, whose shape and offset are kept. Rotations change by what the driver's turn by, in
    the space of their parent joint (root: of the world). Raises DataError where the driver has more expression coefficients.
    """
    rest = driver.select(slice(driver_neutral, driver_neutral + 1))
    missing = own_neutral.expression.shape[1] - driver.expression.shape[1]
    if missing < 0:
        raise DataError(
            f"the driver has {driver.expression.shape[1]} expression coefficients, expected at most "
            f"{own_neutral.expression.shape[1]} as the avatar's subject has"
        )
    change = torch.nn.functional.pad(driver.expression - rest.expression, (0, missing))
    turned = {name: getattr(driver, name) @ getattr(rest, name).mT @ getattr(own_neutral, name) for name in _ROTATIONS}
    return replace(
        driver,
        shape=own_neutral.shape,
        offset=own_neutral.offset,
        expression=own_neutral.expression + change,
        eyelids=(own_neutral.eyelids + driver.eyelids - rest.eyelids).clamp(0.0, 1.0),
        translation=own_neutral.translation + driver.translation - rest.translation,
        **turned,
    )


def place_as(motion: HeadParameters, driver: HeadParameters) -> HeadParameters:
    """The same faces where another motion has its head: its root and translation."""
    return replace(motion, root=driver.root, translation=driver.translation)


def smooth(motion: HeadParameters, frames: float) -> HeadParameters:
    """Average over time with a Gaussian window of a standard deviation of `frames`; at the ends, over what there is."""
    if frames <= 0.0 or len(motion) == 1:
        return motion
    times = torch.arange(len(motion), dtype=torch.float64)
    distance = (times[:, None] - times[None]) / frames
    weights = torch.exp(-0.5 * distance * distance) * (distance.abs() <= _WINDOW)
    return _mix(motion, weights / weights.sum(dim=1, keepdim=True))


def interpolate(motion: HeadParameters, stops: Sequence[int], frames: int) -> HeadParameters:
    """From each of the frames `stops` to the next in `frames` equal steps, ending with the last stop."""
    legs = len(stops) - 1
    weights = torch.zeros(legs * frames + 1, len(motion), dtype=torch.float64)
    for step in range(legs * frames + 1):
        leg = min(step // frames, legs - 1)
        share = step / frames - leg
        weights[step, stops[leg]] += 1.0 - share
        weights[step, stops[leg + 1]] += share
    return _mix(motion, weights)


def _mix(motion: HeadParameters, weights: Tensor) -> HeadParameters:
    """Weighted means of the frames. weights [m, n] float64, rows of sum 1. Returns m frames."""

    def mean(tensor: Tensor) -> Tensor:
        return (weights @ tensor.double().flatten(1)).unflatten(1, tensor.shape[1:])

    mixed = {name: mean(getattr(motion, name)) for name in ("expression", "eyelids", "translation")}
    return replace(motion, **mixed, **{name: nearest_rotation(mean(getattr(motion, name))) for name in _ROTATIONS})


def check_frame_numbers(numbers: Sequence[int], wanted: Sequence[int], option: str) -> list[int]:
    """Where the wanted frame numbers stand among `numbers`. Raises DataError naming the option."""
    places = {number: place for place, number in enumerate(numbers)}
    for number in wanted:
        if number not in places:
            raise DataError(f"{option}: found no frame {number}, expected one of {min(numbers)} to {max(numbers)}")
    return [places[number] for number in wanted]
