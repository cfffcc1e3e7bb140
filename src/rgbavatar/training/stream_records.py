"""What an online run writes down as it goes: how good the avatar was on frames that it had not seen, and what it trained on.

`quality.jsonl`: a line of JSON for each frame that was rendered before it was trained on (prequential evaluation, Dawid
1984). `samples.npy`: int32 [steps, 1 + M], for each step the newest frame there was, then the frames of its batch, all by
number. Neither ever ends training: where the disk refuses, the file ends there and a line says so.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from io import BytesIO
from pathlib import Path
from types import TracebackType
from typing import BinaryIO

import numpy as np

from rgbavatar.cli import Tell
from rgbavatar.errors import OutputError
from rgbavatar.io.files import make_folder, output_error

_HEADER_BYTES = 128  # of a .npy file; numpy pads a header to a multiple of 64, and ours is always shorter
_ROWS_AT_ONCE = 1024  # of samples kept in memory


class _Record:
    """A file that is appended to until the disk refuses; leaving the context closes it."""

    def __init__(self, path: Path, append: bool, tell: Tell) -> None:
        """Raises OutputError where the file cannot be opened."""
        self.path = path
        self._tell = tell
        make_folder(path.parent)
        try:
            self._file: BinaryIO | None = path.open("r+b" if append and path.exists() else "w+b")
            self._file.seek(0, 2)
        except OSError as error:
            raise output_error(path, error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._attempt(lambda file: file.close())
        self._file = None

    def _attempt(self, action: Callable[[BinaryIO], object]) -> None:
        if self._file is None:
            return
        try:
            action(self._file)
        except OSError as error:
            self._file = None
            self._tell(f"warning: {output_error(self.path, error)}; no more is recorded there, training goes on")


class QualityRecord(_Record):
    """See the module's head."""

    def __enter__(self) -> QualityRecord:
        return self

    def add(self, values: Mapping[str, float | int]) -> None:
        """Write a line, and hand it to the system at once: who follows the run reads along."""
        line = json.dumps({name: round(v, 4) if isinstance(v, float) else v for name, v in values.items()}) + "\n"

        def write(file: BinaryIO) -> None:
            file.write(line.encode())
            file.flush()

        self._attempt(write)


class SampleRecord(_Record):
    """See the module's head. The file is a whole .npy file after every few rows and at the end."""

    def __init__(self, path: Path, batch: int, append: bool, tell: Tell) -> None:
        """Raises OutputError, also where rows are to be appended to those of another batch size."""
        super().__init__(path, append, tell)
        self._width = 1 + batch
        self._rows: list[list[int]] = []
        self._count = self._existing_rows()

    def __enter__(self) -> SampleRecord:
        self._write()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._write()
        super().__exit__(kind, error, traceback)

    def add(self, newest: int, frames: list[int]) -> None:
        """The row of a step; a batch that is smaller than usual is filled up with -1."""
        self._rows.append([newest, *frames, *([-1] * (self._width - 1 - len(frames)))])
        if len(self._rows) >= _ROWS_AT_ONCE:
            self._write()

    def _existing_rows(self) -> int:
        assert self._file is not None
        if self._file.tell() == 0:
            return 0
        try:
            rows, width = np.load(self.path, mmap_mode="r").shape
        except (ValueError, OSError) as error:
            raise OutputError(f"{self.path}: is no record of samples ({error}); move it away") from error
        if width != self._width:
            raise OutputError(
                f"{self.path}: has rows of {width - 1} images, expected {self._width - 1} as training.batch_size "
                f"is; move it away"
            )
        return int(rows)

    def _write(self) -> None:
        rows, self._rows = np.array(self._rows, np.int32).reshape(-1, self._width), []
        begin, self._count = self._count, self._count + len(rows)

        def write(file: BinaryIO) -> None:
            file.seek(_HEADER_BYTES + 4 * self._width * begin)
            file.write(rows.tobytes())
            file.seek(0)
            file.write(_npy_header((self._count, self._width)))
            file.flush()

        self._attempt(write)


def _npy_header(shape: tuple[int, int]) -> bytes:
    """The header of a .npy file of int32, filled up to _HEADER_BYTES."""
    out = BytesIO()
    np.lib.format.write_array_header_1_0(out, {"descr": "<i4", "fortran_order": False, "shape": shape})
    header = out.getvalue()
    padded = header[:-1] + b" " * (_HEADER_BYTES - len(header)) + b"\n"
    return padded[:8] + (_HEADER_BYTES - 10).to_bytes(2, "little") + padded[10:]
