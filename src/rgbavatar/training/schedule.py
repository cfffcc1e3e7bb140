"""How large the steps of training are: by the images seen, as published, or by the frames of a stream that have come.

*Progress* of the means' decay: 0 at `optimizer.mean`, 1 at `optimizer.mean_final`.
"""

from __future__ import annotations

from typing import Protocol

from rgbavatar.config import Config
from rgbavatar.training.optimizer import Pace, image_progress

_HORIZON = 40.0  # steps over which what frames have brought is spent: about those of one frame on a fast GPU


class Schedule(Protocol):
    """The pace of each step."""

    def next(self, images_seen: int) -> Pace:
        """The pace of the step after so many images. Called once for each step, in their order."""

    def progress(self, images_seen: int) -> float:
        """Of the means' decay after so many images."""


class ImageSchedule:
    """By the images. As published, the means' rate falls and all others stay; `optimizer.final_share` has all of them fall."""

    def __init__(self, config: Config) -> None:
        self._config = config.optimizer
        self._images = config.training.images

    def next(self, images_seen: int) -> Pace:
        share = self._config.final_share ** min(images_seen / self._images, 1.0)
        return Pace(self.progress(images_seen), share)

    def progress(self, images_seen: int) -> float:
        return image_progress(self._config, images_seen)


class StreamSchedule:
    """Steps that are as large as the frames allow, however many the machine takes.

    Many full steps on few frames learn them by heart, and what has been learnt that way is not unlearnt. So each frame that
    comes pays for `online.steps_per_frame` full steps. Where the machine takes more, all rates are scaled down so that the
    scales of the steps add up to what was paid, over some 40 steps; where it takes fewer, they stay. The means' rate falls
    with the frames, over `online.mean_decay_frames`. After the stream, the scale stays as it was and the means' rate falls with
    the images.

    taken: full steps so far, the sum of the scales.
    """

    def __init__(self, config: Config, progress_before: float) -> None:
        """progress_before: of a run that is gone on with."""
        self._config = config
        self._before = progress_before
        self._frames = 0
        self.taken = 0.0
        self._usual = 1.0  # the scale of late, averaged
        self._images_at_end: int | None = None

    def frame_came(self) -> None:
        """Another frame may be drawn from now on."""
        self._frames += 1

    def stream_ended(self, images_seen: int) -> None:
        """No more will come."""
        self._images_at_end = images_seen

    def next(self, images_seen: int) -> Pace:
        return Pace(self.progress(images_seen), self._next_scale())

    def progress(self, images_seen: int) -> float:
        after = 0 if self._images_at_end is None else max(images_seen - self._images_at_end, 0)
        with_frames = self._frames / self._config.online.mean_decay_frames
        return min(self._before + with_frames + image_progress(self._config.optimizer, after), 1.0)

    @property
    def network_decay(self) -> float:
        """The share of the network's numbers that fades with a full step: as offline, the less the more frames have come."""
        online = self._config.online
        return online.network_decay * min(online.network_decay_frames / max(self._frames, 1), 1.0)

    def _next_scale(self) -> float:
        scale = self._usual
        if self._images_at_end is None:
            left = self._config.online.steps_per_frame * self._frames - self.taken
            scale = min(max(left, 0.0) / _HORIZON, 1.0)
            self._usual += (scale - self._usual) / _HORIZON
        self.taken += scale
        return scale
