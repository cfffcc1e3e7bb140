"""What a person looks at: a contact sheet, and a page that tells all that was found, with nothing but itself to load."""

from __future__ import annotations

import base64
import html
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

from rgbavatar.check.conventions import apply_steps
from rgbavatar.check.drawing import FaceDrawer, overlay
from rgbavatar.check.findings import Finding, Severity
from rgbavatar.check.inspection import Inspection
from rgbavatar.check.page_style import MARK, PAGE, STYLE
from rgbavatar.check.scene import Scene, make_small, scene_of_tracking, spread
from rgbavatar.errors import OutputError
from rgbavatar.io.files import write_bytes, write_text
from rgbavatar.io.images import encode_png, side_by_side
from rgbavatar.templates.base import HeadTemplate

TILES, COLUMNS = 12, 4  # of a contact sheet
TILE = 320  # pixels of a tile's longer side
JPEG_QUALITY = 85
_CHART = (860, 200, 42, 14)  # width, height, left and lower margin of the curve


@dataclass(frozen=True)
class ReportFiles:
    """Where a report lies."""

    folder: Path

    @property
    def sheet(self) -> Path:
        """The mesh over frames, as the data say."""
        return self.folder / "contact_sheet.png"

    @property
    def fixed_sheet(self) -> Path:
        """The same with the conventions that fit better; not written where there are none."""
        return self.folder / "contact_sheet_fixed.png"

    @property
    def page(self) -> Path:
        return self.folder / "report.html"


def check_report_place(files: ReportFiles) -> None:
    """Raise OutputError where a page lies that is no report of ours. A report is made from data that are still there, so an
    earlier one of ours is replaced."""
    if files.page.exists() and MARK not in files.page.read_text(errors="replace")[:4096]:
        raise OutputError(
            f"{files.page}: exists already and is no report of this check; give another folder with --out"
        )


def write_report(files: ReportFiles, inspection: Inspection, template: HeadTemplate, draw: FaceDrawer) -> None:
    """Write the contact sheets and the page. Raises OutputError, DataError."""
    chosen = spread(len(inspection.frames), TILES)
    scene, images = _sheet_scene(inspection, template, inspection.frames[chosen])
    numbers = [inspection.subject.numbers[i] for i in inspection.frames[chosen].tolist()]
    labels = [f"{n}   IoU {v:.2f}" for n, v in zip(numbers, inspection.fit.overlaps[chosen].tolist(), strict=True)]
    sheets = [("The mesh as the data say", files.sheet, make_sheet(scene, images, labels, draw))]
    if inspection.steps and any(step.guess.change(scene) is not scene for step in inspection.steps):
        fixed = apply_steps(inspection.steps, scene)
        labels = [f"{n}   corrected" for n in numbers]
        sheet = make_sheet(fixed, fixed.pictures, labels, draw)
        sheets.append(("With the conventions that fit better", files.fixed_sheet, sheet))
    else:
        files.fixed_sheet.unlink(missing_ok=True)
    for _, path, sheet in sheets:
        write_bytes(path, encode_png(sheet))
    write_text(files.page, make_page(inspection, [(title, sheet) for title, _, sheet in sheets]))


def _sheet_scene(inspection: Inspection, template: HeadTemplate, frames: Tensor) -> tuple[Scene, Tensor]:
    """Some frames with pictures as large as a tile."""
    subject = inspection.subject
    images = make_small(subject.images.read(frames), TILE)
    size = (subject.images.width, subject.images.height)
    return scene_of_tracking(subject.tracking, template, frames, images, size), images


def make_sheet(scene: Scene, images: Tensor, labels: Sequence[str], draw: FaceDrawer) -> np.ndarray:
    """Overlays of all frames in rows, under their labels; a picture [H, W, 3] RGB."""
    tiles = overlay(scene, images, draw)
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % COLUMNS)
    labels = [*labels, *[""] * (len(tiles) - len(labels))]
    rows = [side_by_side(tiles[i : i + COLUMNS], labels[i : i + COLUMNS]) for i in range(0, len(tiles), COLUMNS)]
    return np.concatenate(rows)


