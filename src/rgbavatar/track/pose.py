"""Where a fitted face puts its landmarks in a picture, and how they move with each unknown.

n frames, L landmarks, E expressions, S identity modes. A landmark at rest is p = neutral + sum_s identity_s + sum_e expression_e;
eyes then turn about their centres; and it is seen at u = f x / z + cx, v = f y / z + cy with (x, y, z) = rotation p + position,
in OpenCV's axes. Turning an eye and changing the face are taken to commute in the derivatives: an eyeball keeps its shape.

Unknowns of a frame, P = 6 + E + 4: a small turn of the head (left of its rotation), its position, the expression, and the gaze,
which is yaw and pitch of the left eye, then of the right: radians, to the head's own left and up. Unknowns of a person,
Q = S + 1: identity, and the logarithm of the focal length.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.face_model import FaceModel

Floats = NDArray[np.float64]
POSE, GAZE = 6, 4


@dataclass(frozen=True)
class Person:
    """What all frames share. identity [S]; focal: pixels; middle [2]: cx, cy, pixels.

    offsets [L, 3]: what this person's landmarks are off the template's, in the head's own axes, metres: no mode has it, and
    without it expressions would make up for it in all frames.
    """

    identity: Floats
    focal: float
    middle: Floats
    offsets: Floats

    @property
    def plain(self) -> Person:
        """Without offsets: where the mesh itself has the landmarks."""
        return replace(self, offsets=np.zeros_like(self.offsets))


@dataclass(frozen=True)
class Motion:
    """n frames. rotation [n, 3, 3]; position [n, 3] metres, of the model's centre; expression [n, E] in [0, 1]; gaze [n, 4]."""

    rotation: Floats
    position: Floats
    expression: Floats
    gaze: Floats

    def __len__(self) -> int:
        return len(self.position)

    def select(self, frames: slice | NDArray[np.int64]) -> Motion:
        """Some frames."""
        return Motion(self.rotation[frames], self.position[frames], self.expression[frames], self.gaze[frames])


@dataclass(frozen=True)
class Seen:
    """n frames as they are seen. points [n, L, 2] pixels; placed [n, L, 3]: in the camera's axes; turned [n, L, 3]: in the head's
    own, eyes turned; rows [n, 2, L, 3]: how u and v of each landmark move with its place in the head's own axes."""

    points: Floats
    placed: Floats
    turned: Floats
    rows: Floats


