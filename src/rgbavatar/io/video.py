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
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, final

import imageio_ffmpeg
import numpy as np

from rgbavatar.errors import OutputError
from rgbavatar.io.files import output_error, write_aside

_ENCODERS: dict[str, tuple[str, ...]] = {
    ".mp4": ("-c:v", "libx264", "-crf", "16", "-preset", "veryfast", "-pix_fmt", "yuv420p", "-movflags", "+faststart"),
    ".webm": ("-c:v", "libvpx-vp9", "-crf", "24", "-b:v", "0", "-row-mt", "1", "-pix_fmt", "yuv420p"),
    ".gif": ("-filter_complex", "split[a][b];[a]palettegen[p];[b][p]paletteuse", "-loop", "0"),
}
_PIPE_BYTES = 1 << 20  # a frame or two may wait for the encoder while the next is rendered; Linux's limit for users
_NO_SPACE = os.strerror(errno.ENOSPC)


class _Discarded(Exception):
    """Makes write_aside drop its partial file without seeing what the body raised."""


@final
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
        _check_frame(frame, self._shape or frame.shape)
        padded = _pad_to_even(frame)
        if self._process is None:
            self._process = self._start(padded.shape[1], padded.shape[0])
        self._shape = frame.shape
        self._feed(self._process, np.ascontiguousarray(padded).data)
        self._count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Finish the file, or discard it when the body has raised."""
        with suppress(_Discarded), self._stack:
            if error is not None:
                self._stop()
                raise _Discarded
            try:
                self._finish()
            finally:
                self._stop()

    def _start(self, width: int, height: int) -> subprocess.Popen[bytes]:
        source = f"-f rawvideo -pix_fmt rgb24 -s {width}x{height} -r {self._rate:.6f} -i -".split()
        quiet = ["-hide_banner", "-v", "error", "-nostats", "-progress", "pipe:1", "-y"]
        command = [_find_ffmpeg(self._path), *quiet, *source, *_ENCODERS[self._path.suffix], f"file:{self._partial}"]
        return subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=self._progress, stderr=self._messages, pipesize=_PIPE_BYTES
        )

    def _feed(self, process: subprocess.Popen[bytes], content: memoryview) -> None:
        try:
            _pipe(process).write(content)
        except OSError as error:
            raise self._failure(process.wait()) from error

    def _finish(self) -> None:
        if self._process is None:
            raise OutputError(f"{self._path}: no frame was given, so there is no video to write")
        with suppress(OSError):  # a broken pipe shows in the exit code
            _pipe(self._process).close()
        if self._process.wait() != 0:
            raise self._failure(self._process.returncode)
        written = _last_frame_number(_read_text(self._progress))
        if written != self._count:
            found = f"{written} of {self._count} frames"
            raise OutputError(f"{self._path}: ffmpeg wrote {found}; check the disk and run again")

    def _stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            with suppress(OSError, ValueError):  # the pipe is broken, or closed already
                self._process.communicate()

    def _failure(self, code: int) -> OutputError:
        """What ffmpeg said before it ended with `code`, as one line."""
        lines = [line for line in _read_text(self._messages).splitlines() if line.strip()]
        if any(_NO_SPACE in line for line in lines):
            return output_error(self._path, OSError(errno.ENOSPC, _NO_SPACE))
        reason = lines[-1].strip() if lines else f"exit code {code}"
        return OutputError(f"{self._path}: ffmpeg cannot write it: {reason}; check the disk and run again")


def write_video(path: Path, frames: Iterable[np.ndarray], frames_per_second: float) -> int:
    """Write all frames, uint8 [H, W, 3], to `path` aside. Returns how many. Raises OutputError."""
    count = 0
    with VideoWriter(path, frames_per_second) as video:
        for frame in frames:
            video.write(frame)
            count += 1
    return count


def _check_frame(frame: np.ndarray, shape: tuple[int, ...]) -> None:
    if frame.dtype != np.uint8 or frame.ndim != 3 or frame.shape[2] != 3 or frame.shape != shape:
        raise ValueError(f"frame is {frame.dtype} {list(frame.shape)}, expected uint8 [H, W, 3] as the first one")


def _find_ffmpeg(path: Path) -> str:
    try:
        return imageio_ffmpeg.get_ffmpeg_exe()
    except RuntimeError as error:
        raise OutputError(f"{path}: there is no ffmpeg to encode it; run: pip install imageio-ffmpeg") from error


def _pipe(process: subprocess.Popen[bytes]) -> IO[bytes]:
    assert process.stdin is not None
    return process.stdin


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
