"""What a page is sent: small pictures while things move, a full one when they rest, what its own controls say."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbavatar.viewer.frames import AS_RECORDED
from rgbavatar.viewer.painter import Look, best_painter
from rgbavatar.viewer.recorded import RunExhibit
from rgbavatar.viewer.session import Session
from tests.viewer.conftest import FRAMES, Small
from tests.viewer.fakes import FakeClient

WIDTH, HEIGHT = 400, 300


class Page:
    """A session and its client, driven as the viewer's thread drives it."""

    def __init__(self, exhibit: RunExhibit) -> None:
        self.client = FakeClient(WIDTH, HEIGHT)
        self.session = Session(self.client, exhibit, lambda: None)  # type: ignore[arg-type]

    def run(self, until: Callable[[], bool], act: Callable[[], None] = lambda: None) -> None:
        limit = time.monotonic() + 30.0
        while not until():
            assert time.monotonic() < limit
            act()
            now = time.perf_counter()
            if self.session.due(now) <= 0.0:
                self.session.serve(now)
            time.sleep(0.001)

    def rest(self) -> np.ndarray:
        """The picture when nothing moves any more."""
        self.run(lambda: self.session.due(time.perf_counter()) == float("inf") and self.session._delivery.is_free)
        time.sleep(0.05)
        return self.client.pictures[-1][0]

    def shape(self) -> tuple[int, ...]:
        return self.client.pictures[-1][0].shape if self.client.pictures else ()


@pytest.fixture
def exhibit(small: Small, tmp_path: Path) -> RunExhibit:
    return RunExhibit(small.poses, tmp_path / "pictures", best_painter(small.avatar()), most_pixels=1 << 20)


@pytest.fixture
def page(exhibit: RunExhibit) -> Iterator[Page]:
    page = Page(exhibit)
    yield page
    page.session.close()


def test_a_page_begins_at_the_tracked_camera_with_the_first_frame(page: Page, small: Small) -> None:
    picture = page.rest()
    camera = page.client.camera
    assert camera.position.tolist() == pytest.approx([0.0, 0.0, 0.0], abs=1e-6)
    box = small.dataset.vertices[0]
    middle = 0.5 * (box.amin(0) + box.amax(0))
    assert camera.look_at.tolist() == pytest.approx(middle.tolist(), abs=1e-6)
    assert picture.shape == (HEIGHT, WIDTH, 3)


def test_pictures_are_smaller_while_the_camera_moves_and_full_when_it_rests(page: Page) -> None:
    page.rest()
    before = len(page.client.pictures)
    page.run(lambda: len(page.client.pictures) > before + 1, page.client.camera.move)
    moving, quality = page.client.pictures[-1]
    assert moving.shape[0] * moving.shape[1] <= 0.55 * WIDTH * HEIGHT
    assert page.rest().shape == (HEIGHT, WIDTH, 3)
    assert page.client.pictures[-1][1] > quality


def test_nothing_is_sent_while_nothing_changes(page: Page) -> None:
    page.rest()
    count = len(page.client.pictures)
    time.sleep(0.3)
    assert page.session.due(time.perf_counter()) == float("inf")
    assert len(page.client.pictures) == count


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("frame", 12),
        ("jaw open", 30.0),
        ("head turn", 40.0),
        ("expression 1", 2.0),
        ("weight 2", 3.0),
        ("size of Gaussians", 0.4),
        ("background", (255, 255, 255)),
        ("mesh", "wireframe"),
    ],
)
def test_a_control_changes_the_picture_and_back(page: Page, label: str, value: object) -> None:
    before, start = page.rest(), page.client.gui.controls[label].value
    page.client.use(label, value)
    changed = page.rest()
    assert np.abs(changed.astype(int) - before).max() > 8
    page.client.use(label, start)
    assert np.array_equal(page.rest(), before)


def test_what_lies_beyond_a_sliders_ends_is_no_error(page: Page, exhibit: RunExhibit) -> None:
    page.rest()
    for label, value in (("size of Gaussians", 0.0), ("frames a second", 0.0), ("frame", 10_000), ("frame", -3)):
        page.client.use(label, value)
        assert page.rest().shape == (HEIGHT, WIDTH, 3)
    page.client.use("play", True)
    page.client.camera.image_width = page.client.camera.image_height = 0
    count = len(page.client.pictures)
    page.run(lambda: len(page.client.pictures) > count + 1, page.client.camera.move)
    assert page.shape() == (1, 1, 3)


def test_resets_bring_back_the_recorded_frame(page: Page) -> None:
    before = page.rest()
    page.client.use("jaw open", 20.0)
    page.client.use("expression 3", 1.0)
    page.client.use("weight 1", 2.0)
    page.rest()
    page.client.use("Reset face")
    page.client.use("Reset weights")
    assert np.array_equal(page.rest(), before)


def test_frozen_weights_are_those_of_the_moment(page: Page, exhibit: RunExhibit) -> None:
    page.rest()
    page.client.use("freeze", True)
    page.rest()
    page.client.use("frame", 12)
    picture = page.rest()
    weights = exhibit.shown.weights(exhibit.poses.pose(0, AS_RECORDED).code)[0]
    look = Look((0.0,) * 4, tuple(weights.tolist()))
    pose = exhibit.poses.pose(12, AS_RECORDED)
    assert pose is not None
    assert np.array_equal(picture, exhibit.shown.paint(pose, look, page.session._camera()))
    page.client.use("freeze", False)
    assert not np.array_equal(page.rest(), picture)


def test_pages_do_not_disturb_each_other(exhibit: RunExhibit) -> None:
    one, other = Page(exhibit), Page(exhibit)
    before = other.rest()
    one.client.use("frame", 9)
    one.client.use("weight 1", 3.0)
    one.client.camera.fov = 0.2
    one.rest()
    other.client.camera.move()
    assert np.array_equal(other.rest(), before)


def test_playing_shows_the_frames_in_turn(page: Page) -> None:
    page.rest()
    shown: list[object] = []

    def note() -> None:
        number = page.client.gui.controls["frame"].value
        if not shown or shown[-1] != number:
            shown.append(number)

    page.client.use("frames a second", 60.0)
    page.client.use("play", True)
    page.run(lambda: len(shown) > 6, note)
    assert all(0 <= number < FRAMES for number in shown)  # type: ignore[operator]
    page.client.use("play", False)
    assert page.rest().shape == (HEIGHT, WIDTH, 3)


def test_a_saved_picture_is_what_the_page_shows(page: Page, tmp_path: Path) -> None:
    shown = page.rest()
    page.client.use("Save picture")
    page.client.use("Download picture")
    page.run(lambda: bool(page.client.notices and page.client.downloads))
    saved = tmp_path / "pictures" / "00000.png"
    assert np.array_equal(cv2.imread(str(saved))[..., ::-1], shown)
    assert page.client.notices[0][0] == "00000.png saved"
    assert str(saved.parent) in page.client.notices[0][1]
    assert page.client.downloads[0][1] == saved.read_bytes()


def test_a_picture_that_cannot_be_saved_is_told_of(page: Page, tmp_path: Path) -> None:
    page.rest()
    (tmp_path / "pictures").touch()
    page.client.use("Save picture")
    page.run(lambda: bool(page.client.notices))
    assert page.client.notices[0][0] == "Picture not saved"
