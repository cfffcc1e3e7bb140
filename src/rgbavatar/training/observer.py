"""Those who look on while an avatar is trained: callables that the training loops call, and know nothing else about."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rgbavatar.training.trainer import Trainer

Observer = Callable[[Trainer, float], "bool | None"]
"""Called between steps, in the training thread, with the trainer, which stands still, and the seconds since the start.

Training waits while it returns True, and calls it again soon.
"""

Show = Callable[[Mapping[str, object]], None]
"""Takes what the progress bar says, by name."""

HOLD_SECONDS = 0.05  # between two calls of an observer that has training wait


def observe_nothing(trainer: Trainer, seconds: float) -> None:
    """What an observer does that was not given."""


def show_nothing(values: Mapping[str, object]) -> None:
    """What is shown to nobody."""
