"""The command line: `python -m rgbavatar.prepare TRACKER_FOLDER --subject NAME`."""

from __future__ import annotations

import argparse
import shlex
from pathlib import Path

from rgbavatar.cli import count, run_script, say
from rgbavatar.config import DatasetConfig
from rgbavatar.datasets.images import default_workers
from rgbavatar.prepare.arguments import add_frame_arguments, add_subject_arguments, subject_folder
from rgbavatar.prepare.options import Framing, Matting, Options
from rgbavatar.prepare.work import Prepared, prepare

TEST_SHARE = 6  # a short subject holds out one frame of so many
TOLD = 5  # frames left out that are told one by one


def main() -> None:
    """Parse, prepare, say what there is now."""
    arguments = _parse()
    subject = subject_folder(arguments)
    options = Options(
        tracker=arguments.tracker,
        subject=subject,
        images=arguments.images,
        masks=arguments.masks,
        classes=arguments.classes,
        size=arguments.size,
        framing=Framing(arguments.framing),
        margin=arguments.margin,
        matting=Matting(arguments.matting),
        edge=arguments.edge,
        shift=arguments.shift,
        skip=arguments.skip,
        overwrite=arguments.overwrite,
    )
    _tell(options, prepare(options, arguments.workers))


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.prepare",
        description="Make a subject of a tracker's raw output: masks become alpha, the head is cut out, pictures are resized.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("tracker", type=Path, help="output folder of metrical-tracker, with checkpoint/ in it")
    add_subject_arguments(parser)
    parser.add_argument(
        "--images",
        type=Path,
        metavar="DIR|VIDEO",
        help="the tracked pictures, in place of those in the tracker's folder",
    )
    parser.add_argument("--shift", type=int, help="a picture's number less its frame's, in place of the one found")
    parser.add_argument("--skip", action="store_true", help="leave out frames of which a file is missing or broken")
    parser.add_argument("--workers", type=count, default=default_workers(), help="threads")
    parser.add_argument(
        "--overwrite", action="store_true", help="replace a subject prepared from other files or settings"
    )
    _add_mask_arguments(parser)
    add_frame_arguments(parser)
    return parser.parse_args()


def _add_mask_arguments(parser: argparse.ArgumentParser) -> None:
    masks = parser.add_argument_group("masks")
    masks.add_argument("--masks", type=Path, metavar="DIR", help="masks of the pictures; TRACKER/masks if left out")
    masks.add_argument(
        "--classes", help="what is the head in maps of classes: bisenet, celebamask:skin,hair, 1,17, #ff0000"
    )
    masks.add_argument("--matting", choices=[kind.value for kind in Matting], default="soft", help="edges of the alpha")
    masks.add_argument("--edge", type=count, help="how far a mask's edge may be off, raw pixels; 1/128 of the picture")


def _tell(options: Options, done: Prepared) -> None:
    plan, raw = done.plan, done.raw
    for why in list(plan.left_out.values())[:TOLD]:
        say(f"left out: {why}")
    if len(plan.left_out) > TOLD:
        say(f"left out: {len(plan.left_out) - TOLD} more frames; all are in prepared.json")
    first, last = plan.frames[0].tracked, plan.frames[-1].tracked
    if (first, last) != (0, len(plan.frames) - 1):
        say(f"the tracker's frames {first} to {last} are numbered 0 to {len(plan.frames) - 1} now; see prepared.json")
    if raw.shift:
        say(f"frame {first} was taken to be of picture {first + raw.shift} in {raw.pictures}; if not, give --shift")
    width, height = plan.size
    kept = f", {done.kept} of them made before" if done.kept else ""
    window = plan.window
    say(
        f"{len(plan.frames)} frames{kept}; {window.width}x{window.height} pixels at ({window.left}, {window.top}) of the "
        f"raw pictures became {width}x{height}: {options.subject}"
    )
    say(f"next: {_next_command(options, len(plan.frames))}")


def _next_command(options: Options, frames: int) -> str:
    command = f"python train_offline.py --subject {shlex.quote(options.subject.name)} --work_name first --preload"
    if options.subject.parent != Path(DatasetConfig.data_dir):
        command += f" --set dataset.data_dir={shlex.quote(str(options.subject.parent))}"
    if frames <= 2 * DatasetConfig.test_frames:
        command += f" --set dataset.test_frames={frames // TEST_SHARE}"
    return command


if __name__ == "__main__":
    run_script(main)
