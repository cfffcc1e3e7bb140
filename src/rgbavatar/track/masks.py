"""The head's coverage of each picture, from where the user wants it: cut out here, from files, or from a segmenter's model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import cv2
import numpy as np

from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.errors import DataError
from rgbavatar.prepare.masks import Classes, check_mask, read_mask
from rgbavatar.prepare.tracker_folder import find_picture_files
from rgbavatar.track.head_masks import SIDE, HeadMasker
from rgbavatar.track.layers import choose_frames, learn_layers, relearn_layers
from rgbavatar.track.zones import Zone, ZoneFinder

CANDIDATES, LAYER_FRAMES = 120, 32  # frames of a shot that are looked through for those with the head in other places
RELEARNED = 3  # times that layers are learned from what those before cut out: the first tell little near the head
NOT_HEAD = ("background", "cloth")  # what names of a segmenter's classes begin with that are no head


class MaskSource(Protocol):
    """Gives masks of frames in their order; frames may be left out."""

    def wanted(self) -> Sequence[int]:
        """Positions of frames whose pictures it has to see before."""
        ...

    def learn(self, pictures: Mapping[int, np.ndarray]) -> None:
        """See these pictures, RGB [H, W, 3], by position."""
        ...

    def coverage(self, position: int, picture: np.ndarray) -> np.ndarray:
        """The head's coverage [H, W] of the picture at a position. Raises DataError for a file that is no mask of it."""
        ...


class CutMasks:
    """Masks cut out of the pictures themselves: see rgbavatar.track.head_masks. shots: runs of the frames."""

    def __init__(self, finder: ZoneFinder, frames: Sequence[TrackedFrame], shots: Sequence[slice]) -> None:
        self._finder, self._frames, self._shots = finder, frames, shots
        self._size = small_size(frames[0].width, frames[0].height)
        self._chosen = [self._choose(shot) for shot in shots]
        self._maskers: dict[int, HeadMasker] = {}
        self._last = -2

    def wanted(self) -> Sequence[int]:
        return [position for chosen in self._chosen for position in chosen]

    def learn(self, pictures: Mapping[int, np.ndarray]) -> None:
        for shot, chosen in enumerate(self._chosen):
            small = [self._shrink(pictures[position]) for position in chosen]
            zones = [self._zone(position) for position in chosen]
            layers = learn_layers(small, zones)
            for _ in range(RELEARNED):
                masks = [HeadMasker(layers).mask(picture, zone) for picture, zone in zip(small, zones, strict=True)]
                layers = relearn_layers(small, zones, masks)
            self._maskers[shot] = HeadMasker(layers)

    def coverage(self, position: int, picture: np.ndarray) -> np.ndarray:
        shot = next(i for i, run in enumerate(self._shots) if run.start <= position < run.stop)
        masker = self._maskers[shot]
        if position != self._last + 1:
            masker.restart()
        self._last = position
        small = masker.mask(self._shrink(picture), self._zone(position))
        return cv2.resize(small, (picture.shape[1], picture.shape[0]), interpolation=cv2.INTER_LINEAR)

    def _choose(self, shot: slice) -> list[int]:
        count = shot.stop - shot.start
        candidates = [shot.start + round(i) for i in np.linspace(0, count - 1, min(CANDIDATES, count))]
        chosen = choose_frames([self._zone(position) for position in candidates], LAYER_FRAMES)
        return [candidates[i] for i in chosen]

    def _zone(self, position: int) -> Zone:
        return self._finder.find(self._frames[position], *self._size)

    def _shrink(self, picture: np.ndarray) -> np.ndarray:
        return cv2.resize(picture, self._size, interpolation=cv2.INTER_AREA)


class FolderMasks:
    """Masks that the user gives, by the numbers of the pictures. classes: what of them is head; see prepare.masks."""

    def __init__(self, folder: Path, classes: Classes | None, numbers: Sequence[int]) -> None:
        self._files = find_picture_files(folder)
        self._classes, self._numbers = classes, numbers
        missing = [number for number in numbers if number not in self._files]
        if missing:
            raise DataError(
                f"{folder / f'{missing[0]:05d}.png'}: found no such mask ({len(missing)} are missing; those there are have the "
                f"numbers {min(self._files)} to {max(self._files)}), expected one for each picture, numbered as it is, from 0"
            )

    def wanted(self) -> Sequence[int]:
        return ()

    def learn(self, pictures: Mapping[int, np.ndarray]) -> None:
        """There is nothing to learn."""

    def coverage(self, position: int, picture: np.ndarray) -> np.ndarray:
        path = self._files[self._numbers[position]]
        coverage = read_mask(path, self._classes, picture.shape[1], picture.shape[0])
        check_mask(path, coverage)
        return coverage


class SegmenterMasks:
    """Masks by a model of MediaPipe's ImageSegmenter: all its classes but background and clothes, where the head can be."""

    def __init__(self, segment: Segmenter, finder: ZoneFinder, frames: Sequence[TrackedFrame]) -> None:
        self._segment, self._finder, self._frames = segment, finder, frames

    def wanted(self) -> Sequence[int]:
        return ()

    def learn(self, pictures: Mapping[int, np.ndarray]) -> None:
        """There is nothing to learn."""

    def coverage(self, position: int, picture: np.ndarray) -> np.ndarray:
        height, width = picture.shape[:2]
        zone = self._finder.find(self._frames[position], *small_size(width, height))
        allowed = cv2.resize((zone.reach & ~zone.below).astype(np.float32), (width, height))
        return (head_share(self._segment(picture)) * allowed).astype(np.float32)


class Segmenter(Protocol):
    """How sure a model is of each of its classes, by name, in a picture RGB [H, W, 3]: [H, W] each."""

    def __call__(self, picture: np.ndarray) -> Mapping[str, Any]: ...


def head_share(classes: Mapping[str, Any]) -> np.ndarray:
    """The share of what is head: what is neither background nor clothes."""
    head = [np.asarray(share) for name, share in classes.items() if not name.lower().startswith(NOT_HEAD)]
    if not head:
        raise DataError(
            f"--segmenter: found the classes {', '.join(classes)}, expected some that are no background and no clothes"
        )
    return np.clip(np.sum(head, 0), 0, 1).astype(np.float32)


def small_size(width: int, height: int) -> tuple[int, int]:
    """Width and height of the pictures that heads are cut out of."""
    scale = min(1.0, SIDE / max(width, height))
    return max(1, round(scale * width)), max(1, round(scale * height))
