"""`python -m rgbavatar.viewer`, and `--view` of the training scripts, in a real browser."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2
import numpy as np
import pytest
import torch
from playwright.sync_api import Browser, Page

from rgbavatar.io.checkpoint import load_checkpoint
from tests.helpers.browser import open_browser, open_page
from tests.scripts.conftest import ROOT, Script, Workspace, start_program

SOON = 60.0  # seconds within which a busy machine has done what takes one
DRAWN = "text=/rendered in/"  # the line that a page shows once it has a picture


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with open_browser() as browser:
        yield browser


@pytest.fixture
def trained(script: Script, workspace: Workspace) -> Workspace:
    ended = script("train_offline", *workspace.training(), "--preload")
    assert ended.code == 0, ended.err
    return workspace


def start_viewer(*arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "rgbavatar.viewer", *arguments, "--device", "cpu"]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def ended(process: subprocess.Popen[str]) -> Iterator[str]:
    """The address that a program serves, while it runs; it is ended after that."""
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("open http://127.0.0.1:"), line + process.communicate(timeout=SOON)[1]
        yield line.split()[1]
    finally:
        process.terminate()
        try:
            process.communicate(timeout=SOON)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return str(server.getsockname()[1])


def view_of(page: Page) -> np.ndarray:
    """What the page shows left of its controls, below its notices."""
    picture = cv2.imdecode(np.frombuffer(page.screenshot(), np.uint8), cv2.IMREAD_COLOR)
    return picture[:, 330:650].astype(int)


def wait_for(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + SOON
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.1)


def wait_for_picture(page: Page, differs_from: np.ndarray | None = None) -> np.ndarray:
    """A picture that stays, with a head in it; another than the one given."""
    last = view_of(page)
    limit = time.monotonic() + SOON
    while True:
        assert time.monotonic() < limit
        time.sleep(0.4)
        now = view_of(page)
        is_new = differs_from is None or np.abs(now - differs_from).mean() > 0.2
        if now.max() > 100 and is_new and np.abs(now - last).mean() < 0.05:
            return now
        last = now


def own(errors: list[str]) -> list[str]:
    """What a page complained of, but for viser's client: it says so when the program has ended, and when a newer
    picture makes it let go of one (an address that begins with `blob:`) that the browser has not read yet.
    """
    return [line for line in errors if "WebSocket" not in line and "(blob:" not in line]


def set_number(page: Page, label: str, value: float) -> None:
    """Type a value into the box of a slider."""
    box = page.locator(f'text="{label}"').locator("xpath=ancestor::*[.//input][1]").locator("input").last
    box.fill(str(value))
    box.press("Enter")


@pytest.mark.slow
def test_a_run_is_shown_turned_posed_and_saved(trained: Workspace, browser: Browser) -> None:
    process = start_viewer(str(trained.run), "--port", free_port())
    with ended(process) as url, open_page(browser) as (page, errors):
        hosts: set[str] = set()
        page.on("request", lambda request: hosts.add(request.url.split("/")[2] if "//" in request.url else ""))
        page.goto(url)
        page.wait_for_selector(DRAWN, timeout=SOON * 1000)
        start = wait_for_picture(page)

        page.mouse.move(400, 400)
        page.mouse.down()
        page.mouse.move(480, 400, steps=8)
        page.mouse.up()
        turned = wait_for_picture(page, differs_from=start)
        page.get_by_text("Camera of the video").click()
        wait_for_picture(page, differs_from=turned)

        page.get_by_role("tab", name="Face").click()
        set_number(page, "head turn", 50)
        posed = wait_for_picture(page, differs_from=start)
        page.get_by_text("Reset face").click()
        wait_for_picture(page, differs_from=posed)

        page.get_by_role("tab", name="View").click()
        page.get_by_text("Save picture").click()
        page.wait_for_selector("text=00000.png saved")
        saved = cv2.imread(str(trained.run / "pictures" / "00000.png"))
        assert saved.max() > 100
        assert own(errors) == []
        assert hosts - {""} == {url.removeprefix("http://")}
    assert process.returncode == 0


@pytest.mark.slow
def test_two_pages_have_cameras_and_controls_of_their_own(trained: Workspace, browser: Browser) -> None:
    with (
        ended(start_viewer(str(trained.run), "--port", free_port())) as url,
        open_page(browser) as (one, errors),
        open_page(browser) as (other, more_errors),
    ):
        for page in (one, other):
            page.goto(url)
            page.wait_for_selector(DRAWN, timeout=SOON * 1000)
        before, mine = wait_for_picture(other), wait_for_picture(one)
        set_number(one, "frame", 7)
        wait_for_picture(one, differs_from=mine)
        assert np.abs(wait_for_picture(other) - before).mean() < 0.05
        assert own(errors + more_errors) == []


def test_what_cannot_be_shown_is_one_line(trained: Workspace) -> None:
    lost = trained.folder / "lost" / "small"
    shutil.copytree(trained.run, lost)
    shutil.rmtree(trained.subject)
    for run, part in ((trained.folder / "nowhere", "no such checkpoint"), (lost, "dataset.data_dir=DIR")):
        _, err = start_viewer(str(run), "--port", "0").communicate(timeout=SOON)
        assert part in err
        assert err.splitlines()[-1].startswith("error: ")
        assert "Traceback" not in err


@pytest.mark.slow
def test_offline_training_is_looked_at_and_gives_the_same_bits(
    script: Script, workspace: Workspace, browser: Browser
) -> None:
    settings = ["training.images=100000", "training.log_every=20", "training.checkpoint_every=100000"]
    arguments = [*workspace.training(*settings), "--preload", "--view", "--view_port", free_port()]
    process = start_program("train_offline", *arguments)
    with ended(process) as url, open_page(browser) as (page, errors):
        page.goto(url)
        page.wait_for_selector(DRAWN, timeout=SOON * 1000)
        page.wait_for_selector("text=/loss: /")
        early = view_of(page)
        wait_for(lambda: bool(np.abs(view_of(page) - early).mean() > 0.2))
        page.get_by_role("button", name="Pause training").click()
        page.wait_for_selector("text=Go on with training")
        process.send_signal(signal.SIGTERM)
        wait_for(lambda: process.poll() is not None)
        assert own(errors) == []
    assert process.returncode == 143
    watched = load_checkpoint(workspace.run / "checkpoint.pt")
    again = workspace.training(f"training.images={watched.images_seen}", *settings[1:])
    assert script("train_offline", *again, "--preload", "--overwrite").code == 0
    alone = load_checkpoint(workspace.run / "checkpoint.pt")
    assert alone.images_seen == watched.images_seen
    assert all(torch.equal(alone.model[name], watched.model[name]) for name in watched.model)


@pytest.mark.slow
def test_online_training_is_looked_at(workspace: Workspace, browser: Browser) -> None:
    online = ["--config", "config/online.yaml", "--video_fps", "0.5", "--view", "--view_port", free_port()]
    process = start_program("train_online", *workspace.training(), *online)
    with ended(process) as url, open_page(browser) as (page, errors):
        page.goto(url)
        page.wait_for_selector(DRAWN, timeout=SOON * 1000)
        page.wait_for_selector("text=newest frame")
        first = view_of(page)
        wait_for(lambda: bool(np.abs(view_of(page) - first).mean() > 0.2))
        page.wait_for_selector("text=/psnr: /")
        wait_for(lambda: process.poll() is not None)
        assert own(errors) == []
        assert process.stderr is not None
        told = process.stderr.read()
    assert process.returncode == 0, told
    assert (workspace.run / "preview.png").exists()
