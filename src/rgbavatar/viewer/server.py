"""The web server of the viewer and its thread, which renders for all pages in turn.

viser serves the page and carries what is said. It draws no Gaussians: pictures are rendered here and sent as the scene's
background. It opens no tunnel and prints nothing.
"""

from __future__ import annotations

import logging
import math
import socket
import threading
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import rich
import torch
import viser

from rgbavatar.errors import ConfigError
from rgbavatar.viewer.session import Exhibit, Session

_PORTS = 20  # tried one after the other
_LONGEST_WAIT = 1.0  # seconds between two looks at the sessions
_END_SECONDS = 5.0  # that the thread may take for its last picture
_LABEL = "RGBAvatar"


class _LocalServer(viser.ViserServer):
    """A server that stays at home: a page's request for a public address is not heard."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        return None


class Viewer:
    """Serves an exhibit, from `start` to `stop`. open_exhibit: called once, in the viewer's thread, when the first page comes.

    failure: what ended the viewer, if something did; `failed` is called then.
    """

    def __init__(
        self,
        open_exhibit: Callable[[], Exhibit],
        device: torch.device,
        host: str,
        port: int,
        failed: Callable[[Exception], None] = lambda error: None,
    ) -> None:
        """Raises ConfigError where there is no such host, or no free port."""
        self.failure: Exception | None = None
        self._open_exhibit = open_exhibit
        self._device = device
        self._failed = failed
        self._work, self._ended, self._lock = threading.Event(), threading.Event(), threading.Lock()
        self._clients: dict[int, viser.ClientHandle] = {}
        self._sessions: dict[int, Session] = {}
        self._exhibit: Exhibit | None = None
        self._server = _start_server(host, find_port(host, port))
        self.host, self.port = host, self._server.get_port()
        self._thread = threading.Thread(target=self._run, name="viewer", daemon=True)

    def start(self) -> None:
        """Serve."""
        self._server.on_client_connect(self._come)
        self._server.on_client_disconnect(self._go)
        self._thread.start()

    def stop(self) -> None:
        """Serve no more."""
        self._ended.set()
        self.wake()
        self._thread.join(_END_SECONDS)
        self._server.stop()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    @property
    def is_watched(self) -> bool:
        """Whether a page is open."""
        return bool(self._clients)

    def wake(self) -> None:
        """Look at the sessions. May be called anywhere."""
        self._work.set()

    def wait(self, seconds: float) -> bool:
        """Wait for the viewer to end by itself, so long at most. Returns whether it has."""
        return self._ended.wait(seconds)

    def _come(self, client: viser.ClientHandle) -> None:
        with self._lock:
            self._clients[client.client_id] = client
        self.wake()

    def _go(self, client: viser.ClientHandle) -> None:
        with self._lock:
            self._clients.pop(client.client_id, None)
        self.wake()

    def _run(self) -> None:
        try:
            with torch.no_grad(), _own_stream(self._device):
                while not self._ended.is_set():
                    self._look()
        except Exception as error:
            self.failure = error
            self._failed(error)
        finally:
            self._ended.set()
            for session in self._sessions.values():
                session.close()
            for session in self._sessions.values():
                session.join()

    def _look(self) -> None:
        """Wait until something is due, then do it, for each page once."""
        now = time.perf_counter()
        wait = min((session.due(now) for session in self._sessions.values()), default=math.inf)
        self._work.wait(min(wait, _LONGEST_WAIT))
        self._work.clear()
        self._welcome()
        for session in self._sessions.values():
            session.serve(time.perf_counter())

    def _welcome(self) -> None:
        """Sessions for pages that have come, none for those that have gone."""
        with self._lock:
            clients = dict(self._clients)
        for gone in self._sessions.keys() - clients.keys():
            self._sessions.pop(gone).close()
        for number in clients.keys() - self._sessions.keys():
            if self._exhibit is None:
                self._exhibit = self._open_exhibit()
            self._sessions[number] = Session(clients[number], self._exhibit, self.wake)


def find_port(host: str, port: int) -> int:
    """The first free port from `port` on; 0 stays 0, which takes any. Raises ConfigError."""
    for candidate in range(port, min(port + _PORTS, 65536)):
        try:
            family = socket.getaddrinfo(host, candidate, type=socket.SOCK_STREAM)[0][0]
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind((host, candidate))
        except socket.gaierror as error:
            raise ConfigError(
                f"--host {host}: no such address ({error.strerror}); leave it out for 127.0.0.1"
            ) from error
        except PermissionError as error:
            raise ConfigError(f"--port {candidate}: may not be served here; give one above 1023") from error
        except OSError as error:
            if candidate + 1 < min(port + _PORTS, 65536) and "in use" in str(error):
                continue
            reason = error.strerror or str(error)
            raise ConfigError(f"--host {host} --port {candidate}: cannot be served ({reason}); give another") from error
        else:
            return candidate
    raise ConfigError(f"--port {port}: expected 0 to 65535")


def _start_server(host: str, port: int) -> viser.ViserServer:
    rich.reconfigure(quiet=True)  # viser greets on the standard output, which is ours
    logging.getLogger("websockets").setLevel(logging.CRITICAL)  # a stray connection is no news
    warnings.filterwarnings("ignore", message="Queued a .* on a closed connection")  # a page went while it was served
    server = _LocalServer(host, port, label=_LABEL, verbose=False)
    server.scene.set_up_direction("+y")
    server.gui.configure_theme(show_logo=False, show_share_button=False, dark_mode=True)
    server.gui.main_panel.dock_right()
    return server


class _OwnStream:
    """A context in which a thread works on a stream of its own of one GPU, so that it does not queue behind training."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._context = torch.cuda.stream(torch.cuda.Stream(device))

    def __enter__(self) -> None:
        torch.cuda.set_device(self._device)
        self._context.__enter__()

    def __exit__(self, *error: object) -> None:
        self._context.__exit__(*error)


def _own_stream(device: torch.device) -> AbstractContextManager[None]:
    return nullcontext() if device.type == "cpu" else _OwnStream(device)
