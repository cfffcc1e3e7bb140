"""Poses of the head that a page can show, and the recorded frames of a subject, changed by sliders.

*Offsets* are what sliders add to a frame: to expression and eyelids as numbers, to rotations as a turn in the space of the
joint's parent. Symbols: n frames, V vertices, C code entries.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.features import compute_features
from rgbavatar.datasets.tracking import Tracking
from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.templates.base import HeadParameters, HeadTemplate

_BLOCK = 16  # frames posed at a time when they are played: the person's rest mesh, a third of the work, is made once
_KEPT = 512  # poses held, some 30 MB

Turn = tuple[float, float, float]


@dataclass(frozen=True)
class Offsets:
    """Changes to a frame. expression: of the first coefficients. jaw, neck, eyes (of both): axis times angle, radians."""

    expression: tuple[float, ...] = ()
    jaw: Turn = (0.0, 0.0, 0.0)
    neck: Turn = (0.0, 0.0, 0.0)
    eyes: Turn = (0.0, 0.0, 0.0)
    eyelids: tuple[float, float] = (0.0, 0.0)

    @property
    def are_zero(self) -> bool:
        return not any((*self.expression, *self.jaw, *self.neck, *self.eyes, *self.eyelids))


AS_RECORDED = Offsets()


@dataclass(frozen=True)
class Pose:
    """code [1, C] and vertices [1, V, 3] (metres), float32 on the CPU; camera [1]: the tracked one.

    taken: when the picture was taken that it is of, seconds of time.perf_counter; None where that was long ago.
    """

    number: int
    code: Tensor
    vertices: Tensor
    camera: Camera
    taken: float | None = None


@runtime_checkable
class CameraSight(Protocol):
    """What a camera sees whose pictures are used at once. May be asked in any thread."""

    def camera_picture(self) -> np.ndarray | None:
        """uint8 [H, W, 3], as wide as the controls; another array when another has come."""
        ...

    def camera_status(self) -> Mapping[str, str]:
        """How it goes, by name."""
        ...


class PoseSource(Protocol):
    """Frames to show. numbers: those in their file names, ascending; empty where there is only a newest one.

    expression_count: coefficients that offsets can change; 0 where a frame cannot be posed anew. expression_names: theirs, where
    they have some. joints: of jaw, eyes and eyelids, those that the template has.
    """

    @property
    def numbers(self) -> Sequence[int]: ...

    @property
    def expression_count(self) -> int: ...

    @property
    def expression_names(self) -> Sequence[str]: ...

    @property
    def joints(self) -> frozenset[str]: ...

    @property
    def codes(self) -> Tensor:
        """Those of all frames [n, C], float32; none where they are not known."""

    def pose(self, position: int, offsets: Offsets) -> Pose | None:
        """The frame at a position among `numbers`, changed; None where no frame has come yet."""


def apply_offsets(motion: HeadParameters, offsets: Offsets, template: HeadTemplate) -> HeadParameters:
    """The frames with the offsets added to each of them. All-zero offsets change nothing, to the bit."""
    missing = motion.expression.shape[1] - len(offsets.expression)
    change = torch.nn.functional.pad(motion.expression.new_tensor(offsets.expression), (0, missing))
    if any(offsets.neck):
        motion = template.turn_head(motion, axis_angle_to_rotation(motion.neck.new_tensor(offsets.neck)))
    return replace(
        motion,
        expression=motion.expression + change,
        jaw=_turn(motion.jaw, offsets.jaw),
        eyes=_turn(motion.eyes, offsets.eyes),
        eyelids=motion.eyelids + motion.eyelids.new_tensor(offsets.eyelids),
    )


def _turn(rotation: Tensor, by: Turn) -> Tensor:
    return axis_angle_to_rotation(rotation.new_tensor(by)) @ rotation


class RecordedPoses:
    """The tracked frames of a subject, posed with its template when they are asked for. For one thread."""

    def __init__(self, tracking: Tracking, template: HeadTemplate) -> None:
        self._tracking = tracking
        self._template = template
        self._held: OrderedDict[tuple[int, Offsets], Pose] = OrderedDict()

    @property
    def numbers(self) -> Sequence[int]:
        return self._tracking.numbers

    @property
    def expression_count(self) -> int:
        return self._tracking.motion.expression.shape[1]

    @property
    def expression_names(self) -> Sequence[str]:
        return self._template.expression_names

    @property
    def joints(self) -> frozenset[str]:
        return frozenset({"jaw", "eyes", "eyelids"} & self._template.code_layout.keys())

    @property
    def codes(self) -> Tensor:
        return self._template.encode(self._template.retarget(self._tracking.motion)).float()

    def pose(self, position: int, offsets: Offsets) -> Pose:
        if (position, offsets) not in self._held:
            start = position - position % _BLOCK if offsets.are_zero else position
            stop = min(start + _BLOCK, len(self.numbers)) if offsets.are_zero else position + 1
            self._make(start, stop, offsets)
        return self._held[position, offsets]

    def _make(self, start: int, stop: int, offsets: Offsets) -> None:
        motion = apply_offsets(self._tracking.motion.select(slice(start, stop)), offsets, self._template)
        vertices, codes = compute_features(self._template, motion)
        cameras = self._tracking.camera
        for i, position in enumerate(range(start, stop)):
            camera = cameras.at(position if len(cameras) > 1 else 0)
            pose = Pose(self.numbers[position], codes[i : i + 1], vertices[i : i + 1], camera)
            self._held[position, offsets] = pose
        while len(self._held) > _KEPT:
            self._held.popitem(last=False)
