"""Command-line arguments of programs that watch a camera. Light, so that --help comes at once."""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbavatar.cli import count, positive


def add_face_arguments(parser: argparse._ActionsContainer) -> None:
    """What following a face needs to know."""
    parser.add_argument(
        "--landmarks",
        type=Path,
        metavar="FILE",
        help="where MediaPipe's landmarks lie on another template than the free head",
    )
    parser.add_argument("--landmarker", type=Path, metavar="FILE", help="MediaPipe's face_landmarker.task")
    parser.add_argument("--focal", type=positive, help="focal length in pixels of the camera, where it is known")


def add_live_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of training on a camera."""
    live = parser.add_argument_group("camera", "of --source camera:N and video:FILE")
    live.add_argument("--size", type=count, default=512, help="pixels of the longer side of the frames at most")
    live.add_argument("--segmenter", type=Path, metavar="FILE", help="a model of MediaPipe's ImageSegmenter for masks")
    live.add_argument("--no_record", action="store_true", help="do not write the subject that is trained on")
    add_face_arguments(live)
