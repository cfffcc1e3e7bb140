"""Where landmarks are seen, against the template itself, and how they move, against finite differences."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from rgbavatar.datasets.features import WORLD_TO_OPENCV, join_frames
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.track.fit import FaceProblem, Fit
from rgbavatar.track.frames import tracked_frames
from rgbavatar.track.pose import Motion, Person, eye_rotations, frame_slopes, look, person_slopes, project
from rgbavatar.track.turns import turn_between, turn_by
from tests.helpers.tracked_face import FACING, face_model, head_correspondences, head_data, make_motion, make_person

STEP = 1e-6
MODEL = face_model()


@pytest.fixture
def person() -> Person:
    offsets = np.random.default_rng(3).normal(0, 1e-3, MODEL.neutral.shape)
    return replace(make_person(700.0, (640, 480), 1), offsets=offsets)


@pytest.fixture
def motion() -> Motion:
    return make_motion(np.array((0.3, 1.1, 2.0)), 1)


def moved(person: Person, motion: Motion, step: np.ndarray, shared: np.ndarray) -> np.ndarray:
    """The landmarks after a step of a fit, expressions unbounded."""
    problem = FaceProblem(MODEL, None, None, None, None, object())  # type: ignore[arg-type]
    found = problem.move(Fit(person, motion), step, shared)
    return project(MODEL, found.person, replace(found.motion, expression=motion.expression + step[:, 6:-4]))


def test_slopes_are_those_of_finite_differences(person: Person, motion: Motion) -> None:
    seen = look(MODEL, person, motion)
    frame, whole = frame_slopes(MODEL, person, motion, seen), person_slopes(MODEL, person, seen)
    none, nobody = np.zeros((3, frame.shape[2])), np.zeros(whole.shape[2])
    for column in range(frame.shape[2]):
        step = none.copy()
        step[:, column] = STEP
        change = (moved(person, motion, step, nobody) - moved(person, motion, -step, nobody)) / (2 * STEP)
        found = frame[..., column].reshape(3, 2, -1).swapaxes(1, 2)
        still = MODEL.eye_weights.sum(1) == 0 if 6 <= column < frame.shape[2] - 4 else slice(None)
        np.testing.assert_allclose(found[:, still], change[:, still], atol=2e-5 * max(1.0, np.abs(change).max()))
    for column in range(whole.shape[2]):
        shared = nobody.copy()
        shared[column] = STEP
        change = (moved(person, motion, none, shared) - moved(person, motion, none, -shared)) / (2 * STEP)
        found = whole[..., column].reshape(3, 2, -1).swapaxes(1, 2)
        still = MODEL.eye_weights.sum(1) == 0
        np.testing.assert_allclose(found[:, still], change[:, still], atol=2e-5 * max(1.0, np.abs(change).max()))


def test_landmarks_are_where_the_files_of_a_subject_put_the_mesh(person: Person, motion: Motion) -> None:
    """Through the subject's own frames: rotation about the template's origin, eyes, intrinsics."""
    frames = tracked_frames(MODEL, Fit(person, motion), (640, 480))
    template = BlendshapeTemplate(head_data())
    mesh = template.pose(join_frames(frames)) @ WORLD_TO_OPENCV.T
    where = head_correspondences()
    corners = mesh[:, template.faces[where.faces[MODEL.landmarks]]]
    points = (corners * torch.from_numpy(where.barycentrics[MODEL.landmarks])[None, ..., None]).sum(2).numpy()
    fx, fy, cx, cy = frames[0].intrinsics.tolist()
    seen = points[..., :2] / points[..., 2:] * (fx, fy) + (cx, cy)
    np.testing.assert_allclose(project(MODEL, person.plain, motion), seen, atol=1e-3)


def test_gaze_is_yaw_to_the_heads_left_and_pitch_up() -> None:
    ahead = np.array((0.0, 0.0, 1.0))
    left, right = eye_rotations(np.array([[0.2, 0.0, 0.0, 0.3]]))[0] @ ahead
    np.testing.assert_allclose(left, (np.sin(0.2), 0, np.cos(0.2)), atol=1e-12)
    np.testing.assert_allclose(right, (0, np.sin(0.3), np.cos(0.3)), atol=1e-12)


def test_a_turn_between_rotations_is_what_turns_one_into_the_other() -> None:
    vectors = np.random.default_rng(0).normal(0, 0.8, (50, 3))
    vectors[0] = 0
    first = np.broadcast_to(FACING, (50, 3, 3))
    np.testing.assert_allclose(turn_between(first, turn_by(vectors) @ first), vectors, atol=1e-9)


def test_an_upright_head_that_faces_the_camera_is_seen_upright(person: Person) -> None:
    """The chin below the brows, the head's own left at the picture's right."""
    rest = Motion(FACING[None], np.array([[0, 0, 0.6]]), np.zeros((1, len(MODEL.names))), np.zeros((1, 4)))
    points = project(MODEL, person.plain, rest)[0]
    assert np.corrcoef(points[:, 0], MODEL.neutral[:, 0])[0, 1] > 0.98
    assert np.corrcoef(points[:, 1], MODEL.neutral[:, 1])[0, 1] < -0.98