def join(parts: list[Motion]) -> Motion:
    """Motions one after the other."""
    names = ("rotation", "position", "expression", "gaze")
    return Motion(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def eye_rotations(gaze: Floats) -> Floats:
    """Rotations [n, 2, 3, 3] of the eyes of gazes [n, 4]: pitch first, then yaw."""
    yaw, pitch = gaze[:, 0::2], gaze[:, 1::2]
    a, b, c, d = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    zero = np.zeros_like(a)
    rows = ((a, -b * d, b * c), (zero, c, d), (-b, -a * d, a * c))
    return np.stack([np.stack(row, -1) for row in rows], -2)


def rest_landmarks(model: FaceModel, person: Person) -> Floats:
    """A person's landmarks [L, 3] without expression, in the head's own axes about the centre.

    Sums of products by einsum here and elsewhere: BLAS would share them among threads that wait longer than they work.
    """
    return model.neutral + person.offsets + np.einsum("s,slc->lc", person.identity, model.identity)


def project(model: FaceModel, person: Person, motion: Motion) -> Floats:
    """The landmarks [n, L, 2], pixels."""
    return see(person.focal, person.middle, place(motion, _turn_eyes(model, person, motion)))


def place(motion: Motion, points: Floats) -> Floats:
    """Points [n, L, 3] in the heads' own axes, in the camera's."""
    return points @ _transposed(motion.rotation) + motion.position[:, None]


def see(focal: float, middle: Floats, placed: Floats) -> Floats:
    """Where points [n, L, 3] in the camera's axes are in a picture, [n, L, 2]. middle [2] or [n, 1, 2]."""
    return focal * placed[..., :2] / placed[..., 2:] + middle


def look(model: FaceModel, person: Person, motion: Motion) -> Seen:
    """The landmarks, and what their slopes are made from."""
    turned = _turn_eyes(model, person, motion)
    placed = place(motion, turned)
    points = see(person.focal, person.middle, placed)
    camera = np.zeros((len(motion), 2, placed.shape[1], 3))
    camera[:, 0, :, 0] = camera[:, 1, :, 1] = person.focal / placed[..., 2]
    camera[..., 2] = -_by_axis(points - person.middle) / placed[:, None, :, 2]
    return Seen(points, placed, turned, camera @ motion.rotation[:, None])


def frame_slopes(model: FaceModel, person: Person, motion: Motion, seen: Seen) -> Floats:
    """How the landmarks move with a frame's unknowns [n, 2 L, P]: u of all of them, then v."""
    n, count = seen.points.shape[:2]
    slopes = np.empty((n, 2, count, POSE + len(model.expression) + GAZE))
    camera = seen.rows @ _transposed(motion.rotation)[:, None]
    arm = seen.placed - motion.position[:, None]
    slopes[..., :3] = _cross(arm[:, None], camera)
    slopes[..., 3:POSE] = camera
    slopes[..., POSE:-GAZE] = along(seen.rows, model.expression_columns)
    slopes[..., -GAZE:] = _gaze_slopes(model, person, motion, seen)
    return slopes.reshape(n, 2 * count, -1)


def person_slopes(model: FaceModel, person: Person, seen: Seen) -> Floats:
    """How they move with a person's unknowns [n, 2 L, Q]."""
    n, count = seen.points.shape[:2]
    focal = _by_axis(seen.points - person.middle)[..., None]
    return np.concatenate((along(seen.rows, model.identity_columns), focal), -1).reshape(n, 2 * count, -1)


def _face(model: FaceModel, person: Person, motion: Motion) -> Floats:
    """Landmarks [n, L, 3] in the head's own axes, eyes ahead."""
    return rest_landmarks(model, person) + np.einsum("ne,elc->nlc", motion.expression, model.expression)


def _turn_eyes(model: FaceModel, person: Person, motion: Motion) -> Floats:
    """Landmarks [n, L, 3] in the head's own axes."""
    face = _face(model, person, motion)
    centers, turns = _eye_centers(model, person), eye_rotations(motion.gaze) - np.eye(3)
    shifts = [
        model.eye_weights[moving, eye, None] * ((face[:, moving] - centers[eye]) @ _transposed(turns[:, eye]))
        for eye, moving in enumerate(model.moved_by_eyes)
    ]
    for moving, shift in zip(model.moved_by_eyes, shifts, strict=True):
        face[:, moving] += shift
    return face


def _eye_centers(model: FaceModel, person: Person) -> Floats:
    return model.eye_centers + np.einsum("s,sec->ec", person.identity, model.eye_identity)


def along(rows: Floats, columns: Floats) -> Floats:
    """Slopes [..., L, M] along modes, given as columns [3, L, M]. rows [..., L, 3]."""
    slopes = rows[..., 0, None] * columns[0]
    slopes += rows[..., 1, None] * columns[1]
    slopes += rows[..., 2, None] * columns[2]
    return slopes


def _gaze_slopes(model: FaceModel, person: Person, motion: Motion, seen: Seen) -> Floats:
    """Slopes [n, 2, L, 4] along the gaze: yaw turns an eye about the head's y axis, pitch about what yaw made of its x axis."""
    slopes = np.zeros((*seen.rows.shape[:3], GAZE))
    centers = _eye_centers(model, person)
    for eye, moving in enumerate(model.moved_by_eyes):
        share = model.eye_weights[moving, eye, None]
        arm = seen.turned[:, moving] - centers[eye]  # of what turns in part, near enough
        yaw = motion.gaze[:, 2 * eye]
        side = np.stack((-np.cos(yaw), np.zeros_like(yaw), np.sin(yaw)), -1)[:, None]
        for column, axis in ((2 * eye, np.array((0.0, 1.0, 0.0))), (2 * eye + 1, side)):
            moved = share * _cross(axis, arm)
            slopes[:, :, moving, column] = (seen.rows[:, :, moving] * moved[:, None]).sum(-1)
    return slopes


def _cross(a: Floats, b: Floats) -> Floats:
    """Cross products [..., 3]; numpy's own is slower for small arrays."""
    (x, y, z), (u, v, w) = np.moveaxis(a, -1, 0), np.moveaxis(b, -1, 0)
    return np.stack((y * w - z * v, z * u - x * w, x * v - y * u), -1)


def _transposed(matrices: Floats) -> Floats:
    return np.swapaxes(matrices, -1, -2)


def _by_axis(points: Floats) -> Floats:
    """[n, L, 2] as [n, 2, L]."""
    return np.swapaxes(points, 1, 2)
