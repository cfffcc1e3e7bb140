"""The command line: `python -m rgbavatar.export splats|bundle|page output/WORK_NAME/SUBJECT`."""

from __future__ import annotations

import argparse
from contextlib import closing
from pathlib import Path

import torch

from rgbavatar.cli import choose_device, count, run_script, say
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.export.bundle import write_bundle
from rgbavatar.export.page import write_page
from rgbavatar.export.splats import write_splats
from rgbavatar.io.run_dir import RunDir, refuse_existing, run_at
from rgbavatar.templates.motion import check_frame_numbers
from rgbavatar.trained import TrainedAvatar, open_frames, open_trained


def main() -> None:
    """Parse, export, say where it lies."""
    arguments = _parse()
    run = run_at(arguments.run)
    device = choose_device(arguments.device)
    avatar = open_trained(run, None, arguments.set, device)
    export = {"bundle": _export_bundle, "splats": _export_splats, "page": _export_page}[arguments.what]
    export(arguments, run, avatar, device)


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="rgbavatar.export", description="Export a trained avatar.")
    kinds = parser.add_subparsers(dest="what", required=True)
    for what, text in (
        ("splats", "posed frames as .ply files that splat viewers open"),
        ("bundle", "the whole avatar in one small file"),
        ("page", "one HTML file that plays the avatar in a browser, without a server or a network"),
    ):
        kind = kinds.add_parser(
            what, help=text, description=text, formatter_class=argparse.ArgumentDefaultsHelpFormatter
        )
        kind.add_argument("run", type=Path, help="folder of the run: output/WORK_NAME/SUBJECT")
        kind.add_argument(
            "--out", type=Path, help="file of the bundle or page, or folder of the splats, in place of the run's own"
        )
        kind.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
        kind.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the run")
        kind.add_argument("--overwrite", action="store_true", help="replace what lies there")
        if what != "bundle":
            frames = kind.add_mutually_exclusive_group()
            frames.add_argument("--frames", type=int, nargs="+", metavar="N", help="numbers of frames; all if left out")
            if what == "page":
                frames.add_argument("--every", type=count, default=1, metavar="K", help="only one frame of so many")
    return parser.parse_args()


def _export_bundle(arguments: argparse.Namespace, run: RunDir, avatar: TrainedAvatar, _: torch.device) -> None:
    target = arguments.out or run.bundle
    refuse_existing(target, arguments.overwrite)
    write_bundle(target, avatar)
    say(f"{target.stat().st_size / 1e6:.1f} MB: {target}")


def _export_splats(arguments: argparse.Namespace, run: RunDir, avatar: TrainedAvatar, device: torch.device) -> None:
    folder = arguments.out or run.splats
    refuse_existing(folder, arguments.overwrite)
    with closing(open_frames(avatar, run.path.name, Split.ALL, device)) as dataset:
        avatar.check_template(dataset.template)
        chosen = _chosen_frames(dataset, arguments.frames)
        for place in chosen:
            one = slice(place, place + 1)
            gaussians = avatar.pose(dataset.codes[one].to(device), dataset.vertices[one].to(device))
            write_splats(folder / f"{int(dataset.numbers[place]):05d}.ply", gaussians)
    say(f"{len(chosen)} files of {avatar.model.shape.count} splats: {folder}")


def _export_page(arguments: argparse.Namespace, run: RunDir, avatar: TrainedAvatar, device: torch.device) -> None:
    target = arguments.out or run.page
    refuse_existing(target, arguments.overwrite)
    with closing(open_frames(avatar, run.path.name, Split.ALL, device)) as dataset:
        report = write_page(target, avatar, dataset, _chosen_frames(dataset, arguments.frames)[:: arguments.every])
    say(
        f"{report.bytes / 1e6:.1f} MB, {report.frames} frames, motion in {report.components} components, "
        f"{1e3 * report.motion_error:.3f} mm off at most: {target}"
    )


def _chosen_frames(dataset: HeadDataset, wanted: list[int] | None) -> list[int]:
    """The places of the frames of some numbers; of all where none are given. Raises DataError."""
    numbers = dataset.numbers.tolist()
    return check_frame_numbers(numbers, wanted or numbers, "--frames")


if __name__ == "__main__":
    run_script(main)
