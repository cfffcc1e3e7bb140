"""Inspecting a subject, telling what was found, and writing the report: what the command does, and a tracker with its result."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import torch

from rgbavatar.check.drawing import choose_drawer
from rgbavatar.check.inspection import Inspection, inspect
from rgbavatar.check.opening import open_subject
from rgbavatar.check.report import ReportFiles, check_report_place, write_report
from rgbavatar.cli import say
from rgbavatar.templates.base import HeadTemplate

FRAMES = 60  # looked at, spread over a subject


def report_place(subject: Path) -> ReportFiles:
    """Where the report of a subject goes, unless it is told."""
    return ReportFiles(Path("output") / "check" / subject.name)


def check_subject(
    subject: Path, template: HeadTemplate, layout: str, frames: int, files: ReportFiles, device: torch.device
) -> Inspection:
    """Inspect a folder, say what was found with the verdict last, and write the report. Raises DataError, OutputError."""
    check_report_place(files)
    with closing(open_subject(subject, template, layout)) as opened:
        inspection = inspect(opened, template, frames)
        write_report(files, inspection, template, choose_drawer(device))
    for finding in inspection.findings:
        say(finding.line)
    say(f"report: {files.page}, {files.sheet.name}")
    say(inspection.verdict)
    return inspection
