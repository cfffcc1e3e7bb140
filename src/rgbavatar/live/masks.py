"""Masks of a live stream: cut out by layers that are learned beside it, or by a segmenter's model."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from rgbavatar.track.head_masks import HeadMasker
from rgbavatar.track.layers import Layers, choose_frames, learn_layers, relearn_layers
from rgbavatar.track.masks import Segmenter, head_share
from rgbavatar.track.zones import Zone

FIRST = 10  # frames that layers are learned from at first
MOST = 32  # later
KEPT = 64  # frames that are remembered
SAMPLE_SECONDS = 0.4  # between two of them


@dataclass(frozen=True)
class Small:
    """A small picture [h, w, 3], where the head can be in it, and when it was taken, seconds."""

    picture: np.ndarray
    zone: Zone
    seconds: float


class LiveMasks(Protocol):
    """Gives masks of a stream's frames in their order."""

    def begin(self, first: Sequence[Small]) -> None:
        """Get ready, from frames that were held back."""
        ...

    def is_ready(self, wait: bool = False) -> bool:
        """Whether masks can be had; waits until they can. Raises what getting ready raised."""
        ...

    def restart(self) -> None:
        """The next frame is of another shot."""
        ...

    def coverage(self, small: Small) -> np.ndarray:
        """The head's coverage [h, w] in [0, 1]."""
        ...

    def close(self) -> None: ...


class LayerMasks:
    """See rgbavatar.track.head_masks. Layers are learned in a thread: at first, and anew whenever twice as many poses were seen.

    learned: how often.
    """

    def __init__(self) -> None:
        self.learned = 0
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="learn-layers")
        self._learning: Future[Layers] | None = None
        self._masker: HeadMasker | None = None
        self._samples: list[tuple[Small, np.ndarray]] = []
        self._seen, self._due, self._last = 0, 2 * FIRST, -np.inf

    def begin(self, first: Sequence[Small]) -> None:
        self._learning = self._pool.submit(_learn_first, first)

    def is_ready(self, wait: bool = False) -> bool:
        self._take(wait)
        return self._masker is not None

    def restart(self) -> None:
        if self._masker is not None:
            self._masker.restart()

    def coverage(self, small: Small) -> np.ndarray:
        self._take(wait=False)
        assert self._masker is not None
        found = self._masker.mask(small.picture, small.zone)
        self._remember(small, found)
        return found

    def close(self) -> None:
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _take(self, wait: bool) -> None:
        """Use what was learned, once it was."""
        if self._learning is not None and (wait or self._learning.done()):
            self._masker = HeadMasker(self._learning.result())
            self._learning = None
            self.learned += 1

    def _remember(self, small: Small, mask: np.ndarray) -> None:
        if small.seconds - self._last < SAMPLE_SECONDS:
            return
        self._last = small.seconds
        self._seen += 1
        self._samples.append((small, mask))
        if len(self._samples) > KEPT:
            self._samples = _most_different(self._samples, KEPT // 2)
        if self._seen >= self._due and self._learning is None:
            self._due = 2 * self._seen
            self._learning = self._pool.submit(_learn_again, list(self._samples))


def _most_different(samples: list[tuple[Small, np.ndarray]], wanted: int) -> list[tuple[Small, np.ndarray]]:
    return [samples[i] for i in choose_frames([small.zone for small, _ in samples], wanted)]


def _learn_first(frames: Sequence[Small]) -> Layers:
    """From frames that were never cut out: the masks of a first try tell what to learn from."""
    chosen = [frames[i] for i in choose_frames([small.zone for small in frames], FIRST)]
    pictures, zones = [small.picture for small in chosen], [small.zone for small in chosen]
    layers = learn_layers(pictures, zones)
    masks = [HeadMasker(layers).mask(picture, zone) for picture, zone in zip(pictures, zones, strict=True)]
    return relearn_layers(pictures, zones, masks)


def _learn_again(samples: list[tuple[Small, np.ndarray]]) -> Layers:
    chosen = _most_different(samples, MOST)
    return relearn_layers(
        [small.picture for small, _ in chosen], [small.zone for small, _ in chosen], [mask for _, mask in chosen]
    )


class ModelMasks:
    """Masks by a model of MediaPipe's ImageSegmenter, where the head can be."""

    def __init__(self, segment: Segmenter) -> None:
        self._segment = segment

    def begin(self, first: Sequence[Small]) -> None:
        """There is nothing to learn."""

    def is_ready(self, wait: bool = False) -> bool:
        return True

    def restart(self) -> None:
        """Nothing is remembered."""

    def coverage(self, small: Small) -> np.ndarray:
        share = head_share(self._segment(small.picture))
        return (share * (small.zone.reach & ~small.zone.below)).astype(np.float32)

    def close(self) -> None:
        """Nothing is held."""
