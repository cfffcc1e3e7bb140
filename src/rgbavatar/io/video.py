"""Videos: H.264 in .mp4, VP9 in .webm, a palette picture in .gif, encoded by the ffmpeg program that imageio-ffmpeg brings.

A frame is a picture, uint8 [H, W, 3] RGB. Frames of an odd size are padded to an even one by repeating the last row or column,
because 4:2:0 colour needs it.
"""

from __future__ import annotations

import errno
import os
import re
import subprocess
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import IO

import imageio_ffmpeg
import numpy as np

from rgbavatar.errors import OutputError
from rgbavatar.io.files import output_error, write_aside

_ENCODERS: dict[str, tuple[str, ...]] = {
    ".mp4": ("-c:v", "libx264", "-crf", "17", "-preset", "medium", "-pix_fmt", "yuv420p", "-movflags", "+faststart"),
    ".webm": ("-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0", "-row-mt", "1", "-pix_fmt", "yuv420p"),
    ".gif": ("-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse", "-loop", "0"),
}
_NO_SPACE = os.strerror(errno.ENOSPC)


class VideoWriter:
    """A context that encodes the frames it is given into `path`; the file appears, whole, when the context ends well.

    When the body raises, or ffmpeg fails or wrote another number of frames, nothing is left and an earlier file stays.
    Raises OutputError: the disk is full, the suffix is unknown, or no frame was given.
    """

    def __init__(self, path: Path, frames_per_second: float) -> None:
        if path.suffix not in _ENCODERS:
            raise OutputError(f"{path}: unknown kind of video; give a name that ends in {', '.join(_ENCODERS)}")
        if not 0.0 < frames_per_second < float("inf"):
            raise ValueError(f"frames_per_second is {frames_per_second}, expected a positive number")
        self._path = path
        self._rate = frames_per_second
        self._shape: tuple[int, ...] = ()
        self._count = 0
        self._stack = ExitStack()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> VideoWriter:
        """Open the partial file and ffmpeg's messages; ffmpeg itself starts with the first frame."""
        with ExitStack() as stack:
            self._partial = stack.enter_context(write_aside(self._path))
            self._messages = stack.enter_context(tempfile.TemporaryFile())
            self._progress = stack.enter_context(tempfile.TemporaryFile())
            self._stack = stack.pop_all()
        return self

    def write(self, frame: np.ndarray) -> None:
        """Encode one frame; all have the shape of the first. Raises OutputError when ffmpeg has failed."""
        if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or (self._shape or frame.shape) != frame.shape:
            raise ValueError(f"frame is {frame.dtype} {list(frame.shape)}, expected uint8 {list(self._shape) or '[H, W, 3]'}")
        padded = _pad_to_even(frame)
        if self._process is None:
            self._process = self._start(padded.shape[1], padded.shape[0])
        self._shape = frame.shape
        self._feed(self._process, padded.tobytes())
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the file, or discard it when the body has raised."""
        with self._stack:
            if error is not None:
                self._stop()
                raise error
            self._finish()

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        source = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{self._rate:.6f}", "-i", "-")
        quiet = ("-hide_banner", "-v", "error", "-nostats", "-progress", "pipe:1", "-y")
        target = (*_ENCODERS[self._path.suffix], str(self._partial))
        return subprocess.Popen(
            (imageio_ffmpeg.get_ffmpeg_exe(), *quiet, *source, *target),
            stdin=subprocess.PIPE, stdout=self._progress, stderr=self._messages,
        )  # fmt: skip

    def _feed(self, process: subprocess.Popen[bytes], content: bytes) -> None:
        assert process.stdin is not None
        try:
            process.stdin.write(content)
        except OSError as error:
            process.wait()
            raise self._failure(process.returncode) from error

    def _finish(self) -> None:
        if self._process is None:
            raise OutputError(f"{self._path}: no frame was given, so there is no video to write")
        self._feed_end(self._process)
        if self._process.wait() != 0:
            raise self._failure(self._process.returncode)
        written = _last_frame_number(_read_text(self._progress))
        if written != self._count:
            raise OutputError(f"{self._path}: ffmpeg wrote {written} of {self._count} frames; check the disk and run again")

    def _feed_end(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stdin is not None
        try:
            process.stdin.close()
        except OSError as error:
            process.wait()
            raise self._failure(process.returncode) from error

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.communicate()

    def _failure(self, code: int) -> OutputError:
        """What ffmpeg said before it ended with `code`, as one line."""
        lines = [line for line in _read_text(self._messages).splitlines() if line.strip()]
        if any(_NO_SPACE in line for line in lines):
            return output_error(self._path, OSError(errno.ENOSPC, _NO_SPACE))
        reason = lines[-1].strip() if lines else f"exit code {code}"
        return OutputError(f"{self._path}: ffmpeg cannot write it: {reason}; check the disk and run again")


def write_video(path: Path, frames: Sequence[np.ndarray], frames_per_second: float) -> None:
    """Write all frames, uint8 [H, W, 3], to `path` aside. Raises OutputError."""
    with VideoWriter(path, frames_per_second) as video:
        for frame in frames:
            video.write(frame)


def _pad_to_even(frame: np.ndarray) -> np.ndarray:
    height, width = frame.shape[:2]
    return np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _read_text(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")


def _last_frame_number(progress: str) -> int:
    """The count in the last report of ffmpeg's -progress, whose reports hold a line `frame=<count>`."""
    counts = re.findall(r"^frame=\s*(\d+)", progress, re.MULTILINE)
    return int(counts[-1]) if counts else 0
