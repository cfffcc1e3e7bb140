"""Faces are fitted as they come; once the person is settled they stay who they are, and what came before is fitted to them."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from rgbavatar.live.faces import LiveFace, LostFace, follow_faces, refit
from rgbavatar.live.pictures import NewestPictures
from rgbavatar.track.first_pass import NO_FACE
from tests.helpers.live_camera import FOCAL, LOST, TrueFinder, VirtualCamera, live_clip
from tests.helpers.tracked_face import face_model, turned_by


@pytest.fixture(scope="module")
def items() -> list[LiveFace | LostFace]:
    finder = TrueFinder(LOST)
    camera = NewestPictures(VirtualCamera(slowness=0.0, looked=finder.looked))
    return list(follow_faces(camera, finder, face_model(), FOCAL, threading.Event()))


def faces_of(items: list[LiveFace | LostFace]) -> list[LiveFace]:
    return [item for item in items if isinstance(item, LiveFace)]


def test_the_person_is_settled_after_a_second_and_never_changes_again(items: list[LiveFace | LostFace]) -> None:
    faces = faces_of(items)
    settled = [one.settled for one in faces]
    assert settled == sorted(settled)
    first = settled.index(True)
    assert 1.0 <= faces[first].frame.seconds - faces[0].frame.seconds < 1.5
    assert all(one.person is faces[first].person for one in faces[first:])
    assert any(one.person is not faces[first].person for one in faces[:first])


def test_a_lost_face_is_told_and_one_that_returns_is_followed(items: list[LiveFace | LostFace]) -> None:
    lost = [item for item in items if isinstance(item, LostFace)]
    assert [item.frame.number for item in lost] == list(LOST)
    assert {item.reason for item in lost} == {NO_FACE}
    after = [one for one in faces_of(items) if one.frame.number >= LOST.stop]
    assert after
    truth = live_clip().motion.select(np.array([one.frame.number for one in after]))
    found = type(truth)(*(np.concatenate([getattr(one.motion, name) for one in after]) for name in vars(truth)))
    assert turned_by(found, truth).max() < 2.0


def test_held_frames_are_fitted_to_the_settled_person(items: list[LiveFace | LostFace]) -> None:
    faces = faces_of(items)
    first = [one.settled for one in faces].index(True)
    held = faces[: first + 1]
    again = refit(face_model(), held, held[-1].person)
    assert len(again) == len(held)
    assert all(one.person is held[-1].person and one.settled for one in again)
    truth = live_clip().motion.select(np.array([one.frame.number for one in again]))
    found = type(truth)(*(np.concatenate([getattr(one.motion, name) for one in again]) for name in vars(truth)))
    assert turned_by(found, truth).max() < 1.5
