"""A face that moves, and what a landmarker that errs says of it: the truth that tracking is measured against.

The head is the made-up one as a blendshape template, with identity modes, and expressions under ARKit's names, so that there
are scores for them. Landmarks are points of its face; which ones does not matter, but that 33 and 263 are the outer corners of
the eyes, and that the last ten are on the eyeballs.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.templates.base import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT
from rgbavatar.templates.blendshape_data import BlendshapeData, EyeJoints, write_blendshape_data
from rgbavatar.templates.flame_data import NUM_SHAPE
from rgbavatar.templates.procedural_head import EXPRESSION_MODES, SHAPE_MODES, make_procedural_head
from rgbavatar.track.face_model import LANDMARKS, LEFT_IRIS, RIGHT_IRIS, Correspondences, FaceModel, make_face_model
from rgbavatar.track.landmarks import Face
from rgbavatar.track.observe import FULL_LOOK, SCORES
from rgbavatar.track.pose import Motion, Person, look
from rgbavatar.track.turns import turn_by

Floats = NDArray[np.float64]
FACING = np.diag((1.0, -1.0, -1.0))  # a head that faces the camera upright, in OpenCV's axes
NAMES = (
    *("mouthSmileRight", "mouthSmileLeft", "mouthFrownLeft", "mouthPucker", "mouthUpperUpLeft", "mouthLowerDownLeft"),
    *(
        "mouthStretchLeft",
        "browOuterUpLeft",
        "browInnerUp",
        "browDownLeft",
        "cheekPuff",
        "eyeSquintLeft",
        "noseSneerLeft",
    ),
)  # what the head's own expressions pass for
OPEN = 0.35  # radians of a jaw that is open
_FRONT = 0.03  # metres behind the eyes, from where on the face's landmarks lie


@cache
def head_data() -> BlendshapeData:
    """The template."""
    head = make_procedural_head(48)
    neutral = head.v_template
    joints = head.joint_regressor @ neutral
    arm = head.weights[:, JAW, None] * (neutral - joints[JAW])
    sine, cosine = np.sin(OPEN), np.cos(OPEN)
    jaw = arm @ np.array(((1, 0, 0), (0, cosine, -sine), (0, sine, cosine))).T - arm
    modes = head.shapedirs[..., NUM_SHAPE : NUM_SHAPE + len(EXPRESSION_MODES)]
    deltas = np.stack((*np.moveaxis(modes, -1, 0), jaw, *np.moveaxis(head.eyelids, -1, 0)))
    return BlendshapeData(
        neutral=neutral,
        faces=head.faces,
        uv=head.uv,
        uv_faces=head.uv_faces,
        expression=deltas.astype(np.float32),
        expression_names=(*NAMES, "jawOpen", "eyeBlinkLeft", "eyeBlinkRight"),
        identity=np.moveaxis(head.shapedirs[..., : len(SHAPE_MODES)], -1, 0).astype(np.float32),
        identity_names=SHAPE_MODES,
        eyes=EyeJoints(
            joints[[LEFT_EYE, RIGHT_EYE]],
            np.zeros((len(SHAPE_MODES), 2, 3)),
            head.weights[:, [LEFT_EYE, RIGHT_EYE]],
        ),
        pivot=joints[NECK],
        head_weights=1 - head.weights[:, ROOT],
    )


@cache
def head_correspondences() -> Correspondences:
    """Points of the face, the same at each call."""
    data, generator = head_data(), np.random.default_rng(0)
    assert data.eyes is not None
    eyes, turning = data.eyes, data.eyes.weights.sum(1)
    front = data.neutral[:, 2] > eyes.centers[0, 2] - _FRONT
    skin = np.flatnonzero(front & (turning < 0.01) & (data.head_weights > 0.995) & (np.abs(data.neutral[:, 1]) < 0.1))
    vertices = generator.choice(skin, LANDMARKS, replace=len(skin) < LANDMARKS)
    for corner, side in ((33, -1.0), (263, 1.0)):
        place = eyes.centers[(1 - int(side)) // 2] + (side * 0.017, 0.0, 0.008)
        vertices[corner] = skin[np.linalg.norm(data.neutral[skin] - place, axis=1).argmin()]
    for iris, eye in ((LEFT_IRIS, 0), (RIGHT_IRIS, 1)):
        ball = np.flatnonzero(eyes.weights[:, eye] > 0.99)
        vertices[list(iris)] = ball[np.argsort(-data.neutral[ball, 2])[:5]]
    faces, shares = np.zeros(LANDMARKS, np.int64), np.zeros((LANDMARKS, 3))
    for landmark, vertex in enumerate(vertices):
        faces[landmark], corner = np.argwhere(data.faces == vertex)[0]
        shares[landmark, corner] = 1
    return Correspondences(faces, shares, np.ones(LANDMARKS))


@cache
def face_model() -> FaceModel:
    return make_face_model(head_data(), head_correspondences())


def write_head(folder: Path) -> tuple[Path, Path]:
    """Write the template and its landmarks as files. Returns their paths."""
    template, landmarks = folder / "head.npz", folder / "landmarks.npz"
    write_blendshape_data(template, head_data())
    where = head_correspondences()
    np.savez(landmarks, faces=where.faces, barycentrics=where.barycentrics, confidence=where.confidence)
    return template, landmarks


@dataclass(frozen=True)
class Clip:
    """n frames. person, motion: the truth; seconds [n]; faces: what the landmarker says; size: of the pictures."""

    person: Person
    motion: Motion
    seconds: Floats
    faces: list[Face]
    size: tuple[int, int]


def make_person(focal: float, size: tuple[int, int], seed: int) -> Person:
    model, generator = face_model(), np.random.default_rng(seed)
    identity = generator.normal(0, 0.7, len(model.identity))
    return Person(identity, focal, np.array(size) / 2, np.zeros((len(model.landmarks), 3)))


def make_motion(seconds: Floats, seed: int, distance: float = 0.6) -> Motion:
    """A head that looks around, talks, blinks and grimaces."""
    t, generator = seconds, np.random.default_rng(seed)
    model = face_model()
    turns = np.stack((0.2 * np.sin(1.3 * t), 0.5 * np.sin(0.9 * t), 0.12 * np.sin(0.7 * t)), 1)
    place = np.stack((0.03 * np.sin(t), 0.02 * np.cos(0.8 * t), distance + 0.04 * np.sin(0.5 * t)), 1)
    rates, phases = generator.uniform(0.5, 2.5, len(model.names)), generator.uniform(0, 6.28, len(model.names))
    expression = np.clip(1.2 * np.sin(t[:, None] * rates + phases) - 0.5, 0, 1)
    expression[:, -2:] = np.clip(6 * np.sin(2.6 * t + 0.4) - 5, 0, 1)[:, None]  # blinks of a fifth of a second
    gaze = np.stack((0.3 * np.sin(t), 0.15 * np.cos(1.7 * t)) * 2, 1)
    return Motion(turn_by(turns) @ FACING, place, expression, gaze)


def make_clip(
    frames: int = 90,
    noise: float = 0.01,
    outliers: float = 0.05,
    focal: float = 700.0,
    size: tuple[int, int] = (640, 480),
    seed: int = 0,
) -> Clip:
    """noise: of each landmark, in eye distances; outliers: share of landmarks that are anywhere."""
    seconds = np.arange(frames) / 30
    person, motion = make_person(focal, size, seed), make_motion(seconds, seed)
    return Clip(person, motion, seconds, say_faces(person, motion, noise, outliers, seed), size)


def say_faces(person: Person, motion: Motion, noise: float = 0.0, outliers: float = 0.0, seed: int = 0) -> list[Face]:
    """What a landmarker says of frames."""
    model, generator = face_model(), np.random.default_rng(seed)
    seen = look(model, person, motion)
    middle = seen.placed[..., 2].mean(1)
    depth = (seen.placed[..., 2] - middle[:, None]) * person.focal / middle[:, None]
    points = np.zeros((len(motion), LANDMARKS, 3))
    points[:, model.landmarks] = np.concatenate((seen.points, depth[..., None]), 2)
    unit = np.linalg.norm(points[:, 33] - points[:, 263], axis=1)[:, None, None]
    points[..., :2] += noise * unit * generator.normal(size=points[..., :2].shape)
    stray = generator.random(points.shape[:2]) < outliers
    points[..., :2] += stray[..., None] * 0.3 * unit * generator.normal(size=points[..., :2].shape)
    return [Face(one, _scores(motion, i, generator)) for i, one in enumerate(points)]


def _scores(motion: Motion, frame: int, generator: np.random.Generator) -> dict[str, float]:
    """Scores that go with the expressions, but are no measure of them."""
    scores = dict.fromkeys(sorted(SCORES), 0.0)
    for name, amount in zip(face_model().names, motion.expression[frame], strict=True):
        scores[name] = float(np.clip(0.8 * amount + 0.05 + 0.08 * generator.normal(), 0, 1))
    for side, yaw, pitch, sign in (("Left", 0, 1, 1.0), ("Right", 2, 3, -1.0)):
        out, up = sign * motion.gaze[frame, yaw] / FULL_LOOK, motion.gaze[frame, pitch] / FULL_LOOK
        looks = {"Out": out, "In": -out, "Up": up, "Down": -up}
        scores |= {f"eyeLook{way}{side}": float(np.clip(amount, 0, 1)) for way, amount in looks.items()}
    return scores


def turned_by(found: Motion, truth: Motion) -> Floats:
    """Degrees between the rotations of n frames."""
    cosine = (np.einsum("nij,nij->n", found.rotation, truth.rotation) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def rest_size(person: Person) -> float:
    """How large a person's face is: mean distance of the landmarks from their middle."""
    rest = face_model().neutral + np.tensordot(person.identity, face_model().identity, 1)
    return float(np.linalg.norm(rest - rest.mean(0), axis=1).mean())


def moved_by(found: Motion, person: Person, truth: Motion, who: Person) -> Floats:
    """Share of the distance by which n frames are misplaced, if one could measure how large the face is, which no camera can."""
    scale = rest_size(who) / rest_size(person)
    off = np.linalg.norm(scale * found.position - truth.position, axis=1)
    return off / np.linalg.norm(truth.position, axis=1)
