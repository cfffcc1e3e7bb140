"""The server keeps to itself: where it listens, what it says, how it ends."""

from __future__ import annotations

import socket
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rgbavatar.errors import ConfigError
from rgbavatar.viewer import installed
from rgbavatar.viewer.installed import require_viser
from rgbavatar.viewer.server import Viewer, find_port
from rgbavatar.viewer.session import Exhibit
from tests.helpers.tiny_subject import CPU
from tests.viewer.fakes import FakeClient

LOCALHOST = "127.0.0.1"


def nothing_to_show() -> Exhibit:
    raise AssertionError("nobody has come")


@pytest.fixture
def viewer() -> Iterator[Viewer]:
    viewer = Viewer(nothing_to_show, CPU, LOCALHOST, 0)
    viewer.start()
    yield viewer
    viewer.stop()


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.create_server((LOCALHOST, 0)) as server:
        yield server.getsockname()[1]


def wait_until(condition: Callable[[], bool]) -> None:
    limit = time.monotonic() + 20.0
    while not condition():
        assert time.monotonic() < limit
        time.sleep(0.01)


def listening_addresses(port: int) -> set[str]:
    """The local addresses of sockets that listen on a port, as Linux tells them."""
    found = set()
    for table in ("tcp", "tcp6"):
        path = Path("/proc/net") / table
        if not path.exists():
            continue
        for line in path.read_text().splitlines()[1:]:
            address, _, state = line.split()[1:4]
            host, number = address.split(":")
            if int(number, 16) == port and state == "0A":
                found.add(host)
    return found


def test_the_page_is_served_on_localhost_alone_and_nothing_is_printed(
    viewer: Viewer, capfd: pytest.CaptureFixture[str]
) -> None:
    with urllib.request.urlopen(viewer.url, timeout=10) as answer:
        assert answer.status == 200
    if Path("/proc/net/tcp").exists():
        assert listening_addresses(viewer.port) == {"0100007F"}
    assert capfd.readouterr().out == ""


def test_no_public_address_is_asked_for(viewer: Viewer) -> None:
    assert viewer._server.request_share_url() is None
    assert viewer._server._share_tunnel is None


def test_a_taken_port_gives_the_next_free_one(taken: int) -> None:
    viewer = Viewer(nothing_to_show, CPU, LOCALHOST, taken)
    viewer.start()
    assert taken < viewer.port <= taken + 20
    assert viewer.url == f"http://{LOCALHOST}:{viewer.port}"
    viewer.stop()


@pytest.mark.parametrize("host", ["no.such.host.invalid", "203.0.113.7"])
def test_a_host_that_is_not_ours_is_an_error(host: str) -> None:
    with pytest.raises(ConfigError, match=f"--host {host}"):
        find_port(host, 8080)


def test_what_goes_wrong_ends_the_viewer_and_is_told() -> None:
    told: list[Exception] = []

    def fail() -> Exhibit:
        raise DeprecationWarning("broken")

    viewer = Viewer(fail, CPU, LOCALHOST, 0, told.append)
    viewer.start()
    assert not viewer.is_watched
    client = FakeClient()
    client.client_id = 1  # type: ignore[attr-defined]
    viewer._come(client)  # type: ignore[arg-type]
    assert viewer.wait(20.0)
    assert str(viewer.failure) == "broken"
    assert told == [viewer.failure]
    viewer.stop()


def test_a_viewer_leaves_no_thread_of_its_own_behind() -> None:
    viewer = Viewer(nothing_to_show, CPU, LOCALHOST, 0)
    viewer.start()
    viewer.stop()
    wait_until(lambda: "viewer" not in {thread.name for thread in threading.enumerate()})


@pytest.mark.parametrize(("version", "part"), [(None, "viser is not installed"), ("0.2.7", "0.2.7 is installed")])
def test_a_missing_or_old_viser_is_an_error_that_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, version: str | None, part: str
) -> None:
    def find(name: str) -> str:
        if version is None:
            raise installed.metadata.PackageNotFoundError(name)
        return version

    require_viser()
    monkeypatch.setattr(installed.metadata, "version", find)
    with pytest.raises(ConfigError, match=f"{part}.*pip install 'viser"):
        require_viser()
