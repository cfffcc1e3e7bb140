"""Opening a subject that may be wrong: what training refuses becomes a finding here, so long as anything can be compared."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from rgbavatar.check.findings import Finding, name_numbers, problem
from rgbavatar.datasets.frame_layout import IMAGES, FrameFileLayout, FrameFileListing
from rgbavatar.datasets.images import StreamedImages, default_workers, read_common_size
from rgbavatar.datasets.layouts import find_layout
from rgbavatar.datasets.numbered import find_numbered_files
from rgbavatar.datasets.tracking import FrameListing, Layout, Tracking
from rgbavatar.errors import DataError
from rgbavatar.templates.base import HeadTemplate


@dataclass(frozen=True)
class OpenSubject:
    """A subject as far as it can be read. images: of the tracked frames, in their order; findings: what training refuses."""

    folder: Path
    layout: str
    tracking: Tracking
    images: StreamedImages
    findings: Sequence[Finding]

    @property
    def numbers(self) -> list[int]:
        return self.tracking.numbers

    def close(self) -> None:
        self.images.close()


def open_subject(folder: Path, template: HeadTemplate, layout_name: str) -> OpenSubject:
    """Open the subject in a folder. Raises DataError where it cannot be read at all, naming the file."""
    layout = find_layout(folder, layout_name)
    listing, findings = _list_frames(folder, layout)
    size = read_common_size(listing.images)
    tracking = listing.read(template, None)
    findings = [*findings, *_judge_size(size, (tracking.camera.width, tracking.camera.height))]
    images = StreamedImages(listing.images, *size, False, default_workers())
    return OpenSubject(folder, layout.name, tracking, images, findings)


def _list_frames(folder: Path, layout: Layout) -> tuple[FrameListing, list[Finding]]:
    """The frames of which there are both image and tracking, and what is missing."""
    try:
        return layout.list_frames(folder), []
    except DataError:
        if not isinstance(layout, FrameFileLayout) or not all(
            (folder / name).is_dir() for name in (IMAGES, layout.folder)
        ):
            raise
        images = find_numbered_files(folder / IMAGES, ".png")
        files = find_numbered_files(folder / layout.folder, layout.suffix)
        both = sorted(images.keys() & files.keys())
        if not both:
            raise
        listing = FrameFileListing(both, [images[n] for n in both], [files[n] for n in both], layout.read)
        return listing, list(_judge_pairs(sorted(images), sorted(files), layout))


def _judge_pairs(images: Sequence[int], files: Sequence[int], layout: FrameFileLayout) -> list[Finding]:
    found = []
    fix = "track the video again, or delete the ones that stand alone and number the rest without gaps"
    for name, here, there, what in (
        ("tracking-missing", images, files, f"images have no {layout.suffix} file"),
        ("image-missing", files, images, f"{layout.suffix} files have no image"),
    ):
        lonely = sorted(set(here) - set(there))
        if lonely:
            found.append(problem(name, f"{len(lonely)} {what}: {name_numbers(lonely)}", fix))
    numbers = sorted({*images, *files})
    gaps = [a + 1 for a, b in pairwise(numbers) if b != a + 1]
    if gaps:
        found.append(
            problem("frames-missing", f"the numbers have gaps: nothing is there for {name_numbers(gaps)}", fix)
        )
    return found


def _judge_size(images: tuple[int, int], tracked: tuple[int, int]) -> list[Finding]:
    """Whether images have the size that the tracking is for, each (width, height)."""
    if images == tracked:
        return []
    sizes = (
        f"tracked were images of {tracked[0]} x {tracked[1]} pixels (width x height), these {images[0]} x {images[1]}"
    )
    if images == tracked[::-1]:
        found = f"width and height were exchanged: {sizes}"
        return [problem("size-swapped", found, "write img_size as (height, width), and look at cx and cy too")]
    ratio = images[0] / tracked[0], images[1] / tracked[1]
    if abs(ratio[0] / ratio[1] - 1) < 0.02:
        fix = f"give the images that were tracked, or multiply the intrinsics and the size by {ratio[0]:.4g}"
        return [problem("other-resolution", f"the images were resized after tracking: {sizes}", fix)]
    return [
        problem(
            "size-differs",
            f"the images were cropped or padded after tracking: {sizes}",
            "give the images that were tracked",
        )
    ]
