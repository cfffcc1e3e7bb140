"""Playing a sequence by the clock: frames are left out where pictures do not come fast enough."""

from __future__ import annotations

import math

from rgbavatar.viewer.controls import Settings


class Playback:
    """Where a page is in its sequence."""

    def __init__(self) -> None:
        self._since = 0.0
        self._first = self._steps = 0
        self._shown: int | None = None
        self._rate = 0.0

    def position(self, now: float, settings: Settings, chosen: int, count: int) -> int:
        """The position to show. chosen: that of the frame slider: where playing begins, also when it is moved meanwhile."""
        if not settings.plays:
            self._shown = None
            return min(chosen, count - 1)
        if chosen != self._shown or settings.frames_per_second != self._rate:
            self._since, self._first, self._rate = now, chosen, settings.frames_per_second
        self._steps = math.floor((now - self._since) * self._rate)
        self._shown = (self._first + self._steps) % count
        return self._shown

    def next_in(self, now: float) -> float:
        """Seconds until the frame after the one that was shown last; not above 0 once it is due."""
        return 0.0 if self._shown is None else self._since + (self._steps + 1) / self._rate - now
