"""A video of the free head in front of a room, with the truth of it: what a tracker is measured against.

A person drawn from the template's identity modes looks about and makes faces: now and then one of `FACES` comes and goes, two or
three at a time as in talk, alike on both sides; eyes blink and wander. Lengths in metres, OpenCV's axes, 30 frames a second.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rgbavatar.datasets.features import WORLD_TO_OPENCV, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.synthetic_render import Head, Look, prepare_head, render_head
from rgbavatar.geometry.rotation import rotation_to_rot6d
from rgbavatar.templates.base import neutral_parameters
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.templates.free_head_texture import Complexion, paint_free_head
from rgbavatar.track.pose import eye_rotations
from rgbavatar.track.turns import turn_by

Floats = NDArray[np.float64]
RATE = 30.0
FOCAL, DISTANCE = 1.8, 0.85  # in picture sides; metres
IDENTITY = 0.8  # of the population's standard deviation
TURN, SHIFT = (0.14, 0.40, 0.08), (0.03, 0.02, 0.05)  # radians about, metres along x, y, z, at most
FACES = (
    *("jawOpen", "mouthSmile", "mouthPucker", "mouthFunnel", "mouthFrown"),
    *("browInnerUp", "browOuterUp", "browDown", "eyeSquint", "noseSneer"),
)
EPISODE, PAUSE = (0.5, 1.5), (0.6, 3.0)  # seconds that a face lasts, and until it comes again
BLINK, BLINK_PAUSE = 0.3, (1.0, 3.0)
FACING = np.diag((1.0, -1.0, -1.0))


@dataclass(frozen=True)
class FreeSubject:
    """n frames. tracked: the truth, as files would hold it; expression [n, E]; rotation [n, 3, 3]; place [n, 3]: of the head's
    middle."""

    template: BlendshapeTemplate
    tracked: list[TrackedFrame]
    expression: Floats
    rotation: Floats
    place: Floats
    size: int
    seed: int

    def pictures(self) -> Iterator[np.ndarray]:
        """RGBA [H, W, 4] uint8, one after the other: the head, straight alpha."""
        data = self.template.data
        texture = torch.from_numpy(paint_free_head(data, 3 * self.size, Complexion()))
        head, scale = self._prepare(texture), torch.from_numpy(np.asarray(self.tracked[0].intrinsics))
        for frame in self.tracked:
            vertices = self.template.pose(join_frames([frame]))[0] @ WORLD_TO_OPENCV.T
            yield render_head(head, vertices, scale, self.size, self.size, Look(0, 0, 0), 2).numpy()

    def video(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """RGB pictures [H, W, 3] uint8 before a room, and coverages [H, W] in [0, 1]."""
        room = _paint_room(self.size, self.seed)
        for picture in self.pictures():
            share = picture[..., 3:] / 255.0
            yield np.asarray((picture[..., :3] * share + room * (1 - share)).round(), np.uint8), share[..., 0]

    def _prepare(self, texture: torch.Tensor) -> Head:
        template, data = self.template, self.template.data
        rest = neutral_parameters(1, len(data.identity), len(data.expression))
        rest = replace(rest, shape=torch.as_tensor(self.tracked[0].shape))
        points, eyes = template.pose(rest)[0], template.eye_centers(rest)
        return prepare_head(template.faces, template.uv, template.uv_faces, points, eyes, texture, self.seed)


def make_free_subject(template: BlendshapeTemplate, frames: int, size: int, seed: int) -> FreeSubject:
    """Draw a person and what it does."""
    data, random = template.data, np.random.default_rng(seed)
    seconds = np.arange(frames) / RATE
    turns = np.stack([limit * _wander(seconds, random) for limit in TURN], 1)
    rotation = turn_by(turns) @ FACING
    middle = data.neutral.mean(0)
    place = np.stack([limit * _wander(seconds, random) for limit in SHIFT], 1) + np.array((0, 0, DISTANCE))
    expression = _make_faces(data.expression_names, seconds, random)
    gaze = np.stack([0.15 * _wander(seconds, random), 0.07 * _wander(seconds, random)], 1)
    eyes = rotation_to_rot6d(torch.from_numpy(eye_rotations(np.tile(gaze, 2)))).flatten(1)
    identity = torch.from_numpy(random.normal(0, IDENTITY, len(data.identity)))
    tracked = [
        TrackedFrame(
            shape=identity,
            expression=torch.from_numpy(expression[i]),
            jaw=torch.tensor([1.0, 0, 0, 0, 1, 0], dtype=torch.float64),
            eyes=eyes[i],
            eyelids=torch.zeros(2, dtype=torch.float64),
            rotation=torch.from_numpy(rotation[i]),
            translation=torch.from_numpy(place[i] - rotation[i] @ middle),
            intrinsics=torch.tensor([FOCAL * size, FOCAL * size, size / 2, size / 2], dtype=torch.float64),
            height=size,
            width=size,
        )
        for i in range(frames)
    ]
    return FreeSubject(template, tracked, expression, rotation, place, size, seed)


def _make_faces(names: tuple[str, ...], seconds: Floats, random: np.random.Generator) -> Floats:
    found = np.zeros((len(seconds), len(names)))
    for face in FACES:
        course = _episodes(seconds, random, EPISODE, PAUSE) * random.uniform(0.5, 0.9)
        for name in (face, f"{face}Left", f"{face}Right"):
            if name in names:
                found[:, names.index(name)] = course
    blinks = _episodes(seconds, random, (BLINK, BLINK), BLINK_PAUSE)
    for side in ("Left", "Right"):
        found[:, names.index(f"eyeBlink{side}")] = blinks
    return found


def _episodes(
    seconds: Floats, random: np.random.Generator, lasts: tuple[float, float], pause: tuple[float, float]
) -> Floats:
    """A course in [0, 1] that rises and falls now and then."""
    course, start = np.zeros_like(seconds), random.uniform(0, pause[1])
    while start < seconds[-1]:
        length = random.uniform(*lasts)
        course += np.sin(np.pi * ((seconds - start) / length).clip(0, 1)) ** 2
        start += length + random.uniform(*pause)
    return course


def _wander(seconds: Floats, random: np.random.Generator) -> Floats:
    """A slow course in [-1, 1]."""
    periods, phases = random.uniform((2.5, 5.0), (5.0, 11.0)), random.uniform(0, 2 * np.pi, 2)
    return np.asarray(np.sin(2 * np.pi * seconds[:, None] / periods + phases) @ (0.4, 0.6))


def _paint_room(size: int, seed: int) -> Floats:
    """A wall with soft spots and a shelf, RGB [size, size, 3] in 0 to 255."""
    random = np.random.default_rng(seed)
    spots = cv2.resize(random.uniform(60, 190, (7, 7, 3)), (size, size), interpolation=cv2.INTER_CUBIC)
    spots[size * 3 // 5 :, : size // 3] *= 0.5
    return np.asarray(spots.clip(0, 255))
