"""Disks that fail for real: a file system of a few kilobytes, and a limit on the size of files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest

import rgbavatar

_MOUNT = 'mount -t tmpfs -o size=256k tmpfs "$1" && exec "$2" -c "$3" "$1"'


@pytest.fixture
def run_on_tiny_disk(tmp_path: Path) -> Callable[[str], str]:
    """Runs Python source whose sys.argv[1] is a folder on a file system of 256 KiB; returns what it prints.

    The mount lives in a namespace of its own, which needs no privilege and vanishes with the process.
    """

    def run(source: str) -> str:
        command = ["unshare", "-Urm", "sh", "-c", _MOUNT, "sh", str(tmp_path), sys.executable, source]
        environment = {**os.environ, "PYTHONPATH": str(Path(rgbavatar.__file__).parents[1])}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
        if "unshare:" in done.stderr or "mount:" in done.stderr:
            pytest.skip(f"no file system of our own here: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


@pytest.fixture
def limited_file_size() -> Callable[[int], AbstractContextManager[None]]:
    """A context in which the operating system refuses to let a file grow beyond a number of bytes."""

    @contextmanager
    def limit(size: int) -> Iterator[None]:
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))

    return limit
