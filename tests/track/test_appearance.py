"""What is learnt of points whose detail follows the turns of a head, against what it was made of."""

from __future__ import annotations

import numpy as np

from rgbavatar.track.appearance import learn_appearance, mean_rotation
from rgbavatar.track.turns import turn_between, turn_by

FRAMES, POINTS = 200, 30
GENERATOR = np.random.default_rng(3)
TURNS = GENERATOR.normal(0, np.radians(8), (FRAMES, 3))
TURNS -= TURNS.mean(0)
SKEWED = turn_by(np.array((0.4, -0.3, 0.2)))
ROTATION = turn_by(TURNS) @ SKEWED
LEVEL, SLOPES = GENERATOR.normal(0, 0.8, POINTS), GENERATOR.normal(0, 2.0, (POINTS, 3))


def details() -> np.ndarray:
    """[FRAMES, POINTS], with noise."""
    return np.asarray(LEVEL + TURNS @ SLOPES.T + GENERATOR.normal(0, 0.05, (FRAMES, POINTS)))


def test_lines_over_turns_are_found() -> None:
    look = learn_appearance(details(), np.ones((FRAMES, POINTS)), ROTATION)
    expected = look.expected(turn_by(np.array([[0.0, 0.2, 0.0]])) @ SKEWED)
    np.testing.assert_allclose(expected[0], LEVEL + 0.2 * SLOPES[:, 1], atol=0.06)
    np.testing.assert_allclose(look.spread, 0.15, atol=0.02)  # the noise, and what a spread has at least


def test_a_hand_before_the_face_is_not_learnt() -> None:
    values = details()
    values[::5, :10] = 4.0  # which would raise a mean by 0.8
    look = learn_appearance(values, np.ones((FRAMES, POINTS)), ROTATION)
    np.testing.assert_allclose(look.expected(SKEWED[None])[0], LEVEL, atol=0.3)


def test_points_that_are_hardly_seen_have_hardly_slopes() -> None:
    share = np.zeros((FRAMES, POINTS))
    share[0] = 1.0
    look = learn_appearance(details(), share, ROTATION)
    assert np.abs(look.lines[:, 1:]).max() < 0.5
    assert np.isfinite(look.expected(ROTATION)).all()


def test_noise_tells_nothing() -> None:
    noise = GENERATOR.normal(0, 0.6, (FRAMES, POINTS))
    assert not learn_appearance(noise, np.ones((FRAMES, POINTS)), ROTATION).tells
    assert learn_appearance(details(), np.ones((FRAMES, POINTS)), ROTATION).tells


def test_the_mean_rotation_is_a_rotation_in_the_middle() -> None:
    middle = mean_rotation(ROTATION)
    np.testing.assert_allclose(middle @ middle.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(middle) > 0
    assert np.linalg.norm(turn_between(middle, SKEWED)) < np.radians(0.3)
