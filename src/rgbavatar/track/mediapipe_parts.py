"""The parts of mediapipe that are used, and its silence.

mediapipe 1.x reports how it is used to its makers: when a task ends and once a minute, over HTTPS, by a libcurl of its own. It
has no option against it. So `silence_metrics` takes its way out: a proxy of a kind that libcurl does not know, in this process's
environment, makes each report fail before a name is looked up or a connection opened. It is called before mediapipe is imported.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rgbavatar.errors import ConfigError

_NO_WAY_OUT = "off://mediapipe-metrics"
_INSTALL = "pip install --no-deps mediapipe, see the README"


def silence_metrics() -> None:
    """Keep mediapipe in this process, and in what it starts, from reporting; see the module's head."""
    os.environ["https_proxy"] = os.environ["HTTPS_PROXY"] = _NO_WAY_OUT
    os.environ["no_proxy"] = os.environ["NO_PROXY"] = ""


class Vision:
    """What is used of mediapipe. Raises ImportError or OSError where it is not there or does not run here."""

    def __init__(self) -> None:
        from mediapipe.tasks.python.core.base_options import BaseOptions
        from mediapipe.tasks.python.vision.core.image import Image, ImageFormat
        from mediapipe.tasks.python.vision.core.vision_task_running_mode import VisionTaskRunningMode
        from mediapipe.tasks.python.vision.face_landmarker import FaceLandmarker, FaceLandmarkerOptions
        from mediapipe.tasks.python.vision.image_segmenter import ImageSegmenter, ImageSegmenterOptions

        self.Image, self.ImageFormat, self.RunningMode = Image, ImageFormat, VisionTaskRunningMode
        self.FaceLandmarker, self.FaceLandmarkerOptions = FaceLandmarker, FaceLandmarkerOptions
        self.ImageSegmenter, self.ImageSegmenterOptions = ImageSegmenter, ImageSegmenterOptions
        self._base_options = BaseOptions

    def base_options(self, model: Path) -> Any:
        """Options that name a model's file."""
        return self._base_options(model_asset_path=str(model))

    def image(self, picture: np.ndarray) -> Any:
        """A picture, RGB [H, W, 3] uint8, as mediapipe takes it."""
        return self.Image(image_format=self.ImageFormat.SRGB, data=np.ascontiguousarray(picture))


def import_vision() -> Vision:
    """Import mediapipe, silent. Raises ConfigError where it is not there."""
    silence_metrics()
    try:
        return Vision()
    except (ImportError, OSError) as error:
        raise ConfigError(f"mediapipe: cannot be imported ({error}); landmarks need it: {_INSTALL}") from error


@contextmanager
def quiet_stderr() -> Iterator[None]:
    """A context in which native code's own remarks on its start are not shown."""
    kept = os.dup(2)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)
