#!/usr/bin/env python3
"""Render a trained avatar: all frames, frames beside the truth, or a turntable; as pictures or as a video."""

from pathlib import Path

from rgbavatar.cli import add_result_arguments, choose_device, count, heavy_imports, make_parser, positive, run_script


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Render a trained avatar.")
    add_result_arguments(parser)
    parser.add_argument("--white_bg", action="store_true", help="white background instead of black")
    parser.add_argument("--alpha", action="store_true", help="RGBA pictures without a background")
    parser.add_argument("--mode", choices=("frames", "compare", "turntable"), default="frames", help="what to show")
    parser.add_argument("--split", choices=("train", "test", "all"), default="all", help="frames to show")
    parser.add_argument("--video", action="store_true", help="write MODE.mp4 instead of pictures")
    parser.add_argument("--fps", type=positive, default=25.0, help="pictures in a second of video")
    parser.add_argument("--turntable_frames", type=count, default=120, help="pictures of a full turn")
    arguments = parser.parse_args()

    with heavy_imports():
        from rgbavatar.datasets.base import Split
        from rgbavatar.io.run_dir import open_run_dir
        from rgbavatar.pictures import RenderOptions, render_run
        from rgbavatar.trained import open_trained

    device = choose_device(arguments.device)
    run = open_run_dir(Path(arguments.output_dir), arguments.work_name, arguments.subject)
    avatar = open_trained(run, arguments.config, arguments.set, device)
    options = RenderOptions(
        mode=arguments.mode,
        split=Split(arguments.split),
        white=arguments.white_bg,
        alpha=arguments.alpha,
        video=arguments.video,
        frames_per_second=arguments.fps,
        turntable_frames=arguments.turntable_frames,
        overwrite=arguments.overwrite,
    )
    render_run(run, avatar, arguments.subject, options, device)


if __name__ == "__main__":
    run_script(main)
