"""What the check has found, and how bad it is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum


class Severity(str, Enum):
    """PROBLEM: put it right before training. WARNING: training works, the avatar lacks something. NOTE: for your knowledge."""

    PROBLEM = "problem"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Finding:
    """name: short, for scripts. found: one clause. fix: what to do; empty where nothing is to be done."""

    severity: Severity
    name: str
    found: str
    fix: str = ""

    @property
    def line(self) -> str:
        """The finding as one line."""
        return f"{self.severity.value}: {self.name}: {self.found}" + (f"; {self.fix}" if self.fix else "")


def problem(name: str, found: str, fix: str) -> Finding:
    """A finding that training must not start with."""
    return Finding(Severity.PROBLEM, name, found, fix)


def warning(name: str, found: str, fix: str) -> Finding:
    """A finding that training can live with."""
    return Finding(Severity.WARNING, name, found, fix)


def note(name: str, found: str) -> Finding:
    """A finding that asks for nothing."""
    return Finding(Severity.NOTE, name, found)


def worst_first(findings: Sequence[Finding]) -> list[Finding]:
    """In the order of their severity, else as they were found."""
    order = list(Severity)
    return sorted(findings, key=lambda finding: order.index(finding.severity))


def name_numbers(numbers: Sequence[int], most: int = 8) -> str:
    """Frame numbers as text, the first few of many: `3, 17, 42`, `3, 17 and 10 more`."""
    shown = ", ".join(str(number) for number in numbers[:most])
    return shown if len(numbers) <= most else f"{shown} and {len(numbers) - most} more"