def make_page(inspection: Inspection, sheets: Sequence[tuple[str, np.ndarray]]) -> str:
    """The report as one HTML page."""
    subject, fit = inspection.subject, inspection.fit
    numbers = [subject.numbers[i] for i in inspection.frames.tolist()]
    facts = {
        "Folder": str(subject.folder),
        "Layout": subject.layout,
        "Frames": f"{len(subject.numbers)}, of which {len(numbers)} were looked at",
        "Images": f"{subject.images.width} x {subject.images.height} pixels",
        "Overlap (IoU)": f"{fit.overlap:.3f}",
        "Mesh inside the mask": f"{fit.inside:.1%}",
        "Steadiness of colours": f"{fit.steadiness:.3f}",
    }
    return PAGE.format(
        mark=MARK,
        style=STYLE,
        title=html.escape(f"Check of {subject.folder.name}"),
        state="bad" if inspection.problems else "good",
        verdict=html.escape(inspection.verdict.removeprefix("verdict: ")),
        facts="".join(f"<tr><th>{html.escape(k)}</th><td>{html.escape(v)}</td></tr>" for k, v in facts.items()),
        findings="".join(_finding_item(finding) for finding in inspection.findings) or "<li>Nothing was found.</li>",
        guesses=_guess_table(inspection),
        curve=draw_curves(numbers, {"overlap": fit.overlaps.tolist(), "inside": fit.insides.tolist()}),
        sheets="".join(f"<h2>{html.escape(title)}</h2>{_embedded(sheet, title)}" for title, sheet in sheets),
    )


def _finding_item(finding: Finding) -> str:
    fix = f"<p class=fix>{html.escape(finding.fix)}</p>" if finding.fix else ""
    label = {Severity.PROBLEM: "Problem", Severity.WARNING: "Warning", Severity.NOTE: "Note"}[finding.severity]
    name, found = html.escape(finding.name), html.escape(finding.found)
    return f"<li class={finding.severity.value}><b>{label}</b> <code>{name}</code><p>{found}</p>{fix}</li>"


def _guess_table(inspection: Inspection) -> str:
    """What each accepted convention changes."""
    if not inspection.steps:
        return "<p>No other convention fits better than the one that the data are in.</p>"
    rows = "".join(
        f"<tr><th>{html.escape(step.guess.name)}</th><td>{step.before.overlap:.2f} &rarr; {step.after.overlap:.2f}</td>"
        f"<td>{step.before.inside:.0%} &rarr; {step.after.inside:.0%}</td>"
        f"<td>{step.before.steadiness:.2f} &rarr; {step.after.steadiness:.2f}</td></tr>"
        for step in inspection.steps
    )
    return f"<table><tr><th>convention</th><th>overlap</th><th>inside</th><th>steadiness</th></tr>{rows}</table>"


def _embedded(picture: np.ndarray, text: str) -> str:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    return f'<img alt="{html.escape(text)}" src="data:image/jpeg;base64,{base64.b64encode(data.tobytes()).decode()}">'


def draw_curves(numbers: Sequence[int], series: dict[str, Sequence[float]]) -> str:
    """Curves over frame numbers as an inline SVG. series: values in [0, 1], by name."""
    width, height, left, low = _CHART
    first, last = numbers[0], max(numbers[-1], numbers[0] + 1)

    def x(number: float) -> float:
        return left + (number - first) / (last - first) * (width - left - 8)

    def y(value: float) -> float:
        return 8 + (1.0 - value) * (height - low - 16)

    lines = "".join(
        f'<line x1="{left}" x2="{width - 8}" y1="{y(v):.1f}" y2="{y(v):.1f}"/>'
        f'<text x="{left - 6}" y="{y(v) + 4:.1f}" text-anchor="end">{v:g}</text>'
        for v in (0.0, 0.25, 0.5, 0.75, 1.0)
    )
    ends = "".join(
        f'<text x="{x(n):.1f}" y="{height - 4}" text-anchor="{anchor}">{n}</text>'
        for n, anchor in ((first, "start"), (numbers[-1], "end"))
    )
    curves = "".join(_curve(name, numbers, values, x, y) for name, values in series.items())
    names = " and ".join(series)
    return (
        f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{names} over frames">{lines}{ends}{curves}</svg>'
    )


def _curve(
    name: str, numbers: Sequence[int], values: Sequence[float], x: Callable[[float], float], y: Callable[[float], float]
) -> str:
    points = " ".join(f"{x(n):.1f},{y(v):.1f}" for n, v in zip(numbers, values, strict=True))
    dots = "".join(
        f'<circle cx="{x(n):.1f}" cy="{y(v):.1f}" r="2.5"><title>frame {n}: {name} {v:.3f}</title></circle>'
        for n, v in zip(numbers, values, strict=True)
    )
    return f'<g class="{name}"><polyline points="{points}"/>{dots}</g>'
