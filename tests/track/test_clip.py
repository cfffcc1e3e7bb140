"""The second pass, over a whole clip."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rgbavatar.track.clip import refine_clip, spread_frames
from rgbavatar.track.fit import Fit
from rgbavatar.track.observe import observe
from rgbavatar.track.pose import Motion, join
from rgbavatar.track.stream import StreamTracker, focal_prior
from tests.helpers.tracked_face import Clip, face_model, make_clip, make_motion, moved_by, say_faces, turned_by

MODEL = face_model()
FRAMES = 75


def first_pass(clip: Clip) -> Fit:
    tracker = StreamTracker(MODEL, clip.size)
    found = [tracker.track(face, second) for face, second in zip(clip.faces, clip.seconds, strict=True)]
    return Fit(tracker.person, join([one.motion for one in found if one is not None]))


def second_pass(clip: Clip, start: Fit, shots: list[slice], focal: float | None = None) -> Fit:
    told: list[int] = []
    prior = focal_prior(clip.size, focal)
    fit = refine_clip(MODEL, observe(MODEL, clip.faces), start, clip.seconds, shots, prior, told.append)
    assert sum(told) == len(clip.seconds)
    return fit


@pytest.fixture(scope="module")
def clip() -> Clip:
    return make_clip(FRAMES)


@pytest.fixture(scope="module")
def streamed(clip: Clip) -> Fit:
    return first_pass(clip)


@pytest.fixture(scope="module")
def refined(clip: Clip, streamed: Fit) -> Fit:
    return second_pass(clip, streamed, [slice(0, FRAMES)])


def test_pose_place_and_expression_are_right(clip: Clip, refined: Fit) -> None:
    degrees = turned_by(refined.motion, clip.motion)
    assert degrees.mean() < 0.4
    assert degrees.max() < 1.0
    assert np.corrcoef(refined.motion.expression.ravel(), clip.motion.expression.ravel())[0, 1] > 0.95
    assert np.degrees(np.abs(refined.motion.gaze - clip.motion.gaze)).mean() < 1


def test_place_is_right_where_the_lens_is_known(clip: Clip, streamed: Fit) -> None:
    fit = second_pass(clip, streamed, [slice(0, FRAMES)], clip.person.focal)
    assert moved_by(fit.motion, fit.person, clip.motion, clip.person).mean() < 0.01


def test_focal_length_and_person_are_found(clip: Clip, refined: Fit) -> None:
    assert refined.person.focal == pytest.approx(clip.person.focal, rel=0.1)
    truth, found = (np.tensordot(one.identity, MODEL.identity, 1) for one in (clip.person, refined.person))
    assert np.linalg.norm(found - truth, axis=1).mean() < 0.75 * np.linalg.norm(truth, axis=1).mean()


def test_it_is_better_and_smoother_than_the_first_pass(clip: Clip, streamed: Fit, refined: Fit) -> None:
    assert turned_by(refined.motion, clip.motion).mean() < turned_by(streamed.motion, clip.motion).mean()
    off = [np.abs(fit.motion.expression - clip.motion.expression).mean() for fit in (streamed, refined)]
    assert off[1] < 0.8 * off[0]

    def restless(motion: Motion) -> float:
        off = motion.rotation - clip.motion.rotation
        return float(np.abs(off[1:-1] - (off[:-2] + off[2:]) / 2).mean())

    assert restless(refined.motion) < 0.8 * restless(streamed.motion)


def test_blinks_survive(clip: Clip, refined: Fit) -> None:
    blink = MODEL.names.index("eyeBlinkLeft")
    shut = clip.motion.expression[:, blink] > 0.9
    assert shut.any()
    assert refined.motion.expression[shut, blink].mean() > 0.75


def test_shots_are_not_linked() -> None:
    """A head that is elsewhere in the next frame stays there; linked, it would be drawn back."""
    half = 20
    clip = make_clip(2 * half)
    first, second = make_motion(clip.seconds[:half], 0), make_motion(clip.seconds[:half] + 7.0, 3, distance=0.9)
    motion = join([first, second])
    cut = replace(clip, motion=motion, faces=say_faces(clip.person, motion, 0.01))
    tracker = StreamTracker(MODEL, cut.size)
    found = []
    for i, (face, time) in enumerate(zip(cut.faces, cut.seconds, strict=True)):
        if i == half:
            tracker.restart()
        found.append(tracker.track(face, time))
    start = Fit(tracker.person, join([one.motion for one in found if one is not None]))
    fit = second_pass(cut, start, [slice(0, half), slice(half, 2 * half)])
    assert turned_by(fit.motion, motion)[half - 1 : half + 1].max() < 1.0


def test_time_stamps_that_vary_are_heeded() -> None:
    """Every other frame is missing for a while: the head moves twice as far from one to the next, in twice the time."""
    clip = make_clip(60)
    kept = np.array([*range(20), *range(20, 60, 2)])
    sparse = replace(
        clip,
        motion=clip.motion.select(kept),
        seconds=clip.seconds[kept],
        faces=[clip.faces[i] for i in kept],
    )
    fit = second_pass(sparse, first_pass(sparse), [slice(0, len(kept))])
    assert turned_by(fit.motion, sparse.motion).max() < 1.2


def test_key_frames_are_spread_over_what_a_head_does() -> None:
    motion = make_motion(np.arange(200) / 30, 0)
    still = motion.select(np.zeros(100, np.int64))
    chosen = spread_frames(join([still, motion]), 20)
    assert (chosen < 100).sum() <= 1
    assert len(set(chosen.tolist())) == 20
