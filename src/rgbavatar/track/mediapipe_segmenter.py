"""A model of MediaPipe's ImageSegmenter, such as its selfie segmenters, as a `Segmenter`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from rgbavatar.errors import ConfigError, DataError
from rgbavatar.track.mediapipe_parts import import_vision, quiet_stderr


class MediaPipeSegmenter:
    """See rgbavatar.track.masks.Segmenter. Raises ConfigError without the file or mediapipe, DataError for a broken model."""

    def __init__(self, model: Path) -> None:
        if not model.is_file():
            raise ConfigError(
                f"--segmenter {model}: found no such file, expected a model of MediaPipe's ImageSegmenter"
            )
        self._vision = import_vision()
        options = self._vision.ImageSegmenterOptions(base_options=self._vision.base_options(model))
        try:
            with quiet_stderr():
                self._task = self._vision.ImageSegmenter.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"{model}: found no model of MediaPipe's ImageSegmenter ({reason}); get it again"
            ) from error

    def __call__(self, picture: np.ndarray) -> Mapping[str, Any]:
        masks = self._task.segment(self._vision.image(picture)).confidence_masks
        shares = [np.array(mask.numpy_view(), np.float32).reshape(picture.shape[:2]) for mask in masks]
        return dict(zip(name_classes(self._task.labels, len(shares)), shares, strict=True))

    def close(self) -> None:
        """End the task."""
        self._task.close()


def name_classes(labels: list[str], count: int) -> list[str]:
    """A model's names for its masks; without them the first of several is the background, and a single one what is before it."""
    if len(labels) == count:
        return labels
    return [f"class {i}" if i or count == 1 else "background" for i in range(count)]
