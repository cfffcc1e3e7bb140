"""How large a picture may be while things move, and how many come a second.

While anything moves, pictures are as small as it takes to get MOVING_RATE of them a second: their pixels are those of a full
picture, halved as often as needed. When all is still, a full picture follows.
"""

from __future__ import annotations

from collections import deque

MOVING_RATE = 24.0  # pictures a second that are aimed at
LEVELS = 7  # at the last, a picture has a 64th of the pixels of a full one
_SLOW, _FAST = 1.15, 0.5  # times the time a picture may take: above the first it shrinks, below the second it grows
_PATIENCE = 3  # pictures in a row that are too slow, or fast enough, before the level changes
_PAUSE = 0.5  # seconds without a picture after which a rate is counted anew
_WINDOW = 1.5  # seconds over which a rate is counted


class Pace:
    """Chooses the level of moving pictures. share: of the time that rendering may take."""

    def __init__(self, share: float = 1.0) -> None:
        self._budget = share / MOVING_RATE
        self._level = 2  # a guess: a quarter of the pixels
        self._slow = self._quick = 0

    @property
    def pixel_share(self) -> float:
        """Of a full picture's pixels."""
        return 0.5**self._level

    def note(self, seconds: float) -> None:
        """A moving picture took so long."""
        self._slow = self._slow + 1 if seconds > _SLOW * self._budget else 0
        self._quick = self._quick + 1 if seconds < _FAST * self._budget else 0
        if self._slow == _PATIENCE:
            self._change(1)
        elif self._quick == _PATIENCE:
            self._change(-1)

    def _change(self, step: int) -> None:
        self._level = min(max(self._level + step, 0), LEVELS - 1)
        self._slow = self._quick = 0


class Rate:
    """How many events come a second, while they come."""

    def __init__(self) -> None:
        self._times: deque[float] = deque()

    def note(self, now: float) -> None:
        """An event. now: seconds."""
        if self._times and now - self._times[-1] > _PAUSE:
            self._times.clear()
        self._times.append(now)
        while now - self._times[0] > _WINDOW:
            self._times.popleft()

    @property
    def per_second(self) -> float:
        """0 before the second event."""
        times = list(self._times)
        return (len(times) - 1) / (times[-1] - times[0]) if len(times) > 1 and times[-1] > times[0] else 0.0
