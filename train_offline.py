#!/usr/bin/env python3
"""Train an avatar on a recorded subject."""

from rgbavatar.cli import add_training_arguments, heavy_imports, make_parser, run_script


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Train an avatar on a recorded subject.")
    add_training_arguments(parser, "config/offline.yaml")
    parser.add_argument("--split", choices=("train", "test", "all"), default="train", help="frames to train on")
    parser.add_argument("--preload", action="store_true", help="hold all images in memory")
    arguments = parser.parse_args()

    with heavy_imports():
        from rgbavatar.datasets.base import Split
        from rgbavatar.training.job import training_job
        from rgbavatar.training.offline import train_offline

    with training_job(arguments, Split(arguments.split), arguments.preload) as job:
        job.report(train_offline(job.trainer, job.dataset, job.run, job.log, job.device))


if __name__ == "__main__":
    run_script(main)
