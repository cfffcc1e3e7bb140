#!/usr/bin/env python3
"""Render a trained avatar: its frames, a turntable, another's motion, ways between frames; as pictures or as a video."""

from pathlib import Path

from rgbavatar.cli import add_render_arguments, choose_device, heavy_imports, make_parser, run_script


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Render a trained avatar.")
    add_render_arguments(parser)
    arguments = parser.parse_args()

    with heavy_imports():
        from math import radians

        from rgbavatar.datasets.base import Split
        from rgbavatar.io.run_dir import open_run_dir
        from rgbavatar.pictures import RenderOptions, render_run
        from rgbavatar.shots import Drive, Orbit
        from rgbavatar.trained import open_trained

    device = choose_device(arguments.device)
    run = open_run_dir(Path(arguments.output_dir), arguments.work_name, arguments.subject)
    avatar = open_trained(run, arguments.config, arguments.set, device)
    drive = Drive(
        arguments.driver,
        arguments.driver_neutral,
        arguments.neutral,
        arguments.smooth * arguments.fps,
        arguments.driver_camera,
    )
    options = RenderOptions(
        mode=arguments.mode,
        split=Split(arguments.split),
        orbit=Orbit(arguments.turntable_frames, radians(arguments.elevation), arguments.frame, arguments.play),
        drive=drive if arguments.driver else None,
        between=arguments.between,
        leg_frames=arguments.leg_frames,
        background=(1.0, 1.0, 1.0) if arguments.white_bg else arguments.bg,
        alpha=arguments.alpha,
        size=arguments.size,
        video=arguments.video,
        frames_per_second=arguments.fps,
        overwrite=arguments.overwrite,
    )
    render_run(run, avatar, arguments.subject, options, device)


if __name__ == "__main__":
    run_script(main)
