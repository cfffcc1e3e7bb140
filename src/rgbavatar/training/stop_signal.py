"""Signals: Ctrl-C and SIGTERM end training after the step at hand, so that it can be saved; SIGUSR1 pauses an online run."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopSignal:
    """A context in which the first signal is noted and a second one ends the program as usual.

    Outside the main thread, where Python delivers no signals, it notes none.
    """

    def __init__(self) -> None:
        self.number = 0
        self._previous: dict[int, Any] = {}

    def __enter__(self) -> StopSignal:
        if threading.current_thread() is threading.main_thread():
            self._previous = {number: signal.signal(number, self._note) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._restore()

    @property
    def requested(self) -> bool:
        return self.number != 0

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.number = number
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        self._previous = {}


class PauseSignal:
    """A context in which SIGUSR1, where the system has it, calls `toggle`. In the main thread alone, as above."""

    def __init__(self, toggle: Callable[[], None]) -> None:
        self._toggle = toggle
        self._number = getattr(signal, "SIGUSR1", None)
        self._previous: Any = None

    def __enter__(self) -> PauseSignal:
        if self._number is not None and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(self._number, lambda number, frame: self._toggle())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._number is not None and self._previous is not None:
            signal.signal(self._number, self._previous)
