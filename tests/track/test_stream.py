"""Tracking as frames come, against a made-up clip: noise of 1 % of the eye distance, every 20th landmark anywhere."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rgbavatar.track.fit import Fit, unlinked
from rgbavatar.track.landmarks import Face
from rgbavatar.track.observe import observe
from rgbavatar.track.pose import join, project
from rgbavatar.track.solver import minimize
from rgbavatar.track.stream import StreamTracker, Tracked, landmark_errors, place_face
from rgbavatar.track.turns import turn_by
from tests.helpers.tracked_face import (
    FACING,
    Clip,
    face_model,
    make_clip,
    make_motion,
    moved_by,
    say_faces,
    turned_by,
)

MODEL = face_model()


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(90)


def run(tracker: StreamTracker, clip: Clip) -> list[Tracked | None]:
    return [tracker.track(face, second) for face, second in zip(clip.faces, clip.seconds, strict=True)]


@pytest.fixture(scope="module")
def tracked(clip: Clip) -> list[Tracked]:
    found = run(StreamTracker(MODEL, clip.size), clip)
    assert all(found)
    return [one for one in found if one is not None]


def test_poses_are_right(clip: Clip, tracked: list[Tracked]) -> None:
    motion = join([one.motion for one in tracked])
    degrees = turned_by(motion, clip.motion)
    assert degrees.mean() < 0.6
    assert degrees.max() < 1.5
    assert (
        moved_by(motion, tracked[-1].person, clip.motion, clip.person)[45:].mean() < 0.02
    )  # the lens is settled by then


def test_expressions_go_with_the_truth(clip: Clip, tracked: list[Tracked]) -> None:
    motion = join([one.motion for one in tracked])
    assert np.corrcoef(motion.expression.ravel(), clip.motion.expression.ravel())[0, 1] > 0.9
    assert motion.expression.min() >= 0
    assert motion.expression.max() <= 1
    assert np.degrees(np.abs(motion.gaze - clip.motion.gaze)).mean() < 3


def test_the_person_is_settled_in_the_first_second_and_held(clip: Clip, tracked: list[Tracked]) -> None:
    people = [one.person for one in tracked]
    assert all(one is people[-1] for one in people[40:])
    assert people[-1].focal == pytest.approx(clip.person.focal, rel=0.15)


def test_a_known_focal_length_is_kept(clip: Clip) -> None:
    tracker = StreamTracker(MODEL, clip.size, focal=650.0)
    run(tracker, clip)
    assert tracker.person.focal == pytest.approx(650.0, rel=1e-4)


def test_tracking_is_smoother_than_the_landmarks(clip: Clip, tracked: list[Tracked]) -> None:
    """What one frame departs from its neighbours by, against fits that know of no neighbours."""
    person, alone = tracked[-1].person, []
    for face in clip.faces[45:]:
        seen = observe(MODEL, [face])
        start = Fit(person, place_face(MODEL, person, face, seen))
        alone.append(minimize(unlinked(MODEL, seen), start, 8, 1e-4).motion)
    truth = clip.motion.rotation[45:]

    def restless(rotation: np.ndarray) -> float:
        departure = (rotation - truth)[1:-1] - ((rotation - truth)[:-2] + (rotation - truth)[2:]) / 2
        return float(np.linalg.norm(departure, axis=(1, 2)).mean())

    together = np.concatenate([one.motion.rotation for one in tracked[45:]])
    assert restless(together) < 0.6 * restless(np.concatenate([one.rotation for one in alone]))


@pytest.mark.parametrize("degrees", [(0, 60, 0), (0, -60, 0), (25, 0, 0), (0, 0, 70), (-20, 40, -30)])
def test_a_first_frame_may_be_turned_far(degrees: tuple[float, float, float]) -> None:
    clip = make_clip(1)
    turned = replace(clip.motion, rotation=turn_by(np.radians([degrees])) @ FACING)
    (face,) = say_faces(clip.person, turned, 0.005)
    start = place_face(MODEL, clip.person, face, observe(MODEL, [face]))
    assert turned_by(start, turned)[0] < 12
    found = StreamTracker(MODEL, clip.size).track(face, 0.0)
    assert found is not None
    assert turned_by(found.motion, turned)[0] < 4  # one frame does not tell who it is


def test_what_is_no_face_is_lost_and_the_next_face_found(clip: Clip) -> None:
    tracker = StreamTracker(MODEL, clip.size)
    run(tracker, replace(clip, faces=clip.faces[:40], seconds=clip.seconds[:40]))
    points = clip.faces[40].points.copy()
    points[:, :2] = np.random.default_rng(0).uniform(100, 400, (478, 2))
    assert tracker.track(Face(points, clip.faces[40].scores), clip.seconds[40]) is None
    found = tracker.track(clip.faces[41], clip.seconds[41])
    assert found is not None
    assert turned_by(found.motion, clip.motion.select(slice(41, 42)))[0] < 1.5


def test_a_gap_is_survived(clip: Clip, tracked: list[Tracked]) -> None:
    tracker = StreamTracker(MODEL, clip.size)
    run(tracker, replace(clip, faces=clip.faces[:40], seconds=clip.seconds[:40]))
    later = make_motion(np.array((9.0,)), 5)
    (face,) = say_faces(clip.person, later, 0.01)
    found = tracker.track(face, 9.0)
    assert found is not None
    assert turned_by(found.motion, later)[0] < 1.5


def test_errors_are_those_of_the_mesh_in_eye_distances(clip: Clip) -> None:
    person, motion = clip.person, clip.motion.select(slice(0, 2))
    seen = observe(MODEL, say_faces(person, motion))
    assert landmark_errors(MODEL, person, motion, seen).max() < 1e-9
    shifted = replace(seen, points=seen.points + np.array((3.0, 4.0)))
    np.testing.assert_allclose(landmark_errors(MODEL, person, motion, shifted), 5 / seen.size, rtol=1e-6)
    hidden = replace(person, offsets=np.full_like(person.offsets, 0.001))
    assert landmark_errors(MODEL, hidden, motion, seen).max() < 1e-9  # what the mesh does not have is not counted
    assert np.abs(project(MODEL, hidden, motion) - seen.points).max() > 0.1


def test_closed_eyes_hide_the_gaze(clip: Clip) -> None:
    face = clip.faces[0]
    shut = Face(face.points, face.scores | {"eyeBlinkLeft": 0.9, "eyeBlinkRight": 0.0})
    trust = observe(MODEL, [shut]).trust[0]
    left = np.isin(MODEL.landmarks, range(473, 478))
    assert trust[left].max() == 0
    assert trust[~left].min() == 1
