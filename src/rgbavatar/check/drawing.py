"""Drawing the mesh of a scene: which face each pixel sees, and the mesh laid over an image as a person wants to see it.

nvdiffrast draws where it is installed and the device is a CUDA GPU; the rasterizer of this package draws everywhere else. Both
look at pixel centres, and see the same face but on outlines, where rounding decides.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rgbavatar.check.scene import NEAR, Scene
from rgbavatar.geometry.triangle_raster import NO_FACE, rasterize_triangles

FaceDrawer = Callable[[Tensor, Tensor, Tensor, int, int], Tensor]
"""From points [m, V, 3] in the camera's space, faces [F, 3], intrinsics [m, 4] for pictures of width and height: the face
that each pixel sees [m, H, W] int64 on the CPU, NO_FACE where none. A face that reaches behind NEAR is not drawn."""

FAR = 100.0  # metres: what is farther is not drawn by nvdiffrast
_TILE = 8  # pixels: nvdiffrast wants pictures of whole tiles
MESH_COLOR = np.array([90.0, 190.0, 255.0])
OUTSIDE_COLOR = np.array([255.0, 80.0, 60.0])  # of the mesh where the mask has no head
OUTLINE_COLOR = (255, 225, 0)
BACKDROP = 70.0  # grey behind the head
MESH_SHARE = 0.6  # of the mesh's colour in the mix
_AMBIENT = 0.1


def choose_drawer(device: torch.device) -> FaceDrawer:
    """The drawer for a device."""
    if device.type != "cpu" and importlib.util.find_spec("nvdiffrast") is not None:
        return lambda points, faces, k, width, height: draw_with_nvdiffrast(points, faces, k, width, height, device)
    return draw_built_in


def draw_built_in(points: Tensor, faces: Tensor, intrinsics: Tensor, width: int, height: int) -> Tensor:
    """A FaceDrawer of this package's own."""
    seen = []
    for one, (fx, fy, cx, cy) in zip(points.double().cpu(), intrinsics.tolist(), strict=True):
        depth = torch.where(one[:, 2] > NEAR, one[:, 2], torch.nan)
        pixels = torch.stack([fx * one[:, 0] / depth + cx - 0.5, fy * one[:, 1] / depth + cy - 0.5], 1)
        corners = pixels[faces]
        reaching = torch.nonzero(_holds_centre(corners))[:, 0]
        found = rasterize_triangles(corners[reaching], width, height, (-1 / depth)[faces[reaching]]).face_ids
        seen.append(torch.where(found < 0, NO_FACE, reaching[found.clamp_min(0)]) if len(reaching) else found)
    return torch.stack(seen)


def _holds_centre(corners: Tensor) -> Tensor:
    """Whether the box of each triangle [F, 3, 2] holds the centre of a pixel: in small pictures most hold none."""
    return (corners.amin(1).ceil() <= corners.amax(1).floor()).all(1)


def draw_with_nvdiffrast(
    points: Tensor, faces: Tensor, intrinsics: Tensor, width: int, height: int, device: torch.device
) -> Tensor:
    """A FaceDrawer, on a GPU with nvdiffrast. Its pictures are drawn in whole tiles, the rest is cut off."""
    import nvdiffrast.torch as dr

    columns, rows = (-(-size // _TILE) * _TILE for size in (width, height))
    clip = to_clip_space(points, intrinsics, columns, rows).to(device, torch.float32).contiguous()
    context = dr.RasterizeCudaContext(device=device)
    raster, _ = dr.rasterize(context, clip, faces.to(device, torch.int32), resolution=[rows, columns], grad_db=False)
    seen = raster[:, :height, :width, 3].long().cpu() - 1
    return torch.where(seen < 0, NO_FACE, seen)


def to_clip_space(points: Tensor, intrinsics: Tensor, width: int, height: int) -> Tensor:
    """OpenGL's clip coordinates [m, V, 4] of points [m, V, 3] in the camera's space, for pictures of width x height.

    x / w runs from -1 at the left edge of the first column to 1 at the right edge of the last; y / w likewise from the first
    row to the last, so that what OpenGL calls the lowest row is the picture's first. z / w is -1 at NEAR and 1 at FAR.
    """
    x, y, z = points.unbind(-1)
    fx, fy, cx, cy = intrinsics[..., None].unbind(1)
    right = 2 * (fx * x + cx * z) / width - z
    down = 2 * (fy * y + cy * z) / height - z
    deep = ((FAR + NEAR) * z - 2 * FAR * NEAR) / (FAR - NEAR)
    return torch.stack([right, down, deep, z], -1)


def overlay(scene: Scene, images: Tensor, draw: FaceDrawer) -> list[np.ndarray]:
    """The shaded mesh of each frame, half transparent, over its image, and the mask's outline; pictures [h, w, 3] RGB.

    images [m, h, w, 4] uint8: those of the scene's frames, of any size. What of the mesh lies outside the mask is red.
    """
    h, w = images.shape[1:3]
    points = scene.seen.apply(scene.local)
    scale = scene.intrinsics.new_tensor([w / scene.width, h / scene.height] * 2)
    seen = draw(points, scene.faces, scene.intrinsics * scale, w, h).numpy()
    shades = shade_faces(points, scene.faces).numpy()
    return [_mix(image, face, shade) for image, face, shade in zip(images.cpu().numpy(), seen, shades, strict=True)]


def shade_faces(points: Tensor, faces: Tensor) -> Tensor:
    """Brightness of each face [m, F] in [0, 1] under a lamp at the camera; points [m, V, 3] in the camera's space."""
    a, b, c = points[:, faces].unbind(2)
    normals = normalize(torch.linalg.cross(b - a, c - a), dim=-1)
    cosine = (normals * normalize(-(a + b + c), dim=-1)).sum(-1).abs()  # not all meshes wind their faces outward
    return _AMBIENT + (1 - _AMBIENT) * cosine**2


def _mix(image: np.ndarray, seen: np.ndarray, shade: np.ndarray) -> np.ndarray:
    """One frame. image [h, w, 4] uint8, seen [h, w] faces, shade [F]."""
    alpha = image[..., 3:].astype(np.float64) / 255.0
    picture = image[..., :3] * alpha + BACKDROP * (1 - alpha)
    mesh = seen >= 0
    color = np.where(alpha > 0.5, MESH_COLOR, OUTSIDE_COLOR) * shade[np.maximum(seen, 0)][..., None]
    mixed = np.where(mesh[..., None], MESH_SHARE * color + (1 - MESH_SHARE) * picture, picture)
    mixed = np.ascontiguousarray(np.clip(mixed, 0, 255).astype(np.uint8))
    outlines, _ = cv2.findContours((alpha[..., 0] > 0.5).astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(mixed, outlines, -1, OUTLINE_COLOR, 1)
    return mixed
