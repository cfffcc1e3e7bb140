"""Writing many pictures at once: encoded and written by threads, in bounded memory, and every one of them or an error."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import numpy as np

from rgbavatar.io.files import flush_folder, write_one_of_many
from rgbavatar.io.images import encode_png

_MOST_THREADS = 16  # beyond that the disk is the limit
_HELD_PER_THREAD = 4  # pictures that may wait


def write_pictures(folder: Path, pictures: Iterable[tuple[int, np.ndarray]]) -> int:
    """Write each picture as folder/%05d.png, while the next ones come. Returns how many.

    Raises OutputError for the first that cannot be written; those before it are there, whole.
    """
    threads = min(os.cpu_count() or 1, _MOST_THREADS)
    waiting: deque[Future[None]] = deque()
    count = 0
    with ThreadPoolExecutor(threads, thread_name_prefix="write-picture") as pool:
        try:
            for number, picture in pictures:
                waiting.append(pool.submit(_write, folder / f"{number:05d}.png", picture))
                count += 1
                while len(waiting) > threads * _HELD_PER_THREAD or (waiting and waiting[0].done()):
                    waiting.popleft().result()
            while waiting:
                waiting.popleft().result()
            flush_folder(folder)
        finally:
            for job in waiting:
                job.cancel()
    return count


def _write(path: Path, picture: np.ndarray) -> None:
    write_one_of_many(path, encode_png(picture))
