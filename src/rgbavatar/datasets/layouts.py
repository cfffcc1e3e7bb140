"""All layouts that are read, and which one a folder has."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

from rgbavatar.datasets.blendshape_layout import BLENDSHAPE
from rgbavatar.datasets.frame_file import read_frame_file
from rgbavatar.datasets.frame_layout import IMAGES, FrameFileLayout
from rgbavatar.datasets.insta_transforms import InstaTransforms
from rgbavatar.datasets.pixel3dmm import is_pixel3dmm_file, read_pixel3dmm_file
from rgbavatar.datasets.tracking import Layout
from rgbavatar.datasets.vhap import Vhap
from rgbavatar.errors import ConfigError, DataError

AUTO = "auto"
INSTA = FrameFileLayout("insta", "checkpoint", ".frame", read_frame_file, lambda path: not is_pixel3dmm_file(path))
PIXEL3DMM = FrameFileLayout("pixel3dmm", "checkpoint", ".frame", read_pixel3dmm_file, is_pixel3dmm_file)
LAYOUTS: Mapping[str, Layout] = {
    layout.name: layout for layout in (Vhap(), InstaTransforms(), INSTA, PIXEL3DMM, BLENDSHAPE)
}


def find_layout(folder: Path, name: str = AUTO) -> Layout:
    """The layout of a subject's folder: the named one, or the first that it looks like.

    Raises DataError where there is no such folder or it looks like none, ConfigError for an unknown name.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: found no such subject, expected the folder of a tracked sequence; {_near(folder)}")
    if name != AUTO:
        if name not in LAYOUTS:
            raise ConfigError(f"dataset.layout is {name!r}, expected {AUTO}, {', '.join(LAYOUTS)}")
        return LAYOUTS[name]
    for layout in LAYOUTS.values():
        if layout.matches(folder):
            return layout
    if any((folder / part).is_dir() for part in (IMAGES, INSTA.folder)):
        return INSTA  # in part: it says what is missing
    held = ", ".join(sorted(entry.name for entry in folder.iterdir())[:8]) or "nothing"
    expected = "; ".join(f"{layout.holds} ({layout.name})" for layout in LAYOUTS.values())
    raise DataError(
        f"{folder}: found no layout that is known here (it holds {held}), expected one of: {expected}; see data/README.md"
    )


def _near(folder: Path) -> str:
    """Which subjects lie where `folder` was looked for, those of a similar name first."""
    parent = folder.parent
    if not parent.is_dir():
        return f"{parent} does not exist either: set dataset.data_dir"
    names = sorted(entry.name for entry in parent.iterdir() if (entry / IMAGES).is_dir())
    near = difflib.get_close_matches(folder.name, names, n=3)
    if near:
        return f"did you mean {' or '.join(near)}?"
    return f"{parent} holds the subjects {', '.join(names[:8])}" if names else f"{parent} holds no subject"
