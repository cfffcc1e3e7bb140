"""How well the mesh of a scene fits its images: by its silhouette, and by the colours that its points see.

The *steadiness* of a scene is 1 - (variance over the frames of the colour at a point of the mesh, averaged over points) /
(variance of all colours under the masks). It tells what silhouettes cannot: a head is nearly as symmetric as its mirror image,
but its eyes, brows and mouth move the other way.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rgbavatar.check.scene import NEAR, Scene, project
from rgbavatar.geometry.coverage import cover_pixels

FACING = 0.3  # cosine between a vertex's normal and the direction to the camera from which on its colour is looked at
MIN_SIGHTINGS = 3  # frames that must see a vertex
MIN_OVERLAP = 0.2  # of a mesh whose colours mean anything
MIN_VARIANCE = 1e-6  # of colours; a picture of less is of one colour

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Fit:
    """Means over the frames, each in [0, 1]. overlap, inside, steadiness: see the package's head. framed: the share of the
    vertices that lie before the camera and within the picture. overlaps, insides [m]: of each frame."""

    overlap: float
    inside: float
    framed: float
    steadiness: float
    overlaps: Tensor
    insides: Tensor


def measure_fit(scene: Scene) -> Fit:
    """Lay the mesh of a scene over its pictures.

    In numpy: a guess more costs many small steps, over which threads would do nothing but wait for each other.
    """
    pixels, vertices = project(scene)
    h, w = scene.pictures.shape[1:3]
    mesh, mask = cover_pixels(pixels, scene.faces, w, h).numpy(), scene.masks.numpy()
    both = (mesh & mask).sum((1, 2), dtype=np.float64)
    overlaps = both / np.maximum((mesh | mask).sum((1, 2)), 1)
    insides = both / np.maximum(mesh.sum((1, 2)), 1)
    overlap = float(overlaps.mean())
    some_pixels, some_vertices = pixels.numpy()[:, scene.points], vertices.numpy()[:, scene.points]
    within = _within(some_pixels, w, h)
    steadiness = 0.0
    if overlap >= MIN_OVERLAP:
        steadiness = _measure_steadiness(scene, some_pixels, within & _facing(scene, some_vertices))
    return Fit(
        overlap=overlap,
        inside=float(insides.mean()),
        framed=float(within.mean()),
        steadiness=steadiness,
        overlaps=torch.from_numpy(overlaps),
        insides=torch.from_numpy(insides),
    )


def _within(pixels: Floats, width: int, height: int) -> Flags:
    """Whether pixel coordinates [..., 2] lie in the picture; false where NaN."""
    x, y = pixels[..., 0], pixels[..., 1]
    return (x > -0.5) & (x < width - 0.5) & (y > -0.5) & (y < height - 0.5)


def _facing(scene: Scene, vertices: Floats) -> Flags:
    """Whether the surface looks at the camera at the scene's points, [m, P]. vertices [m, P, 3]: these, camera space.

    Not all meshes wind their faces as they should. Of the two sides, the one that looks at the camera is nearer to it.
    """
    normals = scene.normals.numpy() @ scene.seen.rotation.mT.numpy()
    depth = np.linalg.norm(vertices, axis=-1)
    cosine = -(normals * vertices).sum(-1) / np.maximum(depth, NEAR)
    front, back = cosine > FACING, cosine < -FACING
    if not front.any() or (back.any() and depth[back].mean() < depth[front].mean()):
        return back
    return front


def _measure_steadiness(scene: Scene, pixels: Floats, visible: Flags) -> float:
    """How steady the colours at the scene's points are (this module's head); 0 where too little is seen.

    pixels [m, P, 2]: where the points lie; visible [m, P]: whether they can be seen.
    """
    h, w = scene.pictures.shape[1:3]
    place = np.rint(np.where(visible[..., None], pixels, 0.0)).astype(np.int64)
    frame = np.arange(len(scene))[:, None]
    rgba = scene.pictures.numpy()[frame, place[..., 1].clip(0, h - 1), place[..., 0].clip(0, w - 1)] / 255.0
    sees = visible & (rgba[..., 3] > 0.5)
    weight = (sees & (sees.sum(0) >= MIN_SIGHTINGS))[..., None].astype(np.float64)
    sightings, total = weight.sum(0), weight.sum()
    if total < 2 * MIN_SIGHTINGS:
        return 0.0
    color = rgba[..., :3]
    own = (weight * color).sum(0) / np.maximum(sightings, 1)
    unbiased = sightings / np.maximum(sightings - 1, 1)
    within = (weight * (color - own) ** 2 * unbiased).sum() / total
    return max(0.0, 1.0 - float(within) / max(_color_variance(scene), MIN_VARIANCE))


def _color_variance(scene: Scene) -> float:
    """Of the colours under the masks of all frames, summed over the channels."""
    colors = scene.pictures[..., :3].numpy()[scene.masks.numpy()] / 255.0
    return float(colors.var(0).sum()) if len(colors) else 0.0
