"""Where a head with hair can be in a picture, told by the posed template, in small pictures of h x w pixels.

*Core*: what the template covers from the chin up, but for its rim; it is head. *Reach*: where head, hair and neck may be:
around the template and above it, and next to nothing around its neck, for there clothes begin; outside is no head. *Below*:
beyond the template's lower border, seen along the head's own down.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from rgbavatar.datasets.features import WORLD_TO_OPENCV, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.geometry.coverage import cover_pixels
from rgbavatar.templates.blendshape import BlendshapeTemplate

RIM = 0.04  # of the head's height, that the template's outline may be off
SIDES, ABOVE = 0.28, 0.40  # by which hair may stand out from the head, in its heights
NECK = 0.03  # the same of a neck
TEMPLE = 0.30  # heights above the chin from which on hair stands out in full
STEPS = 6  # silhouettes that are laid over each other from the head to the hair above it


@dataclass(frozen=True)
class Zone:
    """Of one picture [h, w]. height: of the head, pixels.

    place [2, 3]: from small pictures of this frame into a frame of the head's own: turned upright, in heights.
    """

    core: np.ndarray
    reach: np.ndarray
    below: np.ndarray
    place: NDArray[np.float64]
    height: float


@dataclass(frozen=True, eq=False)
class ZoneFinder:
    """Draws the zones of frames that were tracked with a template."""

    template: BlendshapeTemplate

    def find(self, frame: TrackedFrame, width: int, height: int) -> Zone:
        """The zone of a frame in its picture made width x height."""
        posed = self._pose(frame)
        scale = posed.new_tensor([width / frame.width, height / frame.height] * 2)
        focal, middle = (frame.intrinsics.double() * scale).split(2)
        points = posed[:, :2] / posed[:, 2:].clamp_min(1e-3) * focal + middle - 0.5
        silhouette = cover_pixels(points[None], self.template.faces, width, height)[0].numpy()
        flat = points.numpy()
        up = _up_of(frame)
        along = flat @ up
        head = along[self._turning]
        tall = float(head.max() - head.min())
        rows, columns = np.mgrid[:height, :width]
        above_chin = (columns * up[0] + rows * up[1] - head.min()) / tall
        lowest = float(along[self._border].min())
        return Zone(
            core=_shrink(silhouette, RIM * tall) & (above_chin > 0),
            reach=_grow(silhouette, up, tall, above_chin),
            below=above_chin * tall + head.min() < lowest,
            place=_place(flat[self._turning].mean(0), up, tall),
            height=tall,
        )

    @cached_property
    def _turning(self) -> NDArray[np.int64]:
        """The vertices that turn with the head."""
        return np.flatnonzero(self.template.data.head_weights > 0.99)

    @cached_property
    def _border(self) -> NDArray[np.int64]:
        """The vertices of the mesh's lowest open edge; its lowest vertex, where it is closed."""
        faces = self.template.data.faces
        edges = np.sort(np.concatenate((faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]])), 1)
        unique, count = np.unique(edges, axis=0, return_counts=True)
        ends = unique[count == 1]
        heights = self.template.data.neutral[:, 1]
        loop = {int(heights.argmin())} if not len(ends) else {int(ends.ravel()[heights[ends.ravel()].argmin()])}
        grown = True
        while grown:
            touching = ends[np.isin(ends, list(loop)).any(1)]
            grown = not set(touching.ravel().tolist()) <= loop
            loop |= set(touching.ravel().tolist())
        return np.array(sorted(loop))

    def _pose(self, frame: TrackedFrame) -> Tensor:
        """Vertices [V, 3] in the camera's axes, necks and shoulders where training has them."""
        return self.template.pose(join_frames([frame]))[0] @ WORLD_TO_OPENCV.T


def _up_of(frame: TrackedFrame) -> NDArray[np.float64]:
    """Where the head's up points in the picture, of unit length; the picture's own up where it points at the camera."""
    up = frame.rotation[:2, 1].double().numpy()
    length = float(np.linalg.norm(up))
    return up / length if length > 0.2 else np.array((0.0, -1.0))


def _shrink(mask: np.ndarray, radius: float) -> np.ndarray:
    return cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, 3) > radius


def _grow(silhouette: np.ndarray, up: NDArray[np.float64], tall: float, above_chin: NDArray[np.float64]) -> np.ndarray:
    """The silhouette and what hair may cover. above_chin [h, w]: how far pixels are above the chin, in heights."""
    height, width = silhouette.shape
    solid = (silhouette & (above_chin > TEMPLE)).astype(np.uint8)
    raised = solid.copy()
    for share in np.linspace(0, 1, STEPS)[1:]:
        shift = up * (ABOVE - SIDES / 2) * share * tall
        moved = cv2.warpAffine(solid, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), (width, height))
        raised = np.maximum(raised, moved)
    sides = NECK + (SIDES - NECK) * np.clip(above_chin / TEMPLE, 0, 1)
    return (_distance(silhouette) <= sides * tall) | (_distance(raised.astype(bool)) <= SIDES / 2 * tall) & (
        above_chin > TEMPLE
    )


def _distance(mask: np.ndarray) -> np.ndarray:
    """How far pixels [h, w] are from those of a mask, pixels."""
    return cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, 3)


def _place(middle: NDArray[np.float64], up: NDArray[np.float64], tall: float) -> NDArray[np.float64]:
    right = np.array((-up[1], up[0]))
    turn = np.stack((right, -up)) / tall
    return np.concatenate((turn, -(turn @ middle)[:, None]), 1)
