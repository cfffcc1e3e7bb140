"""A camera's face becomes poses of the avatar as it comes; films show them at a steady rate."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.datasets.features import compute_features
from rgbavatar.drive.driver import Driven as DrivenPose
from rgbavatar.drive.driver import LiveDriver
from rgbavatar.drive.film import FilmMaker, Lens, film, own_painter
from rgbavatar.errors import DataError
from rgbavatar.track.video import FileFrames
from rgbavatar.viewer.frames import AS_RECORDED, CameraSight, Pose
from tests.drive.conftest import Driven
from tests.helpers.live_camera import FOCAL, FRAMES, LOST, TrueFinder, VirtualCamera
from tests.helpers.tracked_face import face_model


def make_driver(driven: Driven, blind: Sequence[int] = (), count: int = FRAMES, slowness: float = 0.0) -> LiveDriver:
    finder = TrueFinder(blind)
    camera = VirtualCamera(count, slowness, finder.looked)
    return LiveDriver(camera, face_model(), lambda: contextlib.nullcontext(finder), driven.own(), FOCAL)


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.005)


def test_poses_come_until_the_camera_ends(driven: Driven) -> None:
    driver = make_driver(driven, LOST)
    assert isinstance(driver, CameraSight)
    assert driver.pose(0, AS_RECORDED) is None
    begin, seen, last = time.perf_counter(), [], None
    driver.start()
    while not (driver.has_ended and driver.is_newest(last)):
        newer = driver.wait_newer(last, 0.1)
        if newer is not None:
            last = newer
            seen.append(newer.pose)
    assert driver.failure is None
    assert driver.sight.lost == len(LOST)
    numbers = [pose.number for pose in seen]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == driver.sight.used - 1
    assert driver.sight.used > 30
    assert all(begin < pose.taken < time.perf_counter() for pose in seen)  # type: ignore[operator]
    moved = (seen[0].vertices - seen[-1].vertices).norm(dim=2)
    assert moved.mean() > 1e-3
    assert driver.camera_picture() is not None
    driver.stop()


def test_what_the_face_does_now_can_be_taken_for_rest(driven: Driven) -> None:
    driver, own = make_driver(driven, slowness=2.0), driven.own()
    vertices, _ = compute_features(own.template, own.neutral)
    driver.start()
    wait_until(lambda: driver.sight.used > 5)
    driver.take_rest()
    wait_until(lambda: not driver._takes_rest)
    used = driver.sight.used
    wait_until(lambda: driver.sight.used > used)
    pose = driver.pose(0, AS_RECORDED)
    assert pose is not None
    driver.stop()
    assert (pose.vertices - vertices).norm(dim=2).mean() < 0.01  # metres, a few frames later


def test_who_sees_nobody_fails_in_one_line(driven: Driven) -> None:
    driver = make_driver(driven, range(FRAMES))
    driver.start()
    wait_until(lambda: driver.has_ended)
    driver.stop()
    assert isinstance(driver.failure, DataError)
    assert "expected the face of one person" in str(driver.failure)


class Scripted:
    """A driver whose poses come at given seconds, each with its level of grey for a picture."""

    failure = None

    def __init__(self, *poses: tuple[float, int]) -> None:
        self._poses, self._last = list(poses), None

    @property
    def has_ended(self) -> bool:
        return not self._poses

    def is_newest(self, last: object) -> bool:
        return last is self._last

    def wait_newer(self, last: object, seconds: float) -> DrivenPose | None:
        if not self._poses:
            return None
        moment, level = self._poses.pop(0)
        pose = Pose(level, torch.zeros(1, 1), torch.zeros(1, 1, 3), None, 100.0 + moment)  # type: ignore[arg-type]
        self._last = DrivenPose(pose, np.full((10, 20, 3), level, np.uint8))  # type: ignore[assignment]
        return self._last


class Grey:
    """A painter of flat pictures."""

    def paint(self, pose: Pose, look: object, camera: object) -> np.ndarray:
        return np.full((16, 24, 3), pose.number, np.uint8)


def levels_of(path: Path) -> list[int]:
    return [round(float(frame.picture[4:12, -12:-4].mean()) / 50) * 50 for frame in FileFrames(path)]


def test_a_film_runs_at_its_own_rate_whatever_the_rate_of_poses(tmp_path: Path) -> None:
    driver = Scripted((0.0, 50), (0.3, 100), (0.32, 150), (0.4, 200), (0.6, 250))
    lens = Lens(None, rate=10.0)  # type: ignore[arg-type]
    path = tmp_path / "film.mp4"
    count = film(driver, Grey(), lens, path, lambda: False)  # type: ignore[arg-type]
    assert levels_of(path) == [50, 50, 50, 150, 200, 200, 250]
    assert count == 7


def test_the_camera_stands_to_the_left_where_it_is_asked_for(tmp_path: Path) -> None:
    lens = Lens(None, beside=True)  # type: ignore[arg-type]
    picture = lens.take(Grey(), DrivenPose(Pose(9, None, None, None), np.full((10, 20, 3), 77, np.uint8)))  # type: ignore[arg-type]
    assert picture.shape == (16, 32 + 24, 3)
    assert picture[0, 0].tolist() == [77] * 3
    assert picture[0, -1].tolist() == [9] * 3


def test_a_film_without_a_pose_is_none(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no face came"):
        film(Scripted(), Grey(), Lens(None), tmp_path / "film.mp4", lambda: False)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_films_of_the_page_are_numbered_and_show_the_avatar(driven: Driven, tmp_path: Path) -> None:
    driver = make_driver(driven, slowness=1.0)
    maker = FilmMaker(driver, own_painter(driven.avatar()), Lens(driven.own().camera), tmp_path / "films")
    driver.start()
    wait_until(lambda: driver.sight.used > 0)
    assert "filming" in maker.toggle()
    wait_until(lambda: driver.has_ended)
    wait_until(lambda: not maker.is_filming)
    driver.stop()
    assert maker.status.endswith("00000.mp4")
    frames = [frame.picture.astype(int) for frame in FileFrames(tmp_path / "films" / "00000.mp4")]
    assert len(frames) > 10
    middle = frames[5][48:80, 48:80].reshape(-1, 3).mean(0)
    assert np.abs(middle - (205, 150, 120)).max() < 60  # skin
    assert np.abs(frames[0] - frames[-1]).mean() > 1
