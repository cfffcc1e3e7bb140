"""Which frames of a subject are held out: the last ones, or those whose pose or expression is most unlike the others'.

Pose and expression are read off the posed meshes, so that any template and layout will do. A frame's *turn* is the angle of the
rotation that brings the mean mesh nearest to its mesh; what is left after that is its *expression*.
Symbols: n frames, V vertices.
"""

from __future__ import annotations

import dataclasses
from enum import Enum

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import nearest_rotation

ROUNDS = 3  # of aligning all meshes with their mean


class Held(str, Enum):
    """What the held-out frames are."""

    TIME = "time"
    POSE = "pose"
    EXPRESSION = "expression"


@dataclasses.dataclass(frozen=True)
class Frames:
    """Positions of the frames to train on and of those held out, each in order, int64."""

    train: Tensor
    test: Tensor


def split_frames(dataset: HeadDataset, held: Held, share: float) -> Frames:
    """Hold out a share of the frames. Raises DataError where none is left on either side."""
    count = len(dataset)
    tested = round(share * count)
    if not 0 < tested < count:
        raise DataError(
            f"{dataset.subject}: a share of {share:g} of {count} frames leaves none to train on, or to test"
        )
    if held is Held.TIME:
        order = torch.arange(count)
    else:
        turns, expressions = distances_from_mean(dataset.vertices)
        order = (turns if held is Held.POSE else expressions).argsort(stable=True)
    return Frames(order[:-tested].sort().values, order[-tested:].sort().values)


def distances_from_mean(vertices: Tensor) -> tuple[Tensor, Tensor]:
    """How far each frame's mesh [n, V, 3] is from the mean: its turn in radians [n], its expression in metres [n], root mean
    square over the vertices."""
    points = vertices.double().cpu()
    points = points - points.mean(dim=1, keepdim=True)
    mean = points[0]
    for _ in range(ROUNDS):  # generalised Procrustes analysis (Gower 1975)
        rotations = nearest_rotation(points.mT @ mean)
        mean = (points @ rotations).mean(dim=0)
    rotations = nearest_rotation(points.mT @ mean)
    middle = nearest_rotation(rotations.mean(dim=0))
    trace = (rotations @ middle.mT).diagonal(dim1=-2, dim2=-1).sum(-1)
    turns = torch.arccos(((trace - 1.0) / 2.0).clamp(-1.0, 1.0))
    return turns, (points @ rotations - mean).square().sum(dim=2).mean(dim=1).sqrt()


def choose(dataset: HeadDataset, positions: Tensor) -> HeadDataset:
    """The frames at positions [m], their images in memory."""
    return dataclasses.replace(
        dataset,
        numbers=dataset.numbers[positions],
        images=PreloadedImages(dataset.images.read(positions)),
        vertices=dataset.vertices[positions],
        codes=dataset.codes[positions],
        camera=dataset.camera.select(positions),
    )


def thin_out(dataset: HeadDataset, most: int) -> HeadDataset:
    """As many frames as given at most, evenly spread."""
    if len(dataset) <= most:
        return dataset
    return choose(dataset, torch.linspace(0, len(dataset) - 1, most).round().long())
