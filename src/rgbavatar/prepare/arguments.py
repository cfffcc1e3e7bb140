"""Arguments of the programs that make a subject: what of the pictures is kept, and how large."""

from __future__ import annotations

import argparse

from rgbavatar.cli import count, not_negative
from rgbavatar.prepare.options import Framing


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
