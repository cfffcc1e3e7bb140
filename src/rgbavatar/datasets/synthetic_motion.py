"""How the synthetic head moves: smooth, deterministic, and near what a person in front of a webcam does.

Times are in seconds, 25 frames each; angles in radians; head axes are the template's: x to the head's left, y up, z out of
the face. A *wave* is a sum of three sines of random periods and phases, within [-1, 1].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.templates.base import HeadParameters

FRAMES_PER_SECOND = 25.0
MAX_TURN = math.radians(12), math.radians(25), math.radians(8)  # about x (nod), y (shake), z (tilt)
MAX_GAZE = math.radians(7), math.radians(14)  # up or down, sideways
MAX_JAW = 0.32  # radians, mouth well open
MAX_SHIFT = 0.012, 0.008, 0.03  # metres, along x, y and z
MOVED_EXPRESSIONS, EXPRESSION_SIZE = 13, 1.2  # coefficients that move, and how far, in standard deviations
NAMED_SHAPES, SHAPE_SIZE = 10, 0.5
BLINK_SECONDS, BLINK_PAUSE = 0.32, (0.8, 2.2)

_SINE_SHARES = torch.tensor([0.62, 0.26, 0.12], dtype=torch.float64)
_SINE_PERIODS = (3.0, 5.0), (1.4, 2.4), (0.8, 1.2)  # seconds


def make_motion(frames: int, seed: int, num_shape: int, num_expression: int) -> HeadParameters:
    """Parameters of `frames` frames of one person, drawn from `seed`; root and translation are relative to a rest pose.

    root turns the head about its axes; translation is a small shift in metres. The longer of two motions of one seed begins
    like the shorter.
    """
    random = torch.Generator().manual_seed(seed)
    shape, expression = torch.zeros(num_shape).double(), torch.zeros(frames, num_expression).double()
    shape[:NAMED_SHAPES] = SHAPE_SIZE * torch.randn(NAMED_SHAPES, generator=random).double()
    turn, shift, gaze, talk = (_waves(frames, count, random) for count in (3, 3, 2, 2))
    expression[:, :MOVED_EXPRESSIONS] = EXPRESSION_SIZE * _waves(frames, MOVED_EXPRESSIONS, random)
    eyes = _about_axes(torch.cat((gaze * torch.tensor(MAX_GAZE), torch.zeros(frames, 1)), 1))
    jaw_angle = MAX_JAW * talk[:, :1].clamp_min(0) * (0.6 + 0.4 * talk[:, 1:])
    return HeadParameters(
        shape=shape,
        expression=expression,
        neck=torch.eye(3, dtype=torch.float64).repeat(frames, 1, 1),
        jaw=_about_axes(torch.cat((jaw_angle, torch.zeros(frames, 2)), 1)),
        eyes=eyes[:, None].repeat(1, 2, 1, 1),
        eyelids=_blinks(frames, random)[:, None].repeat(1, 2),
        root=_about_axes(turn * torch.tensor(MAX_TURN)),
        translation=shift * torch.tensor(MAX_SHIFT),
    )


def _waves(frames: int, count: int, random: torch.Generator) -> Tensor:
    """`count` waves, [frames, count] float64."""
    low, high = torch.tensor(_SINE_PERIODS, dtype=torch.float64).unbind(1)
    periods = low + (high - low) * torch.rand(count, 3, generator=random, dtype=torch.float64)
    phases = 2 * math.pi * torch.rand(count, 3, generator=random, dtype=torch.float64)
    times = torch.arange(frames, dtype=torch.float64)[:, None, None] / FRAMES_PER_SECOND
    return torch.sin(2 * math.pi * times / periods + phases) @ _SINE_SHARES


def _about_axes(angles: Tensor) -> Tensor:
    """Turn about z (angles[..., 2]), then x ([..., 0]), then y ([..., 1]). [n, 3]. Returns [n, 3, 3] float64."""
    about_x, about_y, about_z = (axis_angle_to_rotation(part) for part in torch.diag_embed(angles.double()).unbind(-2))
    return about_y @ about_x @ about_z


def _blinks(frames: int, random: torch.Generator) -> Tensor:
    """How far both lids are closed, [frames] in [0, 1]: single blinks with random pauses between."""
    times = torch.arange(frames, dtype=torch.float64) / FRAMES_PER_SECOND
    closed, start = torch.zeros_like(times), 0.0
    while start < frames / FRAMES_PER_SECOND:
        start += BLINK_PAUSE[0] + (BLINK_PAUSE[1] - BLINK_PAUSE[0]) * torch.rand((), generator=random).item()
        phase = ((times - start) / BLINK_SECONDS).clamp(0, 1)
        closed += torch.sin(math.pi * phase) ** 2
        start += BLINK_SECONDS
    return closed
