"""How well a posed mesh, seen by its camera, covers the mask of its image."""

from __future__ import annotations

import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.geometry.triangle_raster import rasterize_triangles


def project(dataset: HeadDataset, index: int) -> Tensor:
    """Pixel coordinates [V, 2] of the mesh of a frame, pixel centres at whole numbers."""
    camera = dataset.camera.select(torch.tensor([index]))
    fx, fy, cx, cy = camera.intrinsics[0].tolist()
    rotation, translation = camera.world_to_camera[0].double().split((3, 1), -1)
    x, y, z = (dataset.vertices[index].double() @ rotation.T + translation[:, 0]).unbind(-1)
    return torch.stack((fx * x / z + cx - 0.5, fy * y / z + cy - 0.5), -1)


def overlap(dataset: HeadDataset, index: int) -> float:
    """Intersection over union of the mesh's silhouette and the image's mask."""
    width, height = dataset.images.width, dataset.images.height
    mesh = rasterize_triangles(project(dataset, index)[dataset.template.faces], width, height).face_ids >= 0
    mask = dataset.images.read(torch.tensor([index]))[0, ..., 3] > 127
    return ((mesh & mask).sum() / (mesh | mask).sum()).item()


def mean_overlap(dataset: HeadDataset, indices: Tensor) -> float:
    return sum(overlap(dataset, index) for index in indices.tolist()) / len(indices)
