"""Writing files so that a failure never costs what was there before.

A file is written *aside*: into a partial file of the same folder, flushed to the disk, and renamed over its final name at the
end. Whoever looks sees the old file or the whole new one.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from rgbavatar.errors import OutputError

_PARTIAL_NAME = re.compile(r"\..+\.[0-9a-f]{8}\.partial(\.\w+)?")

_ADVICE = {
    errno.ENOSPC: "free some disk space and run again",
    errno.EDQUOT: "free some of your disk quota and run again",
    errno.EFBIG: "raise the limit on file sizes (ulimit -f) and run again",
    errno.EACCES: "choose a folder that you may write to",
    errno.EPERM: "choose a folder that you may write to",
    errno.EROFS: "choose a folder on a disk that is not read-only",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EISDIR: "a folder stands where the file should go: move it away",
    errno.ENOTDIR: "a file stands where a folder is needed: move it away",
    errno.EEXIST: "a file stands where a folder is needed: move it away",
}


def output_error(path: Path, error: OSError) -> OutputError:
    """The one-line error for an operating system's refusal to write `path`."""
    reason = error.strerror or str(error) or type(error).__name__
    advice = _ADVICE.get(error.errno or 0, "check the disk and the folder's permissions")
    return OutputError(f"{path}: cannot be written: {reason}; {advice}")


def make_folder(path: Path) -> Path:
    """Create the folder `path` and its parents where they are missing. Raises OutputError."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise output_error(path, error) from error
    return path


def is_partial(path: Path) -> bool:
    """Whether `path` is named like a partial file that a killed process of ours left behind."""
    return _PARTIAL_NAME.fullmatch(path.name) is not None


@contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Give the body an empty partial file to fill; make it `path` when the body ends.

    The partial file lies in the same folder, which is created if missing, and keeps the suffix of `path`. When anything is
    raised the partial file is removed and a previous `path` stays as it was; an OSError becomes an OutputError.
    """
    with _fill_aside(path) as partial:
        yield partial
    flush_folder(path.parent)


@contextmanager
def _fill_aside(path: Path) -> Iterator[Path]:
    """`write_aside`, but for flushing the folder."""
    partial = path.with_name(f".{path.stem}.{secrets.token_hex(4)}.partial{path.suffix}")
    try:
        if path.exists() and not path.is_file():
            raise OutputError(f"{path}: cannot be written: it exists and is not a regular file; move it away")
        make_folder(path.parent)
        _create_empty(partial)
        yield partial
        _flush_to_disk(partial)
        os.replace(partial, path)
    except OSError as error:
        raise output_error(path, error) from error
    finally:
        with suppress(OSError):
            partial.unlink()


def write_bytes(path: Path, content: bytes | memoryview) -> None:
    """Write `content` to `path` aside. Raises OutputError."""
    with write_aside(path) as partial, partial.open("wb") as file:
        file.write(content)


def write_one_of_many(path: Path, content: bytes | memoryview) -> None:
    """`write_bytes`, but for flushing the folder, which threads would wait for each other in: call `flush_folder` at the end."""
    with _fill_aside(path) as partial, partial.open("wb") as file:
        file.write(content)


def flush_folder(path: Path) -> None:
    """Have the disk hold the names of the files in a folder, too."""
    with suppress(OSError):  # the files are in place; some file systems cannot flush a folder
        _flush_to_disk(path)


def write_text(path: Path, content: str) -> None:
    """Write `content` to `path` aside, as UTF-8 with Unix line ends. Raises OutputError."""
    write_bytes(path, content.encode())


def _create_empty(path: Path) -> None:
    os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))


def _flush_to_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
