#!/usr/bin/env python3
"""Train an avatar on a recorded subject."""

from rgbavatar.cli import add_training_arguments, add_view_arguments, heavy_imports, make_parser, run_script


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Train an avatar on a recorded subject.")
    add_training_arguments(parser, "config/offline.yaml")
    parser.add_argument("--split", choices=("train", "test", "all"), default="train", help="frames to train on")
    parser.add_argument("--preload", action="store_true", help="hold all images in memory")
    add_view_arguments(parser, "show the avatar in a browser while it trains")
    arguments = parser.parse_args()

    with heavy_imports():
        import torch

        from rgbavatar.config import Config
        from rgbavatar.datasets.base import HeadDataset, Split
        from rgbavatar.subject import load_subject
        from rgbavatar.training.job import training_job
        from rgbavatar.training.offline import train_offline
        from rgbavatar.viewer.live import view_of_recorded

    def open_frames(config: Config, device: torch.device) -> HeadDataset:
        return load_subject(config, arguments.subject, Split(arguments.split), device, arguments.preload)

    with training_job(arguments, open_frames) as job, view_of_recorded(arguments, job) as view:
        speed = train_offline(
            job.trainer, job.frames, job.run, job.log, job.device, observer=view.observe, show=view.show
        )
        job.report(speed)


if __name__ == "__main__":
    run_script(main)
