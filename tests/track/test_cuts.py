"""Cuts are found, and what is no cut is not taken for one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from rgbavatar.track.cuts import CutFinder
from rgbavatar.track.landmarks import Face
from tests.helpers.tracked_face import make_clip


def picture(seed: int, brightness: float = 1.0, shift: int = 0) -> np.ndarray:
    """A room of its own colours."""
    generator = np.random.default_rng(seed)
    patches = generator.uniform(0, 255, (6, 8, 3)).repeat(20, 0).repeat(20, 1)
    return np.roll((patches * brightness).clip(0, 255).astype(np.uint8), shift, 1)


def test_another_room_is_a_cut() -> None:
    finder = CutFinder()
    assert not finder.picture_cuts(picture(0))
    assert not finder.picture_cuts(picture(0))
    assert finder.picture_cuts(picture(1))
    assert not finder.picture_cuts(picture(1))


def test_a_camera_that_pans_or_dims_is_no_cut() -> None:
    finder = CutFinder()
    cuts = [finder.picture_cuts(picture(0, 1.0 - 0.01 * i, 3 * i)) for i in range(20)]
    assert not any(cuts)


def test_a_face_that_jumps_is_a_cut_and_one_that_moves_fast_is_not() -> None:
    clip = make_clip(40)
    finder = CutFinder()
    cuts = [finder.face_cuts(face, second) for face, second in zip(clip.faces, clip.seconds, strict=True)]
    assert not any(cuts)
    far = Face(clip.faces[-1].points + np.array((150, 0, 0)), {})
    assert finder.face_cuts(far, clip.seconds[-1] + 1 / 30)


def test_a_face_that_was_away_for_long_may_be_anywhere() -> None:
    face = make_clip(1).faces[0]
    finder = CutFinder()
    finder.face_cuts(face, 0.0)
    assert not finder.face_cuts(replace(face, points=face.points + np.array((150, 0, 0))), 2.0)
