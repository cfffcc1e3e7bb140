"""Arguments of the programs that make a subject: where it goes, what of the pictures is kept, and how large."""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbavatar.cli import count, not_negative
from rgbavatar.config import DatasetConfig
from rgbavatar.errors import ConfigError
from rgbavatar.prepare.options import Framing


def add_subject_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --data_dir and --subject."""
    parser.add_argument("--data_dir", type=Path, default=Path(DatasetConfig.data_dir), help="folder of subjects")
    parser.add_argument("--subject", required=True, help="name of the subject to make")


def subject_folder(arguments: argparse.Namespace) -> Path:
    """The folder that they name. Raises ConfigError where that is none directly below --data_dir."""
    folder: Path = arguments.data_dir / arguments.subject
    if Path(arguments.subject).name != arguments.subject or arguments.subject in ("", ".."):
        raise ConfigError(f"--subject {arguments.subject!r}: expected the name of a folder below --data_dir")
    return folder


def add_frame_arguments(parser: argparse.ArgumentParser) -> None:
    """Add --size, --crop and --no_crop (`framing`), and --margin."""
    frame = parser.add_argument_group("frame")
    frame.add_argument("--size", type=count, help="pixels of the longer side; not resized if left out")
    framing = frame.add_mutually_exclusive_group()
    for option, kept, what in (
        ("--crop", Framing.HEAD, "a square around the head"),
        ("--no_crop", Framing.WHOLE, "all of it"),
    ):
        framing.add_argument(
            option, dest="framing", action="store_const", const=kept.value, default=Framing.HEAD.value, help=what
        )
    frame.add_argument("--margin", type=not_negative, default=0.1, help="around the head, in its sizes")
