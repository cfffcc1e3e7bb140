"""Frames on their way from a source to training: taken in by a thread, held until training has a moment for them.

The source never waits for training, but where it keeps its frames anyhow; training never waits for the source. What is held
is bounded: where training is too far behind, the oldest frames are dropped and counted.
"""

from __future__ import annotations

import threading
from collections import deque
from types import TracebackType

from rgbavatar.datasets.stream import FrameSource, SkippedFrame, StreamFrame

_JOIN_SECONDS = 5.0  # for a source that hangs: its thread dies with the program


class FrameIntake:
    """A context in which a source's frames are taken in.

    arrived, dropped, skipped: frames that came whole, of them those that training never saw, and those that came broken.
    problems: what was wrong with the latest broken ones. failure: what broke the stream off, if anything did.
    """

    def __init__(self, source: FrameSource, capacity: int) -> None:
        self.arrived = self.dropped = self.skipped = 0
        self.problems: deque[str] = deque(maxlen=capacity)
        self.failure: Exception | None = None
        self._source = source
        self._capacity = capacity
        self._held: deque[StreamFrame] = deque()
        self._over = False
        self._closed = threading.Event()
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="frame-intake", daemon=True)

    def __enter__(self) -> FrameIntake:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        with self._changed:
            self._changed.notify_all()
        self._thread.join(_JOIN_SECONDS)

    @property
    def has_ended(self) -> bool:
        """Whether no frame is held and none will come."""
        with self._changed:
            return self._over and not self._held

    def take(self) -> list[StreamFrame]:
        """All frames that are held, the oldest first."""
        with self._changed:
            taken = list(self._held)
            self._held.clear()
            self._changed.notify_all()
        return taken

    def wait(self, seconds: float) -> bool:
        """Wait until a frame is held or the stream has ended, at most so long. Returns whether it is so."""
        with self._changed:
            return self._changed.wait_for(lambda: bool(self._held) or self._over, seconds)

    def _run(self) -> None:
        try:
            for item in self._source.frames(self._closed):
                self._put(item)
        except Exception as error:  # told by whoever asks, once what was trained is safe
            self.failure = error
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()

    def _put(self, item: StreamFrame | SkippedFrame) -> None:
        with self._changed:
            if isinstance(item, SkippedFrame):
                self.skipped += 1
                self.problems.append(item.reason)
                return
            if item.can_wait:
                self._changed.wait_for(lambda: len(self._held) < self._capacity or self._closed.is_set())
            elif len(self._held) >= self._capacity:
                self._held.popleft()
                self.dropped += 1
            self._held.append(item)
            self.arrived += 1
            self._changed.notify_all()
