"""Looking through a raw subject before anything is written: what is broken, and where the head is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rgbavatar.datasets.frame_file import TrackedFrame, read_frame_file
from rgbavatar.errors import DataError
from rgbavatar.prepare.masks import Classes, bounding_box, check_mask, clean_mask, has_alpha, read_mask
from rgbavatar.prepare.options import Framing, Options
from rgbavatar.prepare.pictures import read_picture
from rgbavatar.prepare.plan import Plan, plan_frames, stamp_listing
from rgbavatar.prepare.resize import Box, Window, find_window
from rgbavatar.prepare.threads import Progress, run_all
from rgbavatar.prepare.tracker_folder import MASK_FOLDERS, RawSubject, Source

MASK_HINT = (
    f"give --masks DIR with the head's mask in each picture (or put it into {MASK_FOLDERS[0]}/), or RGBA pictures with "
    f"--images; any program that segments heads or parses faces makes them"
)


@dataclass(frozen=True)
class Raw:
    """A frame as it comes. colors [H, W, 3] uint8; coverage [H, W] float32: that of the mask."""

    frame: TrackedFrame
    colors: np.ndarray
    coverage: np.ndarray


def read_raw(source: Source, classes: Classes | None, pixels: np.ndarray | None = None) -> Raw:
    """Read what belongs to a frame. pixels: of its picture, where that has been decoded. Raises DataError naming a file."""
    frame = read_frame_file(source.frame)
    if pixels is None:
        assert isinstance(source.picture, Path)
        pixels = read_picture(source.picture)
    if pixels.shape[:2] != (frame.height, frame.width):
        raise DataError(
            f"{source.picture}: found {pixels.shape[1]}x{pixels.shape[0]} pixels (width x height), expected the "
            f"{frame.width}x{frame.height} of {source.frame}; give the pictures that were tracked: --images"
        )
    coverage = _read_coverage(source, classes, frame, pixels)
    colors = np.repeat(pixels[..., None], 3, 2) if pixels.ndim == 2 else pixels[..., :3]
    return Raw(frame, colors, coverage)


def _read_coverage(
    source: Source, classes: Classes | None, frame: TrackedFrame, pixels: np.ndarray | None
) -> np.ndarray:
    """The coverage by the mask, or by the picture's own alpha. pixels: of the picture, where there is no mask."""
    if source.mask is not None:
        coverage = read_mask(source.mask, classes, frame.width, frame.height)
    elif pixels is not None and has_alpha(pixels):
        coverage = pixels[..., 3].astype(np.float32) / 255
    else:
        raise DataError(f"{source.picture}: found no mask for it and no alpha in it, expected one of them; {MASK_HINT}")
    check_mask(source.mask or source.picture, coverage)
    return coverage


def survey(raw: RawSubject, options: Options, classes: Classes | None, workers: int, progress: Progress) -> Plan:
    """Plan the preparation of a subject.

    Tracked frames are read, and masks where the head is looked for; with options.skip also all pictures, and what is broken
    is left out; without it raises DataError for the first.
    """
    if raw.missing and not options.skip:
        raise DataError(next(iter(raw.missing.values())))
    if not options.skip:
        _read_first(raw.sources, classes)
    looks: dict[int, _Look | DataError] = {}
    look = partial(_look_at, options=options, classes=classes)
    run_all((partial(_note, looks, source, look) for source in raw.sources), workers, progress)
    broken = {number: str(found) for number, found in sorted(looks.items()) if isinstance(found, DataError)}
    good = [(source, found) for source in raw.sources if isinstance(found := looks[source.number], _Look)]
    if broken and not options.skip:
        raise DataError(next(iter(broken.values())))
    left_out = dict(sorted((dict(raw.missing) | broken).items()))
    if not good:
        raise DataError(
            f"{options.tracker}: found no frame with all it needs; the first: {next(iter(left_out.values()))}"
        )
    window = _choose_window([found for _, found in good], options)
    return Plan(
        settings=options.settings,
        listing=stamp_listing(raw),
        window=window,
        size=window.fitted(options.size),
        frames=plan_frames([source for source, _ in good]),
        left_out=left_out,
        checked=options.skip,
        complete=False,
    )


@dataclass(frozen=True)
class _Look:
    """What was seen of a frame. box: of the head, where it was looked for."""

    width: int
    height: int
    box: Box | None


def _note(looks: dict[int, _Look | DataError], source: Source, look: Callable[[Source], _Look]) -> None:
    """Keep what is seen of a frame, or what is wrong with it."""
    try:
        looks[source.number] = look(source)
    except DataError as error:
        looks[source.number] = error


def _look_at(source: Source, options: Options, classes: Classes | None) -> _Look:
    frame = read_frame_file(source.frame)
    needed = options.framing is Framing.HEAD
    coverage = None
    if isinstance(source.picture, Path) and (options.skip or (needed and source.mask is None)):
        coverage = read_raw(source, classes).coverage
    elif needed or not isinstance(source.picture, Path):
        coverage = _read_coverage(source, classes, frame, None)
    box = bounding_box(clean_mask(coverage)) if needed and coverage is not None else None
    return _Look(frame.width, frame.height, box)


def _read_first(sources: Sequence[Source], classes: Classes | None) -> None:
    """Raise DataError where the first frame is not whole, before all are looked through: often all are like it."""
    for source in sources[:1]:
        if isinstance(source.picture, Path):
            read_raw(source, classes)


def _choose_window(looks: Sequence[_Look], options: Options) -> Window:
    """The window of all pictures. Raises DataError where they have several sizes."""
    sizes: Mapping[tuple[int, int], int] = {(look.width, look.height): index for index, look in enumerate(looks)}
    if len(sizes) > 1:
        found = ", ".join(f"{width}x{height}" for width, height in sizes)
        raise DataError(
            f"{options.tracker}: found pictures of {found} (img_size), expected one size; track all in one run"
        )
    ((width, height),) = sizes
    boxes = [look.box for look in looks if look.box is not None]
    if options.framing is Framing.WHOLE:
        return Window(0, 0, width, height)
    return find_window(boxes, options.margin, width, height)
