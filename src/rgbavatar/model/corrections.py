"""Corrections of a subject's tracking, found while its avatar is trained (rgbavatar.training.refinement).

A *turn* and a *shift* move the posed mesh of one frame rigidly about its middle, the mean of its vertices, in the axes of the
world; so they fit any template and any layout. A *code offset* is added to the frame's code. The *focal* correction is common
to all frames: the natural logarithm of a factor that scales the focal lengths and the head's distance from the camera alike. So
the head keeps its size in the picture, which a tracker gets right, and its perspective changes, which a tracker hardly sees.

The rasterizer has gradients to the Gaussians, but none to mesh or camera. So Gaussians are moved, which the mesh has posed:
the same thing, for they ride on it. Symbols: n frames, B frames of a batch, V vertices, N Gaussians, C code entries.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.quaternion import multiply_quaternions
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.model.tracking_habits import frame_features, predict_corrections
from rgbavatar.types import Gaussians


@dataclass(frozen=True)
class Correction:
    """Of B frames. turns [B, 3]: axis times angle, radians. shifts [B, 3] metres. codes [B, C]. focal: a scalar."""

    turns: Tensor
    shifts: Tensor
    codes: Tensor
    focal: Tensor


@dataclass(frozen=True)
class Corrections:
    """What training found. numbers [n] int64: of the frames that were trained on. turns [n, 3], shifts [n, 3],
    codes [n, C]: theirs. focal: a scalar, of all frames.

    features [n, D], reference [V, 3]: of the frames as tracked (rgbavatar.model.tracking_habits), from which turn and shift of a
    frame that was not trained on are predicted; where there are none, it has no correction of its own.
    """

    numbers: Tensor
    turns: Tensor
    shifts: Tensor
    codes: Tensor
    focal: Tensor
    features: Tensor | None = None
    reference: Tensor | None = None

    def apply(self, dataset: HeadDataset) -> HeadDataset:
        """The frames with their corrections; those that were not trained on, with what is predicted and the common one."""
        correction = self._of(dataset)
        middles = dataset.vertices.mean(dim=1)
        moved = move_points(dataset.vertices, middles, correction)
        return dataclasses.replace(
            dataset,
            vertices=moved + _distance_change(middles, dataset.camera, correction)[:, None],
            codes=dataset.codes + correction.codes,
            camera=correct_camera(dataset.camera, correction),
        )

    def count_of(self, numbers: Tensor) -> int:
        """How many of the frames of these numbers [m] have corrections of their own."""
        return int(torch.isin(numbers.cpu(), self.numbers.cpu()).sum())

    def _of(self, dataset: HeadDataset) -> Correction:
        like = dataset.vertices
        same = dataset.numbers.to(like.device)[:, None] == self.numbers.to(like.device)
        here, there = same.nonzero(as_tuple=True)

        def take(values: Tensor) -> Tensor:
            rows = like.new_zeros(len(dataset), values.shape[1])
            rows[here] = values.to(like)[there]
            return rows

        turns, shifts = take(self.turns), take(self.shifts)
        others = (~same.any(dim=1)).nonzero()[:, 0]
        turns[others], shifts[others] = self._predict(dataset, others)
        return Correction(turns, shifts, take(self.codes), self.focal.to(like))

    def _predict(self, dataset: HeadDataset, positions: Tensor) -> tuple[Tensor, Tensor]:
        """Turns [m, 3] and shifts [m, 3] of the frames at positions [m], which were not trained on."""
        like = dataset.vertices
        if self.features is None or self.reference is None or not len(positions):
            return like.new_zeros(len(positions), 3), like.new_zeros(len(positions), 3)
        found = torch.cat([self.turns, self.shifts], dim=1)
        vertices, codes = dataset.vertices[positions], dataset.codes[positions.to(dataset.codes.device)]
        asked = frame_features(vertices, codes.to(like), self.reference.to(like))
        predicted = predict_corrections(self.features, found, asked).to(like)
        return predicted[:, :3], predicted[:, 3:]


def move_points(points: Tensor, middles: Tensor, correction: Correction) -> Tensor:
    """Turn points [B, M, 3] about the middles [B, 3], and shift them."""
    rotation = axis_angle_to_rotation(correction.turns)
    about = middles[:, None]
    return (points - about) @ rotation.mT + about + correction.shifts[:, None]


def correct_gaussians(gaussians: Gaussians, vertices: Tensor, camera: Camera, correction: Correction) -> Gaussians:
    """Move Gaussians in world space as the mesh that posed them moves; differentiable to the correction.

    vertices [B, V, 3]: of the mesh before its correction. camera: the tracked one.
    """
    middles = vertices.mean(dim=1)
    means = move_points(gaussians.means, middles, correction)
    means = means + _distance_change(middles, camera, correction)[:, None]
    rotations = multiply_quaternions(_quaternion(correction.turns)[:, None], gaussians.rotations)
    return _carry_focal_gradient(
        dataclasses.replace(gaussians, means=means, rotations=rotations), camera, correction.focal
    )


def correct_camera(camera: Camera, correction: Correction) -> Camera:
    """The camera with its focal lengths corrected; without a gradient, see `correct_gaussians`."""
    factor = correction.focal.detach().exp().to(camera.intrinsics)
    focal_lengths, middle = camera.intrinsics[:, :2], camera.intrinsics[:, 2:]
    return dataclasses.replace(camera, intrinsics=torch.cat([focal_lengths * factor, middle], dim=1))


def _distance_change(middles: Tensor, camera: Camera, correction: Correction) -> Tensor:
    """The shifts [B, 3] along the cameras' axes that scale the middles' depths by exp(focal)."""
    forward, offset = camera.world_to_camera[:, 2, :3], camera.world_to_camera[:, 2, 3]
    depth = (middles * forward).sum(dim=1) + offset
    return (torch.expm1(correction.focal) * depth)[:, None] * forward


def _carry_focal_gradient(gaussians: Gaussians, camera: Camera, focal: Tensor) -> Gaussians:
    """The same Gaussians, whose gradients also reach the logarithm of the factor of the focal length they are rendered with.

    A longer focal length moves a splat away from the principal point, as stretching the scene along the camera's x and y does,
    and scales its covariance (before it is widened by a constant), as scaling the Gaussian does. Stretched by a factor of
    exactly 1 the Gaussians stay as they are, and the gradient is that of the focal length, but for a share of some X/Z of the
    covariance's part where a Gaussian is long and tilted: stretching also turns the line of sight.
    """
    change = focal - focal.detach()
    rotation, translation = camera.world_to_camera[:, :, :3], camera.world_to_camera[:, :, 3]
    seen = gaussians.means.detach() @ rotation.mT + translation[:, None]
    across = torch.cat([seen[..., :2], torch.zeros_like(seen[..., 2:])], dim=2) @ rotation
    means, scales = gaussians.means + change * across, gaussians.scales * (1.0 + change)
    return dataclasses.replace(gaussians, means=means, scales=scales)


def _quaternion(turns: Tensor) -> Tensor:
    """WXYZ, unit, of axis times angle [B, 3]; written with sinc, it needs no case for small angles."""
    angle = torch.linalg.vector_norm(turns, dim=-1, keepdim=True)
    return torch.cat([(0.5 * angle).cos(), 0.5 * torch.sinc(angle / (2 * math.pi)) * turns], dim=-1)
