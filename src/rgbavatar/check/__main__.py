"""The command line: `python -m rgbavatar.check SUBJECT`.

Prints what was found and one verdict line last, and writes a contact sheet and a report. Exit codes: 0 fit to train on, with
warnings or without; 1 something must be put right before training; 2 the subject or the template cannot be read.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbavatar.check.report import ReportFiles
from rgbavatar.check.run import FRAMES, check_subject, report_place
from rgbavatar.cli import choose_device, count, run_script
from rgbavatar.config import load_config
from rgbavatar.subject import load_template

EXIT_PROBLEMS = 1


def main() -> None:
    """Parse, inspect, report, leave with the exit code."""
    arguments = _parse()
    device = choose_device(arguments.device)
    config = load_config(Path(arguments.config), arguments.set)
    template = load_template(config)
    folder = find_folder(Path(config.dataset.data_dir), arguments.subject)
    files = ReportFiles(arguments.out) if arguments.out else report_place(folder)
    if check_subject(folder, template, config.dataset.layout, arguments.frames, files, device).problems:
        raise SystemExit(EXIT_PROBLEMS)


def find_folder(data_dir: Path, subject: str) -> Path:
    """The folder of a subject below data_dir; else the folder of that path, where there is one."""
    below = data_dir / subject
    return Path(subject).resolve() if Path(subject).is_dir() and not below.is_dir() else below


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.check",
        description="Tell whether a subject is fit to train on, and if not, what is wrong with it.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("subject", help="folder of the subject below dataset.data_dir, or its path")
    parser.add_argument("--config", default="config/offline.yaml", help="configuration file")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting")
    parser.add_argument("--out", type=Path, help="folder of the report, in place of output/check/SUBJECT")
    parser.add_argument("--frames", type=count, default=FRAMES, help="frames to look at, spread over the subject")
    parser.add_argument(
        "--device", default="auto", help="auto, cpu, cuda or cuda:N; nvdiffrast draws on a GPU, if installed"
    )
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
