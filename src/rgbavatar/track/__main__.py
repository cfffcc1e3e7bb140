"""The command line: `python -m rgbavatar.track VIDEO|FOLDER|camera:N|video:FILE --subject NAME`."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from rgbavatar.check.run import FRAMES, check_subject, report_place
from rgbavatar.cli import count, positive, run_script, say
from rgbavatar.config import DatasetConfig
from rgbavatar.datasets.blendshape_layout import BLENDSHAPE
from rgbavatar.datasets.images import default_workers
from rgbavatar.errors import ConfigError
from rgbavatar.prepare.arguments import add_frame_arguments, add_subject_arguments, subject_folder
from rgbavatar.prepare.options import Framing
from rgbavatar.templates.blendshape import load_blendshape
from rgbavatar.templates.free_head import LANDMARKS, cache_folder, free_head_path
from rgbavatar.track.mediapipe_faces import MediaPipeFaces, find_model
from rgbavatar.track.options import Options
from rgbavatar.track.record import RECORDED
from rgbavatar.track.work import Done, track

TEST_SHARE = 6  # a short subject holds out one frame of so many
TOLD = 8  # numbers that are told one by one


def main() -> None:
    """Parse, track, say what there is now."""
    arguments = _parse()
    subject = subject_folder(arguments)
    if (arguments.template is None) != (arguments.landmarks is None):
        raise ConfigError("--template and --landmarks belong together; give both, or neither for the free head")
    options = Options(
        source=arguments.source,
        subject=subject,
        template=arguments.template or free_head_path(tell=say, bar=partial(tqdm, leave=False)),
        landmarks=arguments.landmarks or LANDMARKS,
        model=find_model(arguments.landmarker, cache_folder()),
        masks=arguments.masks,
        classes=arguments.classes,
        segmenter=arguments.segmenter,
        size=arguments.size,
        framing=Framing(arguments.framing),
        margin=arguments.margin,
        focal=arguments.focal,
        frames_per_second=arguments.fps,
        most_frames=arguments.frames,
        align=arguments.align,
        overwrite=arguments.overwrite,
    )
    done = track(options, lambda: MediaPipeFaces(options.model), arguments.workers)
    _tell(options, done)
    if arguments.check:
        template, files = load_blendshape(options.template), report_place(options.subject)
        check_subject(options.subject, template, BLENDSHAPE.name, FRAMES, files, torch.device("cpu"))
    say(f"next: {_next_command(options, len(done.record.frames))}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.track",
        description="Make a subject of a video: find the face, fit a head to it, cut it out.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument(
        "source",
        metavar="VIDEO|FOLDER|camera:N|video:FILE",
        help="a video, a folder of numbered pictures, or a camera: record until Ctrl-C, then go on; video:FILE plays as one",
    )
    add_subject_arguments(parser)
    parser.add_argument("--frames", type=count, help="pictures to take; all if left out")
    parser.add_argument(
        "--fps", type=positive, default=25.0, help="pictures in a second of a folder, which has no time stamps"
    )
    parser.add_argument(
        "--no_align",
        dest="align",
        action="store_false",
        help="leave poses and expressions as landmarks tell them; otherwise pictures correct them",
    )
    parser.add_argument("--workers", type=count, default=default_workers(), help="threads that write pictures")
    parser.add_argument("--overwrite", action="store_true", help="replace a subject tracked from something else")
    parser.add_argument("--no_check", dest="check", action="store_false", help="leave out the check of the result")
    _add_model_arguments(parser)
    masks = parser.add_argument_group("masks", "cut out of the pictures, unless you have better ones")
    masks.add_argument("--masks", type=Path, metavar="DIR", help="masks of the pictures, numbered as these are, from 0")
    masks.add_argument("--classes", help="what is the head in maps of classes, as for rgbavatar.prepare")
    masks.add_argument("--segmenter", type=Path, metavar="FILE", help="a model of MediaPipe's ImageSegmenter")
    add_frame_arguments(parser)
    return parser.parse_args()


def _add_model_arguments(parser: argparse.ArgumentParser) -> None:
    models = parser.add_argument_group("models")
    models.add_argument(
        "--template", type=Path, metavar="FILE", help="a blendshape template, in place of the free head"
    )
    models.add_argument("--landmarks", type=Path, metavar="FILE", help="where MediaPipe's landmarks lie on it")
    models.add_argument("--landmarker", type=Path, metavar="FILE", help="MediaPipe's face_landmarker.task")
    models.add_argument("--focal", type=positive, help="focal length in pixels of the source, where it is known")


def _tell(options: Options, done: Done) -> None:
    record, numbers = done.record, done.record.numbers
    if record.lost:
        say(f"lost: {_list(sorted(record.lost))} of {options.source}; they are left out, see tracked.json")
    if record.cuts:
        say(
            f"cut: another shot begins at {_list(record.cuts)}; if it shows another person or lens, track the shots apart"
        )
    if record.crowded:
        say(f"several faces: in {_list(record.crowded)}; the one that was largest at first was followed")
    if (options.subject / RECORDED).is_dir():
        say(f"what the camera gave is in {options.subject / RECORDED}")
    assert record.size is not None
    kept = f", {done.kept} of them made before" if done.kept else ""
    width, height = record.size
    say(
        f"{len(record.frames)} of {numbers['pictures']:.0f} frames tracked{kept}, {width}x{height} pixels, focal length "
        f"{numbers['focal']:.0f} pixels of the source: {options.subject}"
    )
    say(
        f"landmarks are off by {numbers['error_percent']:.2f} % of the eye distance on average, "
        f"{numbers['error_percent_worst']:.2f} % in the worst frame; {numbers['pictures_per_second']:.1f} frames/s"
    )
    if options.align:
        say(_tell_alignment(*(numbers[f"aligned_{what}"] for what in ("degrees", "millimetres", "expression"))))


def _tell_alignment(degrees: float, millimetres: float, expression: float) -> str:
    if degrees == millimetres == expression == 0:
        return "the face shows too little detail to correct the tracking by; it is as landmarks tell it"
    return (
        f"pictures turned the head by {degrees:.2f} degrees, shifted it by {millimetres:.1f} mm, and changed expressions by "
        f"{expression:.2f}, root mean square"
    )


def _list(numbers: Sequence[int]) -> str:
    """Frames in words, the first of them by their numbers."""
    told = ", ".join(str(number) for number in numbers[:TOLD])
    more = f" and {len(numbers) - TOLD} more" if len(numbers) > TOLD else ""
    return f"frame{'s' if len(numbers) > 1 else ''} {told}{more}"


def _next_command(options: Options, frames: int) -> str:
    command = f"python train_offline.py --subject {shlex.quote(options.subject.name)} --work_name first --preload"
    command += f" --set template.path={shlex.quote(str(options.template))}"
    if options.subject.parent != Path(DatasetConfig.data_dir):
        command += f" --set dataset.data_dir={shlex.quote(str(options.subject.parent))}"
    if frames <= 2 * DatasetConfig.test_frames:
        command += f" --set dataset.test_frames={frames // TEST_SHARE}"
    return command


if __name__ == "__main__":
    run_script(main)
