"""A blendshape template from a folder of ICT-FaceKit: `python -m rgbavatar.templates.convert_ict FaceXModel --out head.npz`.

What `convert_obj` does, with what it cannot know of this model: its expressions get ARKit's names, and its eyeballs turn. The
model itself (MIT) comes from its authors.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tqdm import tqdm

from rgbavatar.cli import run_script, say
from rgbavatar.io.run_dir import refuse_existing
from rgbavatar.templates.arkit_names import with_arkit_names
from rgbavatar.templates.blendshape_data import load_blendshape_data, write_blendshape_data
from rgbavatar.templates.convert_obj import ConvertSettings, convert_folder, describe

_EYEBALLS = (
    "21451-23020",
    "23021-24590",
)  # vertices of the left and the right one, as the model's documentation numbers them


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.templates.convert_ict",
        description="Make a blendshape template from a folder of ICT-FaceKit.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="the model's folder FaceXModel: generic_neutral_mesh.obj and others")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="the template that is written")
    eyeball = "groups, objects, materials or vertices FIRST-LAST (from 0) of the {} eyeball"
    parser.add_argument("--eye_left", nargs="+", default=[_EYEBALLS[0]], metavar="NAME", help=eyeball.format("left"))
    parser.add_argument("--eye_right", nargs="+", default=[_EYEBALLS[1]], metavar="NAME", help=eyeball.format("right"))
    parser.add_argument("--precision", choices=("float32", "float16"), default="float16", help="of the stored deltas")
    parser.add_argument("--overwrite", action="store_true", help="replace the template")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, convert, read what was written, say what it holds. Raises RgbAvatarError."""
    options = _parse(arguments)
    refuse_existing(options.out, options.overwrite)
    settings = ConvertSettings(eyes=(tuple(options.eye_left), tuple(options.eye_right)), precision=options.precision)
    data = convert_folder(options.folder, settings, say, lambda paths: tqdm(paths, unit="file", leave=False))
    write_blendshape_data(options.out, with_arkit_names(data))
    say(describe(load_blendshape_data(options.out), options.out))


if __name__ == "__main__":
    run_script(main)
