"""What recipes are worth on frames that were not trained on: `python -m tests.bench.quality --seconds 540`.

Subjects x splits x recipes x seeds. Each finished run is a line of results.jsonl in --out; a second call goes on where the first
ended, and `--seconds` ends a call between two runs. Every call writes table.md and the plots of all that is in the file.

    python -m tests.bench.quality --suite choose --size 512 --images 50000 --seeds 0 1 2 --seconds 540
    python -m tests.bench.quality --size 128 --frames 120 --images 3000 --subjects noisy_a --recipes published average
    python -m tests.bench.quality --suite none --subject DIR --template FILE --recipes published best:loss.ssim=0.2

Several processes share a study with `--part 1/4`, `--part 2/4`, ..., into one --out; made subjects have to be in the cache then.
"""

from __future__ import annotations

import argparse
import dataclasses
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from rgbavatar.cli import choose_device, count, positive, run_script, say
from rgbavatar.config import Config, load_config, override_config
from rgbavatar.errors import ConfigError
from rgbavatar.metrics import load_lpips
from rgbavatar.subject import load_template
from tests.bench.quality.recipes import CHANGES, PUBLISHED, configure
from tests.bench.quality.runs import WAY_POINTS, Record, Task, append_record, read_records, run
from tests.bench.quality.splits import Held, split_frames
from tests.bench.quality.subjects import SUITES, Plan, Subject, make_subject, open_folder, parse_plan

NO_SUITE = "none"


@dataclass(frozen=True)
class Source:
    """A subject that can be opened. name: for tables; identity: what it is made of."""

    name: str
    identity: str
    open: Callable[[], Subject]


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, run what is missing, report."""
    options = make_parser().parse_args(arguments)
    device, base = choose_device(options.device), load_config(options.config, options.set)
    if options.template is not None:
        base = override_config(base, [f"template.path={options.template}"])
    sources = list_sources(options, base, device)
    results = options.out / "results.jsonl"
    done = {record["key"] for record in read_records(results)}
    number, parts = options.part
    ours = list_tasks(options, base, sources)[number - 1 :: parts]
    missing = [task for task in ours if task.key not in done]
    left = run_tasks(missing, {source.identity: source for source in sources}, options, device, results)
    records = read_records(results)
    if records:
        from tests.bench.quality.table import write_all

        sys.stdout.write(write_all(records, options.out))
    say(f"{len(missing) - left} runs done, {left} are left; the results are in {options.out}")


def make_parser() -> argparse.ArgumentParser:
    """All arguments."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.quality",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    which = parser.add_argument_group("what is run")
    which.add_argument("--suite", choices=(*SUITES, NO_SUITE), default="choose", help="made subjects (%(default)s)")
    which.add_argument("--subjects", nargs="+", default=[], metavar="NAME", help="of the suite; all")
    which.add_argument("--make", action="append", default=[], metavar="NAME:seed=1,frames=200,...", help="another one")
    which.add_argument("--subject", action="append", default=[], type=Path, metavar="DIR", help="a tracked subject")
    which.add_argument("--template", type=Path, help="head template of the tracked subjects; that of the configuration")
    which.add_argument("--splits", nargs="+", choices=[held.value for held in Held], default=[Held.TIME.value])
    which.add_argument("--share", type=positive, default=0.25, help="of the frames, held out (%(default)s)")
    which.add_argument("--recipes", nargs="+", default=[PUBLISHED, *CHANGES], help="names, A+B, or NAME:KEY=VALUE,...")
    which.add_argument("--seeds", nargs="+", type=int, default=[0, 1], help="of training (0 1)")
    which.add_argument("--images", type=count, default=50_000, help="to train on (%(default)s)")
    which.add_argument("--size", type=count, default=256, help="pixels of made subjects, on a side (%(default)s)")
    which.add_argument("--frames", type=count, help="of each made subject; the plan's own")
    which.add_argument("--config", type=Path, default=Path("config/offline.yaml"), help="the published recipe")
    which.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="for all recipes")
    which.add_argument("--looks", type=count, help="at test frames on the way, equally far apart; a few, more at first")
    where = parser.add_argument_group("where and how long")
    where.add_argument("--device", default="auto")
    where.add_argument("--out", type=Path, default=Path("output/quality"), help="results, table, plots (%(default)s)")
    where.add_argument(
        "--cache", type=Path, default=Path("output/quality/subjects"), help="made subjects (%(default)s)"
    )
    where.add_argument(
        "--part", type=_part, default=(1, 1), metavar="I/N", help="the I-th of N equal parts of the runs"
    )
    where.add_argument("--seconds", type=positive, default=float("inf"), help="begin no run that would end later")
    return parser


