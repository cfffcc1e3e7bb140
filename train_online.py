#!/usr/bin/env python3
"""Train an avatar while its video plays: of a camera, a tracked subject, or a folder that a tracker is writing."""

from rgbavatar.cli import (
    add_training_arguments,
    add_view_arguments,
    heavy_imports,
    make_parser,
    positive,
    require_one_process,
    run_script,
)
from rgbavatar.live.arguments import add_live_arguments


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Train an avatar while its video plays.")
    add_training_arguments(parser, "config/online.yaml")
    parser.add_argument(
        "--source",
        default="replay",
        help="replay: the subject, as it was recorded; watch:DIR: what a tracker writes there; camera:0: a camera; "
        "video:FILE: a video that plays as a camera would",
    )
    parser.add_argument("--video_fps", type=positive, default=25.0, help="frames that arrive in a second of a replay")
    add_live_arguments(parser)
    add_view_arguments(parser, "show the avatar in a browser while it trains, and keep preview.png up to date")
    arguments = parser.parse_args()
    require_one_process()

    with heavy_imports():
        import torch

        from rgbavatar.config import Config
        from rgbavatar.datasets.stream import FrameSource
        from rgbavatar.live.opening import open_stream, set_live_defaults
        from rgbavatar.training.job import training_job
        from rgbavatar.training.online import train_online
        from rgbavatar.viewer.live import view_of_stream

    def open_frames(config: Config, device: torch.device) -> FrameSource:
        return open_stream(config, arguments)

    set_live_defaults(arguments)
    with training_job(arguments, open_frames) as job, view_of_stream(arguments, job) as (view, frames):
        outputs = {"resumes": arguments.resume, "view": arguments.view, "observer": view.observe, "show": view.show}
        report = train_online(job.trainer, frames, job.run, job.log, **outputs)
        job.report(report.speed, report.lines())


if __name__ == "__main__":
    run_script(main)
