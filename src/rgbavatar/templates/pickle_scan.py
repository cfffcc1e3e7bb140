"""What can be told of a pickle without unpickling it: where it ends, and how much memory its *memo* needs.

The memo is the table of what was already described, by index. The unpickler makes as many slots as the largest index says,
so that a few bytes can ask for all memory; no writer counts further than the objects it wrote. `pickletools` tells as much,
but decodes all that the pickle holds.
"""

from __future__ import annotations

import pickletools
import re

_LENGTH_BYTES = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_COUNTED = {
    op.code.encode("latin1"): _LENGTH_BYTES[op.arg.n]
    for op in pickletools.opcodes
    if op.arg is not None and op.arg.n in _LENGTH_BYTES
}  # opcodes whose argument has its length before it, and the width of that length
_STOP, _PUT, _LONG_BINPUT = b".", b"p", b"r"
_RUN = 4096  # opcodes skipped at a time: bounds the memory that the expression below takes


def _argument(op: pickletools.OpcodeInfo) -> bytes:
    """The expression for the argument of an opcode that is of fixed size, or ends with its line (a name's with the second)."""
    size = op.arg.n if op.arg else 0
    return b".{%d}" % size if size >= 0 else rb"[^\n]*\n" * (2 if op.name in ("GLOBAL", "INST") else 1)


def _skipping() -> re.Pattern[bytes]:
    """The expression for a run of opcodes that are neither counted nor looked at below."""
    codes: dict[bytes, bytes] = {}
    for op in pickletools.opcodes:
        code = op.code.encode("latin1")
        if code not in _COUNTED and code not in (_STOP, _PUT, _LONG_BINPUT):
            codes[_argument(op)] = codes.get(_argument(op), b"") + re.escape(code)
    steps = b"|".join(b"[%b]%b" % (group, argument) for argument, group in codes.items())
    return re.compile(b"(?:%b){0,%d}" % (steps, _RUN), re.DOTALL)


_SKIPPED = _skipping()


def scan_pickle(data: bytes, start: int = 0) -> tuple[int, int]:
    """Where the pickle that begins at `start` ends, and the largest index that it puts something at, 255 where none is larger.

    A fault in it ends the search. Raises ValueError for an index that is no number.
    """
    at, largest = start, 255
    while True:
        before, at = at, _SKIPPED.match(data, at).end()  # type: ignore[union-attr]  # it matches nothing at least
        code = data[at : at + 1]
        if code in _COUNTED:
            body = at + 1 + _COUNTED[code]
            at = min(body + int.from_bytes(data[at + 1 : body], "little"), len(data))
        elif code == _LONG_BINPUT:
            largest = max(largest, int.from_bytes(data[at + 1 : at + 5], "little"))
            at += 5
        elif code == _PUT:
            end = data.find(b"\n", at)
            largest = max(largest, int(data[at + 1 : end if end >= 0 else len(data)]))
            at = end + 1 if end >= 0 else len(data)
        elif at == before:
            return at + len(code), largest
