#!/usr/bin/env python3
"""Train an avatar while its video plays: a tracked subject is replayed in order at the rate of the video."""

from pathlib import Path

from rgbavatar.cli import add_training_arguments, choose_device, make_parser, overrides, run_script, say


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Train an avatar while its video plays.")
    add_training_arguments(parser, "config/online.yaml")
    parser.add_argument("--video_fps", type=float, default=25.0, help="frames that arrive in a second")
    arguments = parser.parse_args()

    from rgbavatar.config import config_to_yaml, load_config
    from rgbavatar.datasets.base import Split
    from rgbavatar.errors import ConfigError
    from rgbavatar.io.files import write_text
    from rgbavatar.io.metrics_log import open_log
    from rgbavatar.io.run_dir import create_run_dir
    from rgbavatar.subject import load_subject
    from rgbavatar.training.online import train_online
    from rgbavatar.training.report import write_speed_report
    from rgbavatar.training.setup import build_trainer, resume_trainer

    if not 0.0 < arguments.video_fps < float("inf"):
        raise ConfigError(f"--video_fps {arguments.video_fps}: expected a number above 0")
    config = load_config(Path(arguments.config), overrides(arguments))
    device = choose_device(arguments.device)
    dataset = load_subject(config, arguments.subject, Split.TRAIN, device, preload=False)
    trainer = build_trainer(config, dataset.template, device)
    run = create_run_dir(
        Path(arguments.output_dir), arguments.work_name, arguments.subject, arguments.overwrite, arguments.resume
    )
    if arguments.resume:
        resume_trainer(trainer, run.checkpoint)
    write_text(run.config, config_to_yaml(config))
    log = open_log(run.log if arguments.log else None)
    try:
        speed = train_online(trainer, dataset, run, log, device, arguments.video_fps)
    finally:
        log.close()
        dataset.close()
    write_speed_report(run.speed, speed, trainer, device)
    say(f"trained on {speed.images} images, {speed.images_per_second:.1f} images/s: {run.path}")


if __name__ == "__main__":
    run_script(main)
