"""A headless Chromium for tests of pages. It is looked for on the machine; playwright brings none of its own."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_QUIET = [  # tests run where no network is, and as root in containers
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
_SOFTWARE_GL = ["--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist"]


def find_chromium() -> str:
    """Where Chromium is. Where it is not, the test is skipped, but in CI, which installs it, fails."""
    for name in _NAMES:
        path = shutil.which(name)
        if path is not None:
            return path
    message = f"no {_NAMES[0]} is installed; on Debian: apt-get install chromium"
    if os.environ.get("CI"):
        pytest.fail(message)
    pytest.skip(message)


@contextmanager
def open_browser() -> Iterator[Browser]:
    """A browser with WebGL2 drawn by the CPU, the same picture on every machine."""
    path = find_chromium()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=[*_QUIET, *_SOFTWARE_GL])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def open_page(browser: Browser, width: int = 1000, height: int = 700) -> Iterator[tuple[Page, list[str]]]:
    """An empty page of so many pixels, and the errors that it has met, as they come."""
    page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=1)
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda message: errors.append(_told(message)) if message.type == "error" else None)
    try:
        yield page, errors
    finally:
        page.close()


def _told(message: ConsoleMessage) -> str:
    """What a page complained of, with the address that it is about."""
    return f"{message.text} ({message.location.get('url', '')})"
