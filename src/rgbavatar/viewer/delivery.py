"""Pictures on their way to a page, in a thread for each page: encoded, sent, and acknowledged.

A picture counts as delivered when the page has answered a question that was sent after it. So no more than two pictures are on
the way, and a slow connection makes fewer pictures, not older ones.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np

from rgbavatar.viewer.pace import Rate

if TYPE_CHECKING:
    import viser

_END_SECONDS = 1.0  # that a picture may take to be encoded
_ANSWER_SECONDS = 2.0  # that a page may take; a hidden one does not answer
_QUESTION = "rgbavatar"


class Delivery:
    """See the module's head. freed: called when there is room for the next picture.

    rate: of pictures delivered. seconds: that the last one took.
    """

    def __init__(self, client: viser.ClientHandle, freed: Callable[[], None]) -> None:
        self.rate = Rate()
        self.seconds = 0.0
        self._client = client
        self._freed = freed
        self._waiting: queue.Queue[tuple[np.ndarray, int] | None] = queue.Queue(maxsize=1)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="picture-delivery", daemon=True)
        self._thread.start()

    @property
    def is_free(self) -> bool:
        """Whether there is room for a picture."""
        return self._waiting.empty()

    def put(self, picture: np.ndarray, quality: int) -> None:
        """Send a picture, uint8 [H, W, 3], with that quality of JPEG."""
        self._waiting.put((picture, quality))

    def close(self) -> None:
        """End the thread soon."""
        self._closed.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)

    def join(self) -> None:
        """Wait until nothing is encoded any more: a program that ends meanwhile is aborted."""
        self._thread.join(_END_SECONDS)

    def _run(self) -> None:
        while not self._closed.is_set():
            item = self._waiting.get()
            self._freed()
            if item is not None and not self._closed.is_set():
                self._send(*item)

    def _send(self, picture: np.ndarray, quality: int) -> None:
        begin = time.perf_counter()
        self._client.scene.set_background_image(picture, format="jpeg", jpeg_quality=quality)
        self._client.flush()
        with suppress(RuntimeError, TimeoutError):  # what the answer says does not matter
            self._client.local_storage.get_item(_QUESTION, timeout=_ANSWER_SECONDS)
        now = time.perf_counter()
        self.seconds = now - begin
        self.rate.note(now)
