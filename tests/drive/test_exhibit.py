"""What a page is told of the camera that drives its avatar, without a browser."""

from __future__ import annotations

import time
from pathlib import Path

from rgbavatar.drive.exhibit import DriveExhibit
from rgbavatar.drive.film import FilmMaker, Lens, own_painter
from rgbavatar.viewer.painter import best_painter
from rgbavatar.viewer.session import Session
from tests.drive.conftest import Driven
from tests.drive.test_driver import make_driver
from tests.viewer.fakes import FakeClient


def test_a_page_has_the_camera_its_rates_and_its_buttons(driven: Driven, tmp_path: Path) -> None:
    driver = make_driver(driven, slowness=4.0)
    maker = FilmMaker(driver, own_painter(driven.avatar()), Lens(driven.own().camera), tmp_path / "films")
    exhibit = DriveExhibit(driver, best_painter(driven.avatar()), maker, tmp_path, 1 << 16)
    client = FakeClient(200, 150)
    session = Session(client, exhibit, lambda: None)  # type: ignore[arg-type]
    controls, told, images = client.gui.controls, set[str](), set[int]()
    driver.start()
    while not driver.has_ended:
        now = time.perf_counter()
        if session.due(now) <= 0.0:
            session.serve(now)
        told |= {str(text) for control in list(controls.values()) for text in (control.content, control.label)}
        told.add(session._controls._status.content)  # the page's two texts have one name in the fake
        if "camera" in controls:
            images.add(id(controls["camera"].image))
        if "Record" in controls and client.pictures and not client.notices:
            client.use("Record")
            client.use("This is my face at rest")
        time.sleep(0.001)
    maker.end()
    driver.stop()
    session.close()
    assert controls["camera"].image.shape == (144, 160, 3)
    assert len(images) > 3
    assert len(client.pictures) > 3
    for part in ("tracked: ", "ms from picture to use", "from the camera's picture to this one", "Stop recording"):
        assert any(part in text for text in told), part
    assert [title.split(" ")[0] for title, _ in client.notices] == ["filming", "what"]
    assert (tmp_path / "films" / "00000.mp4").is_file()
