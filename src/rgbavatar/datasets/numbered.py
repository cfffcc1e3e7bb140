"""Files named by a number, and images and tracked frames that pair by it.

The numbers start anywhere and have no gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

from rgbavatar.errors import DataError


def find_numbered_files(folder: Path, suffix: str) -> Mapping[int, Path]:
    """Files of `folder` named by a number, by that number. Others are ignored. Raises DataError where there is none."""
    found: dict[int, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() != suffix or not (path.stem.isascii() and path.stem.isdigit()):
            continue
        number = int(path.stem)
        if number in found:
            raise DataError(
                f"{path}: found number {number} also as {found[number].name}, expected one file; delete one"
            )
        found[number] = path
    if not found:
        held = ", ".join(path.name for path in sorted(folder.iterdir())[:3]) or "nothing"
        raise DataError(
            f"{folder}: found {held}, expected files named 00000{suffix}, 00001{suffix}, ...; export them again"
        )
    return found


def pair_numbers(images: Mapping[int, Path], frames: Mapping[int, Path], suffix: str) -> list[int]:
    """The numbers of the subject, ascending. suffix: of the tracked frames' files.

    Raises DataError where one has no image or no frame, or is missing.
    """
    numbers = sorted(images.keys() | frames.keys())
    for here, there, kind in ((images, frames, suffix), (frames, images, ".png")):
        lonely = [n for n in numbers if n in here and n not in there]
        if lonely:
            held = f"numbers {min(there)} to {max(there)}"
            raise DataError(
                f"{here[lonely[0]]}: found no {lonely[0]:05d}{kind} to go with it ({len(lonely)} such; "
                f"the {kind} files have {held}), expected one of each for every number; complete or delete them"
            )
    for before, after in pairwise(numbers):
        if after != before + 1:
            raise DataError(
                f"{images[before]}: found {after:05d} as the next number, expected {before + 1:05d}: frames of a video "
                f"have no gaps; restore the files or number them anew"
            )
    return numbers
