"""What a user asks of a tracking."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rgbavatar.errors import ConfigError
from rgbavatar.prepare.options import Framing, check_frame

VERSION = 4  # of the results: one up whenever the same settings give other bytes
LEAST_FOCAL, MOST_FOCAL = 0.2, 20.0  # in longer sides of a picture, beyond which no lens goes


@dataclass(frozen=True)
class Options:
    """One tracking, of `source` (see video.open_frames) into the folder `subject`.

    template, landmarks: files of a blendshape template and of its correspondences. model: of the face landmarker. masks: folder
    of masks, classes: what of them is head; segmenter: model that makes them; without either they are cut out. size: pixels of
    the longer side of the results, None: not resized; margin: around the head, in its sizes. focal: pixels of the source, None
    to find it. frames_per_second: of a folder of pictures. most_frames: pictures to take, None for all. align: whether the
    pictures themselves correct the poses and expressions that landmarks tell.
    """

    source: str
    subject: Path
    template: Path
    landmarks: Path
    model: Path
    masks: Path | None = None
    classes: str | None = None
    segmenter: Path | None = None
    size: int | None = None
    framing: Framing = Framing.HEAD
    margin: float = 0.1
    focal: float | None = None
    frames_per_second: float = 25.0
    most_frames: int | None = None
    align: bool = True
    overwrite: bool = False

    def __post_init__(self) -> None:
        check_frame(self.size, self.margin)
        if self.masks is not None and self.segmenter is not None:
            raise ConfigError("--masks and --segmenter were both given; give one of them")
        if self.classes is not None and self.masks is None:
            raise ConfigError(f"--classes {self.classes}: says what is head in masks, but there is no --masks DIR")

    @property
    def settings(self) -> Mapping[str, object]:
        """What decides on the bytes of the results, beside the source."""
        return {
            "version": VERSION,
            "template": str(self.template.resolve()),
            "landmarks": str(self.landmarks.resolve()),
            "masks": None if self.masks is None else str(self.masks.resolve()),
            "classes": self.classes,
            "segmenter": None if self.segmenter is None else str(self.segmenter.resolve()),
            "size": self.size,
            "framing": self.framing.value,
            "margin": self.margin,
            "focal": self.focal,
            "frames_per_second": self.frames_per_second,
            "most_frames": self.most_frames,
            "align": self.align,
        }

    def check_focal(self, size: tuple[int, int]) -> None:
        """Raise ConfigError for a focal length that no lens has, for pictures of a size (width, height)."""
        sides = None if self.focal is None else self.focal / max(size)
        if sides is not None and not LEAST_FOCAL <= sides <= MOST_FOCAL:
            raise ConfigError(
                f"--focal {self.focal:g}: is {sides:.2g} times the picture's longer side of {max(size)} pixels, expected "
                f"{LEAST_FOCAL:g} to {MOST_FOCAL:g} times; give pixels of the source"
            )
