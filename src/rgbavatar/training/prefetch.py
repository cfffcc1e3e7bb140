"""Reading the next batches while the current one trains."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType

from torch import Tensor

from rgbavatar.types import Batch

_POLL_SECONDS = 0.1  # how often a waiting reader looks whether it was closed


class Prefetcher:
    """Iterates over `load(positions)` for each entry of `order`, loaded by a thread up to `depth` batches ahead.

    An error of the loader is raised where the batch would have come. Leaving the context ends the thread.
    """

    def __init__(self, order: Iterable[Tensor], load: Callable[[Tensor], Batch], depth: int = 2) -> None:
        self._queue: queue.Queue[Batch | BaseException | None] = queue.Queue(depth)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, args=(order, load), name="prefetch", daemon=True)

    def __enter__(self) -> Prefetcher:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._closed.set()
        self._thread.join()

    def __iter__(self) -> Iterator[Batch]:
        while (item := self._queue.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item

    def _read(self, order: Iterable[Tensor], load: Callable[[Tensor], Batch]) -> None:
        try:
            for positions in order:
                if not self._put(load(positions)):
                    return
            self._put(None)
        except BaseException as error:  # raised again in the thread that asks for the batch
            self._put(error)

    def _put(self, item: Batch | BaseException | None) -> bool:
        """Wait for room. Returns whether the item was taken, which it is unless the context was left."""
        while not self._closed.is_set():
            try:
                self._queue.put(item, timeout=_POLL_SECONDS)
                return True
            except queue.Full:
                continue
        return False
