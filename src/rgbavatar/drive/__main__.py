"""The command line: `python -m rgbavatar.drive output/WORK_NAME/SUBJECT --source camera:0`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbavatar.cli import (
    add_viewer_address,
    choose_device,
    color,
    count,
    heavy_imports,
    not_negative,
    positive,
    run_script,
)
from rgbavatar.live.arguments import add_face_arguments


def main() -> None:
    """Parse, open, drive."""
    arguments = _parse()
    with heavy_imports():
        from rgbavatar.drive.command import drive
    drive(arguments, choose_device(arguments.device))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.drive",
        description="Have a trained avatar do what a face before a camera does, in a browser or into a video.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of the run: output/WORK_NAME/SUBJECT")
    parser.add_argument("--source", default="camera:0", help="camera:N, or video:FILE, which plays as a camera would")
    parser.add_argument("--neutral", type=int, help="number of the avatar's frame at rest, in place of the one found")
    parser.add_argument("--smooth", type=not_negative, default=0.0, help="seconds over which the motion is smoothed")
    add_face_arguments(parser)
    add_viewer_address(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the run")
    film = parser.add_argument_group("film", "of --record, and of the page's button")
    film.add_argument("--record", type=Path, metavar="FILE.mp4", help="write all to a video, without a browser")
    film.add_argument("--overwrite", action="store_true", help="replace that video")
    film.add_argument("--fps", type=positive, default=25.0, help="pictures in a second of video")
    film.add_argument("--size", type=count, help="pixels of the longer side, in place of the frames' own size")
    film.add_argument("--bg", type=color, default="black", metavar="COLOR", help="black, white, grey, green or #rrggbb")
    film.add_argument("--beside", action="store_true", help="put the camera's picture beside the avatar")
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
