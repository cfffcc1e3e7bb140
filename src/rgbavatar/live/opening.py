"""Opening what the command line of a program that watches a camera names."""

from __future__ import annotations

import argparse
import json
from contextlib import closing
from functools import partial
from pathlib import Path

from tqdm import tqdm

from rgbavatar.cli import say
from rgbavatar.config import Config, load_config
from rgbavatar.datasets.stream import FrameSource
from rgbavatar.errors import ConfigError, DataError
from rgbavatar.live.masks import LayerMasks, ModelMasks
from rgbavatar.live.recorder import SubjectRecorder
from rgbavatar.live.remote import RemoteSource
from rgbavatar.live.source import LiveSettings, LiveSource
from rgbavatar.subject import load_template, open_source
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.templates.blendshape_data import SUFFIX
from rgbavatar.templates.free_head import LANDMARKS, VERSION, cache_folder, free_head_path
from rgbavatar.track.face_model import FaceModel, make_face_model, read_correspondences
from rgbavatar.track.mediapipe_faces import MediaPipeFaces, find_model
from rgbavatar.track.mediapipe_segmenter import MediaPipeSegmenter
from rgbavatar.track.video import VideoFrames, is_camera, open_frames

LEAST_SIZE, MOST_SIZE = 64, 2048  # pixels
_FOLDER_RATE = 25.0  # pictures in a second of a folder that plays as a camera


def set_live_defaults(arguments: argparse.Namespace) -> None:
    """Have the configuration of a live run name its template, and hold out no frame, unless --set says otherwise.

    The template is the free head, unless the configuration names a blendshape template. Raises ConfigError, TemplateError.
    """
    if not is_camera(arguments.source) or arguments.resume:
        return
    given = load_config(Path(arguments.config), arguments.set).template.path
    arguments.set = ["dataset.test_frames=0", *arguments.set]
    if Path(given).suffix.lower() != SUFFIX:
        path = free_head_path(tell=say, bar=partial(tqdm, leave=False))
        arguments.set.append(f"template.path={json.dumps(str(path))}")


def open_stream(config: Config, arguments: argparse.Namespace) -> FrameSource:
    """What --source names: `replay`, `watch:DIR`, `camera:N` or `video:FILE`. Raises ConfigError, DataError, TemplateError."""
    if not is_camera(arguments.source):
        return open_source(config, arguments.source, arguments.subject, arguments.video_fps)
    if not LEAST_SIZE <= arguments.size <= MOST_SIZE:
        raise ConfigError(f"--size {arguments.size}: expected {LEAST_SIZE} to {MOST_SIZE} pixels")
    template, _ = open_face(config, arguments.landmarks)
    return RemoteSource(arguments.subject, template, partial(open_live, config, arguments), say)


def open_live(config: Config, arguments: argparse.Namespace) -> LiveSource:
    """The camera that --source names, in this process. Raises ConfigError, DataError, TemplateError, OutputError."""
    recorder = _open_recorder(config, arguments)
    template, model = open_face(config, arguments.landmarks)
    landmarker = find_landmarker(arguments.landmarker)
    masks = LayerMasks() if arguments.segmenter is None else ModelMasks(MediaPipeSegmenter(arguments.segmenter))
    return LiveSource(
        arguments.subject,
        open_camera(arguments.source),
        template,
        model,
        partial(MediaPipeFaces, landmarker),
        masks,
        recorder,
        LiveSettings(arguments.size, arguments.focal),
    )


def open_face(config: Config, landmarks: Path | None) -> tuple[BlendshapeTemplate, FaceModel]:
    """The template of a configuration, and what tracking needs of it. Raises ConfigError, TemplateError."""
    template, path = load_template(config), config.template.path
    if not isinstance(template, BlendshapeTemplate):
        raise ConfigError(
            f"template.path is {path}, expected a blendshape template (.npz): cameras are tracked with one"
        )
    if landmarks is None and Path(path).name != f"free_head_{VERSION}.npz":
        raise ConfigError(
            f"template.path is {path}, which is not the free head; give --landmarks FILE: where the landmarks lie on it"
        )
    where = read_correspondences(landmarks or LANDMARKS, template.data)
    return template, make_face_model(template.data, where)


def find_landmarker(given: Path | None) -> Path:
    """The landmarker's model, which has been opened once. Raises ConfigError, DataError."""
    found = find_model(given, cache_folder())
    with MediaPipeFaces(found):
        return found


def open_camera(source: str) -> VideoFrames:
    """The pictures of a camera, which has given one. Raises ConfigError, DataError."""
    frames = open_frames(source, _FOLDER_RATE)
    with closing(iter(frames)) as pictures:  # type: ignore[type-var]
        if next(pictures, None) is None:
            raise DataError(f"{source}: gave no picture, expected a camera, or a video")
    return frames


def _open_recorder(config: Config, arguments: argparse.Namespace) -> SubjectRecorder | None:
    if arguments.no_record:
        return None
    if arguments.resume:
        raise ConfigError(
            "--resume: what a camera gives now is no part of the subject recorded before; give --no_record"
        )
    settings = {
        "live": True,
        "template": str(Path(config.template.path).resolve()),
        "size": arguments.size,
        "focal": arguments.focal,
    }
    folder = Path(config.dataset.data_dir) / arguments.subject
    return SubjectRecorder(folder, arguments.source, settings, arguments.overwrite)
