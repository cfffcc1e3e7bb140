"""Opening a recorded subject, whatever its layout: its frames posed with a template, its images streamed or in memory."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset, Split, split_indices
from rgbavatar.datasets.features import compute_features
from rgbavatar.datasets.images import Progress, StreamedImages, default_workers, read_common_size
from rgbavatar.datasets.layouts import AUTO, find_layout
from rgbavatar.datasets.tracking import FrameListing, Tracking
from rgbavatar.errors import DataError
from rgbavatar.templates.base import HeadTemplate


def load_recorded(
    folder: Path,
    template: HeadTemplate,
    *,
    preload: bool,
    pin_memory: bool,
    split: Split = Split.ALL,
    test_frames: int = 0,
    layout: str = AUTO,
    progress: Progress | None = None,
) -> HeadDataset:
    """Load the subject in `folder` (data_dir/subject), or one split of it, posed with `template`.

    preload: hold the images in memory instead of decoding them at each read. pin_memory: hand them out page-locked, for
    copies to a GPU. The identity is that of the subject's first frame, whatever the split. All files are checked, also
    those outside the split. Raises DataError naming the file.
    """
    listing = find_layout(folder, layout).list_frames(folder)
    chosen = choose_frames(listing, split, test_frames)
    places = chosen.tolist()
    width, height = read_common_size(listing.images)
    store = StreamedImages([listing.images[i] for i in places], width, height, pin_memory, default_workers())
    with ExitStack() as on_error:
        on_error.callback(store.close)
        pending = store.start_preload() if preload else None
        tracking = listing.read(template, (width, height))  # keeps one core busy, the images the others
        held = pending.finish(progress) if pending else store
        vertices, codes = _pose(tracking, chosen, template)  # takes all cores
        on_error.pop_all()
    return HeadDataset(
        subject=folder.name,
        numbers=torch.tensor(tracking.numbers)[chosen],
        images=held,
        vertices=vertices,
        codes=codes,
        camera=tracking.camera.select(chosen),
        template=template,
    )


def _pose(tracking: Tracking, chosen: Tensor, template: HeadTemplate) -> tuple[Tensor, Tensor]:
    """Vertices and codes of the chosen frames; each moment is posed once."""
    if tracking.moments is None:
        return compute_features(template, tracking.motion.select(chosen))
    moments = torch.tensor(tracking.moments)[chosen]
    distinct, of_frame = moments.unique(return_inverse=True)
    first = torch.empty(len(distinct), dtype=torch.int64)
    first[of_frame.flip(0)] = chosen.flip(0)
    vertices, codes = compute_features(template, tracking.motion.select(first))
    return vertices[of_frame], codes[of_frame]


def load_tracking(folder: Path, template: HeadTemplate, layout: str = AUTO) -> Tracking:
    """What was tracked in a sequence, without its images: to drive an avatar. Gaps are left out. Raises DataError."""
    return find_layout(folder, layout).list_tracking(folder).read(template, None)


def list_splits(folder: Path, test_frames: int, layout: str = AUTO) -> list[Split]:
    """The splits of a subject that have frames, training first. Raises DataError."""
    splits = find_layout(folder, layout).list_frames(folder).splits
    if splits is None:
        return [Split.TRAIN, Split.TEST] if test_frames else [Split.TRAIN]
    return [split for split in (Split.TRAIN, Split.VAL, Split.TEST) if split in splits]


def choose_frames(listing: FrameListing, split: Split, test_frames: int) -> Tensor:
    """Positions [m] int64 of the frames of a split: as the layout says, else the last `test_frames` are the test.

    Raises DataError where there are none.
    """
    if listing.splits is None:
        return split_indices(len(listing.numbers), split, test_frames)
    chosen = [i for i, of_frame in enumerate(listing.splits) if split in (Split.ALL, of_frame)]
    if not chosen:
        there = ", ".join(sorted({of_frame.value for of_frame in listing.splits}))
        raise DataError(f"the subject has no frames of the split {split.value}, expected one of {there}")
    return torch.tensor(chosen)
