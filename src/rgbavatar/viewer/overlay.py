"""The template's mesh drawn over a picture, by the picture's own camera, so that both are always in register."""

from __future__ import annotations

from enum import Enum

import numpy as np
import torch
from torch import Tensor

from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.triangle_raster import TriangleRaster, rasterize_triangles

_NEAR = 0.01  # metres: triangles with a corner nearer than this are left out
_LINE_PIXELS = 0.1  # half the width of a line at full strength; it fades out over one more pixel
_LINE_COLOR = (0.1, 0.85, 1.0)
_LINE_OPACITY = 0.55
_SURFACE_COLOR = (0.62, 0.68, 0.78)
_SURFACE_OPACITY = 0.8
_AMBIENT = 0.25  # of the surface's light; the rest falls on it from the camera


class Overlay(str, Enum):
    """How the mesh is drawn."""

    NONE = "off"
    WIREFRAME = "wireframe"
    SHADED = "shaded"


def draw_overlay(picture: np.ndarray, overlay: Overlay, vertices: Tensor, faces: Tensor, camera: Camera) -> np.ndarray:
    """The picture uint8 [H, W, 3] with the mesh over it. vertices [V, 3] metres, faces [F, 3], camera [1], all on the CPU."""
    if overlay is Overlay.NONE:
        return picture
    pixels, depths = _project(vertices, camera)
    corners = pixels[faces]
    raster = rasterize_triangles(corners, camera.width, camera.height, (-1.0 / depths)[faces])
    seen = raster.face_ids >= 0
    if overlay is Overlay.WIREFRAME:
        color, opacity = torch.tensor(_LINE_COLOR), _line_opacity(raster, corners, seen)
    else:
        color, opacity = _shade(raster, vertices, faces, camera, seen), torch.tensor(_SURFACE_OPACITY)
    drawn = picture.copy()
    rows = seen.numpy()
    below = torch.from_numpy(picture[rows]).double() / 255.0
    mixed = below + opacity[..., None] * (color - below)
    drawn[rows] = mixed.mul(255.0).add(0.5).clamp(0.0, 255.0).to(torch.uint8).numpy()
    return drawn


def _project(vertices: Tensor, camera: Camera) -> tuple[Tensor, Tensor]:
    """Pixel coordinates [V, 2], the centre of the top-left pixel at (0, 0), and depths [V]; NaN where too near. float64."""
    world_to_camera, (fx, fy, cx, cy) = camera.world_to_camera[0].double(), camera.intrinsics[0].tolist()
    x, y, z = (vertices.double() @ world_to_camera[:, :3].T + world_to_camera[:, 3]).unbind(-1)
    z = torch.where(z > _NEAR, z, torch.nan)
    return torch.stack((fx * x / z + cx - 0.5, fy * y / z + cy - 0.5), -1), z


def _line_opacity(raster: TriangleRaster, corners: Tensor, seen: Tensor) -> Tensor:
    """By the distance of each pixel seen to the nearest edge: its weights times the triangle's heights. Returns [pixels]."""
    edges = corners[:, [2, 0, 1]] - corners[:, [1, 2, 0]]  # opposite to each corner
    area = (edges[:, 0, 0] * edges[:, 1, 1] - edges[:, 0, 1] * edges[:, 1, 0]).abs()
    heights = area[:, None] / edges.norm(dim=-1)
    distance = (raster.barycentrics[seen] * heights[raster.face_ids[seen]]).amin(dim=-1)
    return _LINE_OPACITY * (1.0 + _LINE_PIXELS - distance).clamp(0.0, 1.0)


def _shade(raster: TriangleRaster, vertices: Tensor, faces: Tensor, camera: Camera, seen: Tensor) -> Tensor:
    """Colours [pixels, 3] of a matt surface that is lit from the camera."""
    normals = _vertex_normals(vertices.double(), faces) @ camera.world_to_camera[0, :, :3].double().T
    at_pixels = (raster.barycentrics[seen][..., None] * normals[faces[raster.face_ids[seen]]]).sum(dim=1)
    facing = torch.nn.functional.normalize(at_pixels, dim=-1)[:, 2].abs()
    return (_AMBIENT + (1.0 - _AMBIENT) * facing)[:, None] * torch.tensor(_SURFACE_COLOR)


def _vertex_normals(vertices: Tensor, faces: Tensor) -> Tensor:
    """Unit normals [V, 3]: means of the faces around, by their areas."""
    a, b, c = vertices[faces].unbind(1)
    normals = torch.linalg.cross(b - a, c - a)
    summed = torch.zeros_like(vertices).index_add_(0, faces.flatten(), normals.repeat_interleave(3, dim=0))
    return torch.nn.functional.normalize(summed, dim=-1)
