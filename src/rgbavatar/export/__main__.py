"""The command line: `python -m rgbavatar.export splats|bundle output/WORK_NAME/SUBJECT`."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

import torch

from rgbavatar.cli import choose_device, run_script, say
from rgbavatar.datasets.base import Split
from rgbavatar.errors import CheckpointError
from rgbavatar.export.bundle import write_bundle
from rgbavatar.export.splats import write_splats
from rgbavatar.io.run_dir import RunDir, refuse_existing
from rgbavatar.subject import load_subject
from rgbavatar.templates.motion import check_frame_numbers
from rgbavatar.trained import TrainedAvatar, open_trained


def main() -> None:
    """Parse, export, say where it lies."""
    arguments = _parse()
    run = RunDir(arguments.run)
    if not run.checkpoint.is_file():
        raise CheckpointError(
            f"{run.checkpoint}: no such checkpoint; give the folder of a run: output/WORK_NAME/SUBJECT"
        )
    device = choose_device(arguments.device)
    avatar = open_trained(run, None, arguments.set, device)
    if arguments.what == "bundle":
        target = arguments.out or run.bundle
        refuse_existing(target, arguments.overwrite)
        write_bundle(target, avatar)
        say(f"{target.stat().st_size / 1e6:.1f} MB: {target}")
    else:
        count = _export_splats(arguments, run, avatar, device)
        say(f"{count} files of {avatar.model.shape.count} splats: {arguments.out or run.splats}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rgbavatar.export", description="Export a trained avatar.")
    kinds = parser.add_subparsers(dest="what", required=True)
    for what, text in (
        ("splats", "posed frames as .ply files that splat viewers open"),
        ("bundle", "the whole avatar in one small file"),
    ):
        kind = kinds.add_parser(
            what, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        kind.add_argument("run", type=Path, help="folder of the run: output/WORK_NAME/SUBJECT")
        kind.add_argument(
            "--out", type=Path, help="file of the bundle, or folder of the splats, in place of the run's own"
        )
        kind.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
        kind.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the run")
        kind.add_argument("--overwrite", action="store_true", help="replace what lies there")
        if what == "splats":
            kind.add_argument("--frames", type=int, nargs="+", metavar="N", help="numbers of frames; all if left out")
    return parser.parse_args()


def _export_splats(arguments: argparse.Namespace, run: RunDir, avatar: TrainedAvatar, device: torch.device) -> int:
    folder = arguments.out or run.splats
    refuse_existing(folder, arguments.overwrite)
    with closing(load_subject(avatar.config, run.path.name, Split.ALL, device, preload=False)) as dataset:
        avatar.check_template(dataset.template)
        numbers = dataset.numbers.tolist()
        chosen = check_frame_numbers(numbers, arguments.frames or numbers, "--frames")
        for place in chosen:
            one = slice(place, place + 1)
            gaussians = avatar.pose(dataset.codes[one].to(device), dataset.vertices[one].to(device))
            write_splats(folder / f"{numbers[place]:05d}.ply", gaussians)
    return len(chosen)


if __name__ == "__main__":
    run_script(main)
