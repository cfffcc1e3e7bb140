"""`python -m rgbavatar.drive`: what is wrong is one line, and a page shows camera and avatar."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbavatar.cli import run_script
from rgbavatar.drive import __main__ as command
from rgbavatar.drive.driver import LiveDriver
from rgbavatar.drive.exhibit import DriveExhibit
from rgbavatar.drive.film import FilmMaker, Lens, own_painter
from rgbavatar.viewer.painter import best_painter
from rgbavatar.viewer.server import Viewer
from tests.drive.conftest import Driven
from tests.drive.test_driver import make_driver, wait_until
from tests.helpers.browser import open_browser, open_page
from tests.helpers.tiny_subject import CPU

Call = Callable[..., str]


@pytest.fixture
def call(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Call:
    """The error line of a call that fails."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr(sys, "argv", ["drive", *map(str, arguments), "--device", "cpu"])
        with pytest.raises(SystemExit) as ended:
            run_script(command.main)
        assert ended.value.code == 2
        [line] = capsys.readouterr().err.splitlines()
        return line

    return run


def test_a_folder_that_is_no_run_is_told(call: Call, tmp_path: Path) -> None:
    assert "no such checkpoint; give the folder of a run" in call(tmp_path)


def test_a_source_that_is_no_camera_is_told(call: Call, driven: Driven) -> None:
    assert "--source clip.mp4: expected camera:0 or video:FILE" in call(driven.run.path, "--source", "clip.mp4")


def test_another_template_needs_its_landmarks(call: Call, driven: Driven) -> None:
    line = call(driven.run.path, "--source", "camera:0")
    assert "is not the free head; give --landmarks FILE" in line


def test_a_film_that_is_there_is_not_replaced(call: Call, driven: Driven, tmp_path: Path) -> None:
    (tmp_path / "film.mp4").write_text("precious")
    line = call(driven.run.path, "--record", tmp_path / "film.mp4")
    assert "film.mp4: exists already; give --overwrite" in line
    assert (tmp_path / "film.mp4").read_text() == "precious"


def test_a_camera_that_is_not_there_is_told(call: Call, driven: Driven) -> None:
    pytest.importorskip("mediapipe")
    line = call(driven.run.path, "--source", "camera:97", "--landmarks", driven.landmarks)
    assert "camera:97: found no camera that can be opened" in line


@pytest.fixture
def page_of(driven: Driven, tmp_path: Path) -> Iterator[tuple[Viewer, FilmMaker, LiveDriver]]:
    """The driver is not started: its clip is short, and a browser may take long to open."""
    driver = make_driver(driven, slowness=8.0)
    maker = FilmMaker(driver, own_painter(driven.avatar()), Lens(driven.own().camera), tmp_path / "films")
    exhibit = DriveExhibit(driver, best_painter(driven.avatar()), maker, tmp_path, 1 << 18)
    viewer = Viewer(lambda: exhibit, CPU, "127.0.0.1", 0)
    driver.came = viewer.wake
    viewer.start()
    yield viewer, maker, driver
    maker.end()
    driver.stop()
    viewer.stop()


@pytest.mark.slow
def test_a_page_shows_the_avatar_beside_the_camera_and_films(
    page_of: tuple[Viewer, FilmMaker, LiveDriver], tmp_path: Path
) -> None:
    viewer, maker, driver = page_of
    with open_browser() as browser, open_page(browser, 900, 900) as (page, _):
        page.goto(viewer.url)
        wait_until(lambda: viewer.is_watched)
        driver.start()
        page.wait_for_selector("text=/from the camera's picture to this one/", timeout=60_000)
        page.wait_for_selector("text=/ms from picture to use/", timeout=60_000)
        page.get_by_role("button", name="Record").click()
        wait_until(lambda: maker.is_filming)
        first = _screenshot(page.screenshot())
        time.sleep(2.0)
        second = _screenshot(page.screenshot())
        page.get_by_role("button", name="Stop recording").click()
        wait_until(lambda: not maker.is_filming)
        page.wait_for_selector("text=/00000.mp4/", timeout=60_000)
        assert page.locator("img").count() >= 1
    assert viewer.failure is None
    head = first[200:700, 150:450]
    assert head.max() > 100  # the avatar
    assert np.abs(head - second[200:700, 150:450]).mean() > 0.2  # which moves
    assert (tmp_path / "films" / "00000.mp4").stat().st_size > 1000


def _screenshot(content: bytes) -> np.ndarray:
    return cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR).astype(int)
