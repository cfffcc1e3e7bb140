"""What the study found: each run against the published recipe on the same subject, frames, images and seed.

A *difference* is a run's number less that of the published recipe's run of the same seed; mean and standard deviation are over
seeds, and in the first table over subjects and seeds. The *gap* is PSNR on training frames less PSNR on test frames. *Passes
after*: the share of the published run's seconds at which a run was first seen at the PSNR that the published one ended with.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.bench.quality.recipes import PUBLISHED

Record = dict[str, Any]
Column = Callable[[Record], float | None]


def _of(split: str, metric: str) -> Column:
    return lambda record: record.get(split, {}).get(metric)


PASSED = "passes after"
COLUMNS: dict[str, tuple[Column, int]] = {
    "test PSNR": (_of("test", "psnr"), 2),
    "as tracked": (_of("test_as_tracked", "psnr"), 2),
    "SSIM": (_of("test", "ssim"), 4),
    "LPIPS": (_of("test", "lpips"), 4),
    "sharpness": (_of("test", "sharpness"), 3),
    "train PSNR": (_of("train", "psnr"), 2),
    "gap": (lambda record: record["train"]["psnr"] - record["test"]["psnr"], 2),
    "seconds": (lambda record: record["seconds"], 1),
}


def scene_of(record: Record) -> tuple[Any, ...]:
    """What a run shares with those that it is compared with, but for the seed."""
    return record["source"], record["held"], record["share"], record["device"], record["compared_images"]


def pairs_of(records: Sequence[Record]) -> list[tuple[Record, Record]]:
    """Each run with the published recipe's of the same scene and seed; runs that have none are left out."""
    published = {(*scene_of(r), r["seed"]): r for r in records if r["recipe"] == PUBLISHED}
    found = ((record, published.get((*scene_of(record), record["seed"]))) for record in records)
    return [(record, base) for record, base in found if base is not None]


def write_table(records: Sequence[Record]) -> str:
    """Markdown: over all scenes, then each scene by itself."""
    parts = ["# Quality on frames that were not trained on", "", *_overall(records)]
    for scene in _in_order(scene_of(record) for record in records):
        parts += ["", *_one_scene([record for record in records if scene_of(record) == scene])]
    return "\n".join(parts) + "\n"


def _overall(records: Sequence[Record]) -> list[str]:
    pairs = pairs_of(records)
    columns = _used(records)
    rows = [
        "Differences to the published recipe, mean ± standard deviation over subjects and seeds; `worst`: the subject's mean"
    ]
    rows += [
        "that is least in test PSNR.",
        "",
        _row(["recipe", "runs", *columns, "worst"]),
        _row(["---"] * (len(columns) + 3)),
    ]
    for recipe in _in_order(record["recipe"] for record in records if record["recipe"] != PUBLISHED):
        ours = [pair for pair in pairs if pair[0]["recipe"] == recipe]
        if ours:
            cells = [spread(differences(ours, COLUMNS[name][0]), COLUMNS[name][1], signed=True) for name in columns]
            rows.append(_row([recipe, str(len(ours)), *cells, f"{worst_scene(ours):+.2f}"]))
    return rows


def _one_scene(records: Sequence[Record]) -> list[str]:
    first, columns = records[0], _used(records)
    frames = first["frames"]
    rows = [
        f"## {first['subject']}, held out by {first['held']}",
        "",
        f"{frames['train']} training and {frames['test']} test frames, {first['pixels']} pixels, "
        f"{first['compared_images']} images, {first['device']}. The published recipe's numbers, then differences to it.",
        "",
        _row(["recipe", "seeds", *columns, PASSED]),
        _row(["---"] * (len(columns) + 3)),
    ]
    published = [record for record in records if record["recipe"] == PUBLISHED]
    values = {name: _present(map(COLUMNS[name][0], published)) for name in columns}
    rows.append(_row([PUBLISHED, str(len(published)), *(spread(values[n], COLUMNS[n][1]) for n in columns), "1"]))
    pairs = pairs_of(records)
    for recipe in _in_order(record["recipe"] for record in records if record["recipe"] != PUBLISHED):
        ours = [pair for pair in pairs if pair[0]["recipe"] == recipe]
        cells = [spread(differences(ours, COLUMNS[name][0]), COLUMNS[name][1], signed=True) for name in columns]
        rows.append(_row([recipe, str(len(ours)), *cells, tell_passing(ours)]))
    return rows


def differences(pairs: Iterable[tuple[Record, Record]], column: Column) -> list[float]:
    """Of each pair, where both runs have the number."""
    both = [(column(ours), column(base)) for ours, base in pairs]
    return [ours - base for ours, base in both if ours is not None and base is not None]


def passing(ours: Record, base: Record) -> float:
    """The share of the published run's seconds after which a run's curve is as high as the published one's end; inf: never."""
    reached = (seconds / base["seconds"] for seconds, _, psnr in ours["curve"] if psnr >= base["curve"][-1][2])
    return next(reached, float("inf"))


def tell_passing(pairs: Sequence[tuple[Record, Record]]) -> str:
    """The mean share; in how many runs it is never passed, if in some; a dash for no run."""
    shares = [passing(*pair) for pair in pairs]
    never = sum(share == float("inf") for share in shares)
    return f"never in {never} of {len(shares)}" if never else spread(shares, 2)


def worst_scene(pairs: Sequence[tuple[Record, Record]]) -> float:
    """The least mean difference in test PSNR of a scene, in dB."""
    scenes = _in_order(scene_of(ours) for ours, _ in pairs)
    grouped = [[pair for pair in pairs if scene_of(pair[0]) == scene] for scene in scenes]
    return min(statistics.mean(differences(group, COLUMNS["test PSNR"][0])) for group in grouped)


def spread(values: Sequence[float], digits: int, signed: bool = False) -> str:
    """`mean ± standard deviation`; of one value that value, of none a dash."""
    if not values:
        return "–"
    text = f"{statistics.mean(values):{'+' if signed else ''}.{digits}f}"
    return text if len(values) == 1 else f"{text} ± {statistics.stdev(values):.{digits}f}"


def _used(records: Sequence[Record]) -> list[str]:
    return [name for name, (column, _) in COLUMNS.items() if any(column(record) is not None for record in records)]


def _present(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _in_order(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def write_all(records: Sequence[Record], folder: Path) -> str:
    """table.md and the plots in a folder. Returns the table."""
    from tests.bench.quality.plots import draw_plots

    text = write_table(records)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "table.md").write_text(text)
    draw_plots(records, folder)
    return text
