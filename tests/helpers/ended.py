"""How a program ended."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ended:
    """Its exit code, and what it wrote."""

    code: int
    out: str
    err: str

    @property
    def error_line(self) -> str:
        """Of an error that a user can act on: the only line that starts with `error:`, the last; bars may stand before it."""
        lines = [line for line in self.err.replace("\r", "\n").splitlines() if line.startswith("error:")]
        assert len(lines) == 1, self.err
        assert self.err.endswith(lines[0] + "\n")
        assert "Traceback" not in self.err
        assert self.code == 2
        return lines[0]
