#!/usr/bin/env python3
"""Measure a trained avatar: L1, L2, PSNR, SSIM and LPIPS on its training and its test frames."""

from pathlib import Path

from rgbavatar.cli import add_result_arguments, choose_device, heavy_imports, make_parser, run_script


def main() -> None:
    """Parse, build, run."""
    parser = make_parser("Measure a trained avatar on its training and its test frames.")
    add_result_arguments(parser)
    parser.add_argument(
        "--split",
        type=int,
        help="-N: the last N frames are the test frames; by default as in training (published: -350)",
    )
    parser.add_argument("--vgg_weights", type=Path, help="file of torchvision's VGG-16 weights, for LPIPS")
    arguments = parser.parse_args()

    with heavy_imports():
        from rgbavatar.evaluation import evaluate_run
        from rgbavatar.io.run_dir import open_run_dir
        from rgbavatar.trained import open_trained

    overrides = (
        arguments.set if arguments.split is None else [*arguments.set, f"dataset.test_frames={-arguments.split}"]
    )
    device = choose_device(arguments.device)
    run = open_run_dir(Path(arguments.output_dir), arguments.work_name, arguments.subject)
    avatar = open_trained(run, arguments.config, overrides, device)
    evaluate_run(run, avatar, arguments.subject, device, arguments.vgg_weights, arguments.overwrite)


if __name__ == "__main__":
    run_script(main)
