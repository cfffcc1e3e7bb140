"""What a user asks of a preparation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from rgbavatar.errors import ConfigError

LEAST_SIZE = 16  # pixels on a side of a picture that anything can be seen in
VERSION = 1  # of the results: one up whenever the same settings give other bytes
EDGE_SHARE = 128  # picture sides in the default edge: segmentation is done at about that many cells across


class Matting(str, Enum):
    """How masks become alpha: with soft edges found in the picture's colours, cleaned and thresholded, or as they are."""

    SOFT = "soft"
    BINARY = "binary"
    NONE = "none"


class Framing(str, Enum):
    """What of the pictures is kept: a square around the head, one for the sequence, or all."""

    HEAD = "head"
    WHOLE = "whole"


@dataclass(frozen=True)
class Options:
    """One preparation, from `tracker` into `subject` (both folders).

    images: folder or video of the tracked pictures; masks: their folder; None: found in `tracker`. classes: what of the masks
    is the head, see masks.parse_classes. size: pixels of the longer side of the results, None: not resized. margin: around the
    head, in its sizes. edge: how far the edge of a mask may be off, raw pixels, None: by the picture's size. shift: picture
    numbers less frame numbers, None: found. skip: leave out frames of which a file is missing or broken.
    """

    tracker: Path
    subject: Path
    images: Path | None = None
    masks: Path | None = None
    classes: str | None = None
    size: int | None = None
    framing: Framing = Framing.HEAD
    margin: float = 0.1
    matting: Matting = Matting.SOFT
    edge: int | None = None
    shift: int | None = None
    skip: bool = False
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_frame(self.size, self.margin)

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides on the bytes of the results, beside the files that they are made from."""
        return {
            "version": VERSION,
            "tracker": str(self.tracker.resolve()),
            "images": None if self.images is None else str(self.images.resolve()),
            "masks": None if self.masks is None else str(self.masks.resolve()),
            "classes": self.classes,
            "size": self.size,
            "framing": self.framing.value,
            "margin": self.margin,
            "matting": self.matting.value,
            "edge": self.edge,
            "shift": self.shift,
        }

    def edge_of(self, width: int, height: int) -> int:
        """The edge for pictures of a size, in pixels."""
        return self.edge or max(2, round(min(width, height) / EDGE_SHARE))


def check_frame(size: int | None, margin: float) -> None:
    """Raise ConfigError for pictures that are too small, and for a margin that leaves no room for the head."""
    if size is not None and size < LEAST_SIZE:
        raise ConfigError(f"--size {size}: expected at least {LEAST_SIZE} pixels")
    if not 0 <= margin <= 2:
        raise ConfigError(f"--margin {margin}: expected 0 to 2 sizes of the head")
