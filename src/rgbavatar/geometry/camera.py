"""Pinhole cameras: OpenCV axes (x right, y down, z forward), pixels, world-to-camera."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Camera:
    """C cameras that share an image size; C is 1 where one static camera serves a whole batch.

    world_to_camera [C, 3, 4]: x_cam = R x + t, metres. intrinsics [C, 4]: fx, fy, cx, cy in pixels, the centre of the
    top-left pixel at (0.5, 0.5), so that a point lands at pixel coordinate fx X / Z + cx - 0.5.
    """

    world_to_camera: Tensor
    intrinsics: Tensor
    width: int
    height: int

    def __len__(self) -> int:
        return self.intrinsics.shape[0]

    def select(self, indices: Tensor) -> Camera:
        """Cameras of the images `indices` [B]; a single static camera stays one."""
        if len(self) == 1:
            return self
        indices = indices.to(self.intrinsics.device)
        return Camera(self.world_to_camera[indices], self.intrinsics[indices], self.width, self.height)

    def at(self, index: int) -> Camera:
        """The camera at one index, alone."""
        one = slice(index, index + 1)
        return Camera(self.world_to_camera[one], self.intrinsics[one], self.width, self.height)

    def resized(self, longer_side: int) -> Camera:
        """The same views in pictures whose longer side has so many pixels; the other is rounded."""
        scale = longer_side / max(self.width, self.height)
        width, height = max(1, round(scale * self.width)), max(1, round(scale * self.height))
        factors = self.intrinsics.new_tensor([width / self.width, height / self.height] * 2)
        return Camera(self.world_to_camera, self.intrinsics * factors, width, height)

    def to(self, device: torch.device) -> Camera:
        """The same cameras with their tensors on `device`."""
        return Camera(self.world_to_camera.to(device), self.intrinsics.to(device), self.width, self.height)
