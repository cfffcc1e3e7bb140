"""Following a training run: curves and pictures for TensorBoard, and the report of its speed.

A step is the number of images seen, so that runs of different batch sizes share an axis.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from rgbavatar.errors import OutputError
from rgbavatar.io.files import make_folder, output_error, write_text


class MetricsLog(Protocol):
    """Where a trainer reports to."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Show a picture, uint8 [H, W, 3]."""

    def close(self) -> None:
        """Write out what is buffered."""


class NullLog:
    """Forgets everything."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Do nothing."""

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Do nothing."""

    def close(self) -> None:
        """Do nothing."""


class TensorBoardLog:
    """Writes event files into a folder, beside those of earlier runs. Raises OutputError."""

    def __init__(self, folder: Path) -> None:
        self._folder = make_folder(folder)
        try:
            self._writer = _open_writer(folder)
        except OSError as error:
            raise output_error(folder, error) from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Add a point to the curve of each name."""
        for name, value in values.items():
            self._call("add_scalar", name, value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """Show a picture, uint8 [H, W, 3]."""
        self._call("add_image", name, picture, step, dataformats="HWC")

    def close(self) -> None:
        """Write out what is buffered."""
        self._call("close")

    def _call(self, method: str, *arguments: Any, **options: Any) -> None:
        try:
            getattr(self._writer, method)(*arguments, **options)
        except OSError as error:
            raise output_error(self._folder, error) from error


def open_log(folder: Path | None) -> MetricsLog:
    """A TensorBoard log in `folder`, or one that forgets everything when there is none."""
    return NullLog() if folder is None else TensorBoardLog(folder)


def write_speed(path: Path, report: Mapping[str, str | int | float]) -> None:
    """Write `name: value` lines aside, numbers with six digits. Raises OutputError."""
    lines = [f"{name}: {f'{value:.6g}' if isinstance(value, float) else value}" for name, value in report.items()]
    write_text(path, "\n".join(lines) + "\n")


def _open_writer(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise OutputError(
            f"{folder}: --log needs TensorBoard, which is missing; run: pip install tensorboard"
        ) from error
    return SummaryWriter(str(folder))
