#!/usr/bin/env python3
"""Train an avatar while its video plays: a tracked subject is replayed in order at the rate of the video."""

from rgbavatar.cli import add_training_arguments, heavy_imports, make_parser, positive, run_script


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Train an avatar while its video plays: a tracked subject is replayed in order.")
    add_training_arguments(parser, "config/online.yaml")
    parser.add_argument("--video_fps", type=positive, default=25.0, help="frames that arrive in a second")
    arguments = parser.parse_args()

    with heavy_imports():
        from rgbavatar.datasets.base import Split
        from rgbavatar.training.job import training_job
        from rgbavatar.training.online import train_online

    with training_job(arguments, Split.TRAIN, preload=False) as job:
        job.report(train_online(job.trainer, job.dataset, job.run, job.log, job.device, arguments.video_fps))


if __name__ == "__main__":
    run_script(main)