def _part(text: str) -> tuple[int, int]:
    """`I/N`, with I from 1 to N."""
    number, _, parts = text.partition("/")
    if not (number.isdigit() and parts.isdigit() and 1 <= int(number) <= int(parts)):
        raise argparse.ArgumentTypeError(f"found {text}, expected I/N with I from 1 to N, for example 1/4")
    return int(number), int(parts)


def list_sources(options: argparse.Namespace, base: Config, device: torch.device) -> list[Source]:
    """The subjects that the arguments name. Raises ConfigError."""
    plans = dict(SUITES.get(options.suite, {}))
    unknown = [name for name in options.subjects if name not in plans]
    if unknown:
        raise ConfigError(f"--subjects {unknown[0]}: expected some of {', '.join(plans) or 'no name'} (--suite)")
    plans = {name: plan for name, plan in plans.items() if name in options.subjects or not options.subjects}
    plans |= dict(_named_plan(text) for text in options.make)
    made = [_made_source(name, plan, options, base, device) for name, plan in plans.items()]
    return [*made, *(_folder_source(folder, base, device) for folder in options.subject)]


def _named_plan(text: str) -> tuple[str, Plan]:
    name, _, plan = text.partition(":")
    return name, parse_plan(plan)


def _made_source(name: str, plan: Plan, options: argparse.Namespace, base: Config, device: torch.device) -> Source:
    fitted = plan if options.frames is None else dataclasses.replace(plan, frames=options.frames)
    return Source(
        name, f"{fitted} {options.size}", lambda: make_subject(name, fitted, options.size, options.cache, base, device)
    )


def _folder_source(folder: Path, base: Config, device: torch.device) -> Source:
    return Source(folder.name, str(folder.resolve()), lambda: open_folder(folder, load_template(base), base, device))


def list_tasks(options: argparse.Namespace, base: Config, sources: Sequence[Source]) -> list[Task]:
    """All runs, a seed after the other, so that whatever is finished can be compared."""
    recipes = dict.fromkeys([PUBLISHED, *options.recipes])
    configs = {recipe: configure(base, recipe, options.images) for recipe in recipes}
    return [
        Task(source.name, source.identity, held, options.share, recipe, seed, options.images, config)
        for seed in options.seeds
        for source in sources
        for held in options.splits
        for recipe, config in configs.items()
    ]


def run_tasks(
    tasks: Sequence[Task], sources: dict[str, Source], options: argparse.Namespace, device: torch.device, results: Path
) -> int:
    """Run and record one after the other while there is time. Returns how many are left."""
    begin, longest = time.perf_counter(), 0.0
    lpips, advice = load_lpips(device)
    if lpips is None and tasks:
        say(advice)
    looks = options.looks
    way_points = WAY_POINTS if looks is None else [(look + 1) / (looks + 1) for look in range(looks)]
    opened: dict[str, Subject] = {}
    for number, task in enumerate(tasks):
        started = time.perf_counter()
        if started - begin + longest > options.seconds:
            return len(tasks) - number
        if task.source not in opened:
            opened[task.source] = sources[task.source].open()
        subject = opened[task.source]
        frames = split_frames(subject.tracked, Held(task.held), task.share)
        record = run(task, subject, frames, device, lpips, way_points)
        append_record(results, record)
        longest = max(longest, time.perf_counter() - started)
        say(_tell(record))
    return 0


def _tell(record: Record) -> str:
    train, test = record["train"]["psnr"], record["test"]["psnr"]
    what = f"{record['subject']}, {record['held']}, {record['recipe']}, seed {record['seed']}"
    return f"{what}: training frames {train:.2f} dB, test frames {test:.2f} dB, {record['seconds']:.1f} s"


if __name__ == "__main__":
    run_script(main)
