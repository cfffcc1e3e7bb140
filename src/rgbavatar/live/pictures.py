"""The newest picture of a camera, whatever is done with the one before."""

from __future__ import annotations

import threading
import time
from collections.abc import Generator, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import cast

from rgbavatar.track.video import VideoFrame, VideoFrames
from rgbavatar.viewer.pace import Rate

_LOOK_SECONDS = 0.1  # between two looks at whether to end


@dataclass(frozen=True)
class TakenFrame(VideoFrame):
    """A picture and when it was taken."""

    taken: float


class NewestPictures:
    """Reads a camera in a thread. came, missed: pictures; rate: of those that come."""

    def __init__(self, frames: VideoFrames) -> None:
        self.came = self.missed = 0
        self.rate = Rate()
        self._frames = frames
        self._newest: TakenFrame | None = None
        self._failure: Exception | None = None
        self._is_over = False
        self._changed = threading.Condition()

    def frames(self, closed: threading.Event) -> Iterator[TakenFrame]:
        """Each time the newest picture, once, until there are no more or `closed` is set. Raises what the camera does."""
        threading.Thread(target=self._run, args=(closed,), name="camera", daemon=True).start()
        while (frame := self._wait(closed)) is not None:
            yield frame
        if self._failure is not None:
            raise self._failure

    def _wait(self, closed: threading.Event) -> TakenFrame | None:
        with self._changed:
            while self._newest is None and not self._is_over and not closed.is_set():
                self._changed.wait(_LOOK_SECONDS)
            frame, self._newest = self._newest, None
        return None if closed.is_set() else frame

    def _run(self, closed: threading.Event) -> None:
        try:
            with closing(cast("Generator[VideoFrame, None, None]", iter(self._frames))) as frames:
                for frame in frames:
                    if closed.is_set():
                        return
                    self._put(frame)
        except Exception as error:  # raised again where the pictures are used
            self._failure = error
        finally:
            with self._changed:
                self._is_over = True
                self._changed.notify_all()

    def _put(self, frame: VideoFrame) -> None:
        now = time.perf_counter()
        with self._changed:
            self.came += 1
            self.missed += self._newest is not None
            self._newest = TakenFrame(frame.number, frame.seconds, frame.picture, now)
            self._changed.notify_all()
        self.rate.note(now)
