"""A live source in a process of its own, so that tracking and training do not wait for each other's Python.

The two talk through a pipe: the process tells of its frames, of what the camera sees and of how it ended; it hears when to
begin, and when to end. It does not outlive the program that began it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import Any

import cv2
import numpy as np
import torch

from rgbavatar.cli import Tell
from rgbavatar.datasets.stream import FrameSource, SkippedFrame, StreamFrame
from rgbavatar.errors import DataError, RgbAvatarError
from rgbavatar.geometry.camera import Camera
from rgbavatar.live.source import LiveSource
from rgbavatar.templates.base import HeadTemplate

_SIGHT_SECONDS = 0.2  # between two tellings of what the camera sees
_POLL_SECONDS = 0.1  # between two looks at whether to end
_END_SECONDS = 60.0  # that the process may take to write what it has recorded
_LAST_SECONDS = 5.0  # that it may take to end once all is written
_GIVES_WAY = 5  # of Unix' niceness, by which training gives way to its camera where both want the same core

OPENED, FRAME, SKIPPED, SIGHT, REPORT, FAILED, DONE = [
    "opened",
    "frame",
    "skipped",
    "sight",
    "report",
    "failed",
    "done",
]
BEGIN, END = "begin", "end"

MakeSource = Callable[[], LiveSource]
"""Makes the source in the process; can be pickled."""


class RemoteSource(FrameSource):
    """See the module's head, and datasets.stream.FrameSource; also a viewer.frames.CameraSight."""

    expected = None

    def __init__(self, subject: str, template: HeadTemplate, make: MakeSource, tell: Tell) -> None:
        """Raises what `make` raises."""
        self._subject, self._template, self._tell = subject, template, tell
        self._picture: np.ndarray | None = None
        self._status: Mapping[str, str] = {}
        self._is_closed = False
        context = multiprocessing.get_context("spawn")
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_run, args=(theirs, make), name="camera", daemon=True)
        with _one_thread_each():
            self._process.start()
        theirs.close()
        self._expect(OPENED)
        os.nice(_GIVES_WAY)

    @property
    def subject(self) -> str:
        return self._subject

    @property
    def template(self) -> HeadTemplate:
        return self._template

    def camera_picture(self) -> np.ndarray | None:
        return self._picture

    def camera_status(self) -> Mapping[str, str]:
        return self._status

    def frames(self, closed: threading.Event) -> Iterator[StreamFrame | SkippedFrame]:
        self._pipe.send((BEGIN, None))
        while not closed.is_set():
            if not self._pipe.poll(_POLL_SECONDS):
                continue
            kind, content = self._receive()
            if kind == FRAME:
                yield unpack_frame(content)
            elif kind == SKIPPED:
                yield content
            elif kind == SIGHT:
                self._picture, self._status = content
            elif kind == DONE:
                return

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        with suppress(OSError, DataError, RgbAvatarError):
            self._pipe.send((END, None))
            for line in self._expect(REPORT, _END_SECONDS):
                self._tell(line)
        self._process.join(_LAST_SECONDS)
        self._process.kill()
        self._process.join()
        self._pipe.close()

    def _expect(self, wanted: str, seconds: float | None = None) -> Any:
        """What is told of the wanted kind, whatever is told before; nothing, where it takes too long."""
        limit = None if seconds is None else time.monotonic() + seconds
        while limit is None or self._pipe.poll(max(0.0, limit - time.monotonic())):
            kind, content = self._receive()
            if kind == wanted:
                return content
        return ()

    def _receive(self) -> tuple[str, Any]:
        """What is told next. Raises what ended the process."""
        try:
            kind, content = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise DataError(f"{self._subject}: the camera's process has ended by itself") from error
        if kind == FAILED:
            raise content
        return kind, content


@contextmanager
def _one_thread_each() -> Iterator[None]:
    """Processes that begin meanwhile have one thread for each of torch's and numpy's sums: several, in each of the source's
    own threads, wait for each other longer than they work."""
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    os.environ.update(dict.fromkeys(names, "1"))
    try:
        yield
    finally:
        for name, value in before.items():
            os.environ.pop(name) if value is None else os.environ.update({name: value})


def pack_frame(frame: StreamFrame) -> tuple[Any, ...]:
    """A frame as plain arrays: a pipe would pass tensors as open files."""
    camera = frame.camera
    parts = (frame.image, frame.vertices, frame.code, camera.world_to_camera, camera.intrinsics)
    return frame.number, frame.stamp, frame.can_wait, camera.width, camera.height, *(part.numpy() for part in parts)


def unpack_frame(packed: tuple[Any, ...]) -> StreamFrame:
    """The inverse of `pack_frame`."""
    number, stamp, can_wait, width, height, *arrays = packed
    image, vertices, code, pose, intrinsics = (torch.from_numpy(array) for array in arrays)
    return StreamFrame(number, stamp, image, vertices, code, Camera(pose, intrinsics, width, height), can_wait)


def _run(pipe: Connection, make: MakeSource) -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program, which ends this one
    cv2.setNumThreads(1)  # see _one_thread_each
    try:
        source = make()
    except Exception as error:
        pipe.send((FAILED, _portable(error)))
        return
    lines: list[str] = []
    try:
        pipe.send((OPENED, None))
        if pipe.recv()[0] == BEGIN:
            _stream(pipe, source)
    except (EOFError, OSError):
        pass  # nobody listens any more
    finally:
        source.close()
        lines = source.report()
    with suppress(OSError):
        pipe.send((REPORT, lines))


def _stream(pipe: Connection, source: LiveSource) -> None:
    """Tell of all frames until there are no more, or the pipe says so; then wait for it to say so."""
    closed, lock = threading.Event(), threading.Lock()

    def tell(kind: str, content: object) -> None:
        with lock:
            pipe.send((kind, content))

    listener = threading.Thread(target=_listen, args=(pipe, closed), daemon=True)
    listener.start()
    threading.Thread(target=_tell_sight, args=(tell, source, closed), daemon=True).start()
    try:
        for item in source.frames(closed):
            tell(SKIPPED, item) if isinstance(item, SkippedFrame) else tell(FRAME, pack_frame(item))
        tell(DONE, None)
    except (EOFError, OSError):
        raise
    except Exception as error:
        tell(FAILED, _portable(error))
    listener.join()


def _listen(pipe: Connection, closed: threading.Event) -> None:
    """Wait for the word to end, or for the end of who could say it."""
    with suppress(EOFError, OSError):
        pipe.recv()
    closed.set()


def _tell_sight(tell: Callable[[str, object], None], source: LiveSource, closed: threading.Event) -> None:
    last: np.ndarray | None = None
    with suppress(OSError):
        while not closed.wait(_SIGHT_SECONDS):
            picture = source.camera_picture()
            if picture is not last:
                last = picture
                tell(SIGHT, (picture, dict(source.camera_status())))


def _portable(error: Exception) -> Exception:
    """The error as another process can raise it: one that a user can act on as it is, another with its story."""
    if isinstance(error, RgbAvatarError):
        return error
    return RuntimeError("".join(traceback.format_exception(error)))
