"""Which face is followed, and when the whole picture is looked at. A picture is a list of where faces are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rgbavatar.track.landmarks import CENSUS_EVERY, CENSUS_WHEN_LOST, Face, FaceFollower

BASE = np.random.default_rng(0).uniform(-0.5, 0.5, (478, 3))


def face_at(x: float, size: float = 40.0) -> Face:
    return Face(BASE * size + (x, 100.0, 0.0), {})


class ScriptedFinder:
    """Finds what it is told to: `shown` is the picture at hand. One face is followed from call to call, as MediaPipe does."""

    def __init__(self) -> None:
        self.shown: list[Face] = []
        self.calls: list[str] = []
        self._last: Face | None = None

    def census(self, picture: np.ndarray) -> Sequence[Face]:
        self.calls.append("census")
        return self.shown

    def follow_one(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        self.calls.append("one")
        last = self._last
        if not self.shown:
            self._last = None
            return []
        self._last = self.shown[0] if last is None else min(self.shown, key=lambda f: abs(f.middle[0] - last.middle[0]))
        return [self._last]

    def follow_all(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        self.calls.append("all")
        return self.shown


def follow(shows: Sequence[Sequence[Face]]) -> tuple[list[float | None], list[int], ScriptedFinder]:
    """Where the followed face is in each picture, and how many there are."""
    finder = ScriptedFinder()
    follower = FaceFollower(finder)
    places: list[float | None] = []
    counts = []
    for i, shown in enumerate(shows):
        finder.shown = list(shown)
        sighting = follower.follow(np.zeros((1, 1, 3), np.uint8), 40 * i)
        places.append(None if sighting.face is None else float(sighting.face.middle[0] - face_at(0).middle[0]))
        counts.append(sighting.faces)
    return places, counts, finder


def test_a_single_face_is_followed_with_few_looks_at_the_whole_picture() -> None:
    places, counts, finder = follow([[face_at(100 + i)] for i in range(30)])
    assert np.allclose(np.array(places, float), 100 + np.arange(30), atol=1)
    assert set(counts) == {1}
    assert finder.calls.count("one") == 30
    assert finder.calls.count("census") == 30 // CENSUS_EVERY
    assert "all" not in finder.calls


def test_of_two_faces_the_largest_is_followed_also_when_the_other_outgrows_it() -> None:
    shows = [[face_at(300, 30 + 2 * i), face_at(100 + i, 60)] for i in range(30)]
    places, counts, _ = follow(shows)
    assert np.allclose(np.array(places, float), 100 + np.arange(30), atol=5)
    assert set(counts) == {2}


def test_faces_that_pass_each_other_are_told_apart_by_where_they_were() -> None:
    shows = [[face_at(100 + 4 * i, 60), face_at(300 - 20 * min(i, 5), 55)] for i in range(20)]
    places, _, _ = follow(shows)
    assert np.allclose(np.array(places, float), 100 + 4 * np.arange(20), atol=5)


def test_a_second_face_that_comes_later_is_counted_and_not_followed() -> None:
    shows = [[face_at(100)]] * 10 + [[face_at(200, 80), face_at(100)]] * 40 + [[face_at(100)]] * 40
    places, counts, finder = follow(shows)
    assert np.allclose(np.array(places, float), 100, atol=3)
    assert counts[9] == 1
    assert 2 in counts[10 : 10 + CENSUS_EVERY + 1]
    assert set(counts[30:50]) == {2}
    assert set(counts[50:]) == {1}
    assert finder.calls[-1] == "one"  # all faces are followed only while there are several


def test_a_lost_face_is_lost_and_found_again() -> None:
    places, counts, finder = follow([[face_at(100)]] * 5 + [[]] * 12 + [[face_at(160)]] * 5)
    assert [place is None for place in places] == [False] * 5 + [True] * 12 + [False] * 5
    assert counts[5:17] == [0] * 12
    assert finder.calls.count("census") <= 3 + 12 // CENSUS_WHEN_LOST


def test_another_face_is_not_taken_for_one_that_is_hidden_among_several() -> None:
    both, other = [face_at(100, 60), face_at(300, 50)], [face_at(300, 50), face_at(400, 40)]
    places, _, _ = follow([both] * 3 + [other] * 4 + [both] * 3)
    assert [place is None for place in places[:8]] == [False] * 3 + [True] * 4 + [False]
    assert np.allclose(np.array(places[7:], float), 100, atol=3)


def test_when_a_face_comes_back_with_another_it_is_the_nearer_one() -> None:
    shows = [[face_at(100, 40)]] * 3 + [[]] * 2 + [[face_at(300, 80), face_at(110, 40)]] * 4
    places, _, _ = follow(shows)
    assert np.allclose(np.array(places[5:], float), 110, atol=3)


def test_after_a_cut_the_largest_face_is_taken() -> None:
    finder = ScriptedFinder()
    follower = FaceFollower(finder)
    picture = np.zeros((1, 1, 3), np.uint8)
    finder.shown = [face_at(100, 60), face_at(300, 30)]
    follower.follow(picture, 0)
    follower.restart()
    finder.shown = [face_at(100, 30), face_at(300, 60)]
    found = follower.follow(picture, 40).face
    assert found is not None
    assert found.middle[0] > 250
