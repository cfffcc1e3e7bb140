"""Plots of the study: gains.png, gap.png, seconds.png, images.png (where the machine is busy, seconds say little)."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tests.bench.quality.recipes import PUBLISHED
from tests.bench.quality.table import COLUMNS, Record, differences, pairs_of, scene_of

DPI = 110


def draw_plots(records: Sequence[Record], folder: Path) -> None:
    """Write all plots. Raises OSError."""
    recipes = list(dict.fromkeys(record["recipe"] for record in records))
    for name, draw, height in (
        ("gains", _draw_gains, 1.5 + 0.4 * len(recipes)),
        ("gap", _draw_gap, 5.0),
        ("seconds", partial(_draw_curves, axis=0, label="seconds of training"), 5.0),
        ("images", partial(_draw_curves, axis=1, label="images trained on"), 5.0),
    ):
        figure = Figure(figsize=(9.0, height), layout="constrained")
        draw(figure.subplots(), records, recipes)
        FigureCanvasAgg(figure).print_png(str(folder / f"{name}.png"), metadata={"Software": None})


def _draw_gains(axes: Axes, records: Sequence[Record], recipes: Sequence[str]) -> None:
    """A dot for each run, a bar for the mean of each recipe; colours are scenes."""
    pairs, shown = pairs_of(records), [recipe for recipe in recipes if recipe != PUBLISHED]
    scenes = list(dict.fromkeys(scene_of(record) for record in records))
    for row, recipe in enumerate(shown):
        ours = [pair for pair in pairs if pair[0]["recipe"] == recipe]
        gains = differences(ours, COLUMNS["test PSNR"][0])
        axes.barh(row, sum(gains) / max(len(gains), 1), color="0.85", zorder=1)
        colors = [f"C{scenes.index(scene_of(run)) % 10}" for run, _ in ours]
        axes.scatter(gains, [row] * len(gains), c=colors, s=22, zorder=2)
    for number, scene in enumerate(scenes):
        first = next(record for record in records if scene_of(record) == scene)
        axes.scatter([], [], c=f"C{number % 10}", label=f"{first['subject']}, {first['held']}")
    axes.set_yticks(range(len(shown)), shown)
    axes.invert_yaxis()
    axes.axvline(0.0, color="black", linewidth=0.8)
    axes.set_xlabel("test PSNR, difference to the published recipe, dB")
    if scenes:
        axes.legend(fontsize="small")


def _draw_gap(axes: Axes, records: Sequence[Record], recipes: Sequence[str]) -> None:
    """Test against training PSNR of each run; the further below the line, the more was learnt by heart."""
    for number, recipe in enumerate(recipes):
        ours = [record for record in records if record["recipe"] == recipe]
        train, test = ([record[split]["psnr"] for record in ours] for split in ("train", "test"))
        axes.scatter(train, test, s=26, label=recipe, marker=_marker(number), color=f"C{number % 10}")
    low, high = axes.get_xlim()
    axes.axline((low, low), slope=1.0, color="0.6", linewidth=0.8)
    axes.set_xlim(low, high)
    axes.set_xlabel("training frames, PSNR, dB")
    axes.set_ylabel("test frames, PSNR, dB")
    axes.legend(fontsize="x-small", ncols=2)


def _draw_curves(axes: Axes, records: Sequence[Record], recipes: Sequence[str], axis: int, label: str) -> None:
    """Test PSNR on the way, mean over the runs of a recipe. axis: which number of a curve's points goes to the right."""
    for number, recipe in enumerate(recipes):
        curves = [record["curve"] for record in records if record["recipe"] == recipe]
        length = min(map(len, curves))
        means = [
            [sum(curve[point][part] for curve in curves) / len(curves) for point in range(length)] for part in (axis, 2)
        ]
        axes.plot(*means, marker=_marker(number), markersize=4, label=recipe, color=f"C{number % 10}")
    axes.set_xlabel(label)
    axes.set_ylabel("test frames, PSNR, dB")
    axes.legend(fontsize="x-small", ncols=2)


def _marker(number: int) -> str:
    """So that more than ten recipes can be told apart."""
    return "os^vDP*X<>"[number // 10 % 10]
