"""Keeping what a camera gives, which cannot be had again: pictures are written while the next ones are tracked."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import cv2

from rgbavatar.errors import OutputError
from rgbavatar.io.files import flush_folder, make_folder, write_one_of_many
from rgbavatar.track.video import VideoFrame, VideoFrames

QUALITY = 97  # of JPEG; a PNG takes as long as tracking does, on the same two cores
HELD = 32  # pictures that may wait for the disk


class Recording:
    """Pictures that are written into a folder, numbered as they are, while they are handed on. Raises OutputError."""

    def __init__(self, frames: VideoFrames, folder: Path) -> None:
        self._frames, self._folder = frames, make_folder(folder)

    @property
    def name(self) -> str:
        return self._frames.name

    @property
    def count(self) -> int | None:
        return self._frames.count

    def __iter__(self) -> Iterator[VideoFrame]:
        waiting: list[Future[None]] = []
        with ThreadPoolExecutor(1, thread_name_prefix="record") as pool:
            for frame in self._frames:
                waiting = [job for job in waiting if not job.done() or job.result() is not None]
                if len(waiting) >= HELD:
                    waiting.pop(0).result()
                waiting.append(pool.submit(self._write, frame))
                yield frame
            for job in waiting:
                job.result()
        flush_folder(self._folder)

    def _write(self, frame: VideoFrame) -> None:
        settings = (cv2.IMWRITE_JPEG_QUALITY, QUALITY)
        encoded, content = cv2.imencode(".jpg", cv2.cvtColor(frame.picture, cv2.COLOR_RGB2BGR), settings)
        path = self._folder / f"{frame.number:05d}.jpg"
        if not encoded:
            raise OutputError(f"{path}: the picture cannot be encoded")
        write_one_of_many(path, content.tobytes())
