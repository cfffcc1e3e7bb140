"""The order of frames in time. One camera's frames follow each other; those of several are interleaved, moment by moment."""

from __future__ import annotations

import torch
from torch import Tensor

from rgbavatar.datasets.tracking import Tracking


def first_of_moments(tracking: Tracking) -> Tensor:
    """Positions [m] int64 of one frame of each moment, in the order of time: frames of one moment have one motion."""
    if tracking.moments is None:
        return torch.arange(len(tracking.numbers))
    firsts = {moment: place for place, moment in reversed(list(enumerate(tracking.moments)))}
    return torch.tensor([firsts[moment] for moment in sorted(firsts)])


def follow_cameras(tracking: Tracking) -> list[Tensor]:
    """Positions of each camera's frames, in the order of time."""
    if tracking.moments is None:
        return [torch.arange(len(tracking.numbers))]
    poses = tracking.camera.world_to_camera.flatten(1)
    _, of_frame = poses.expand(len(tracking.numbers), -1).contiguous().unique(dim=0, return_inverse=True)
    order = torch.tensor(sorted(range(len(of_frame)), key=tracking.moments.__getitem__))
    return [order[of_frame[order] == camera] for camera in of_frame.unique()]


def neighbourhoods(tracking: Tracking, reach: int) -> Tensor:
    """Positions [k, 2 reach + 1] of frames and those up to `reach` before and after them, of the same camera.

    One row for each frame that has as many neighbours, in its middle.
    """
    rows = [frames.unfold(0, 2 * reach + 1, 1) for frames in follow_cameras(tracking) if len(frames) > 2 * reach]
    return torch.cat(rows) if rows else torch.empty(0, 2 * reach + 1, dtype=torch.int64)
