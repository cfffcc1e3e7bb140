"""The motion of a mesh, packed for a page: a mean mesh, its principal components, and a rigid motion for each frame.

The *aligned* meshes are those of the frames moved rigidly as near to their mean as they go; what is left is the face's own
motion, which a few components tell. Symbols: n frames, V vertices, R components.

Each number is rounded to 16 bits. A component is scaled so that its coefficients fill [-1, 1], and its rounding step is then a
length, the same for all: a component that moves the mesh little takes few levels, which compress well.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgbavatar.geometry.rotation import nearest_rotation

MAX_ERROR = 0.02e-3  # metres, of any vertex in any frame
_STEP = 0.5e-6  # metres: with a hundred components, their rounding adds up to some microns
_FULL = 32767  # levels of a 16-bit number on either side of 0
_ALIGNING_ROUNDS = 8
_STILL = 0.05e-3  # metres: a vertex that moves less than this counts as one that does not move
_SMALLEST_SHARE = 1e-8  # of the largest component, below which float64 sees only the rounding of the others


@dataclass(frozen=True)
class PackedMotion:
    """vertices of frame f = rotation_f aligned_f + translation_f, aligned_f = mean + sum_k c_fk steps_k components_k.

    mean [V, 3] float32 metres; components [R, V, 3] int16; steps [R] float32 metres; coefficients [n, R] int16, c times 32767;
    rigid [n, 3, 4] float32: rotation and translation. error: largest distance of a vertex from where it was, metres.
    """

    mean: np.ndarray
    components: np.ndarray
    steps: np.ndarray
    coefficients: np.ndarray
    rigid: np.ndarray
    error: float


def pack_motion(vertices: Tensor) -> PackedMotion:
    """Pack vertices [n, V, 3] metres with as few components as keep MAX_ERROR; with all there are if none do."""
    aligned, rigid = _align(vertices.double())
    mean = aligned.mean(dim=0).float()
    offsets = aligned - mean.double()
    components, steps, coefficients = _round(*_principal_components(offsets.flatten(1)))
    rounded_rigid = rigid.float()
    left = _bring_home(vertices.double(), rounded_rigid.double()) - mean.double()
    rank, error = _least_rank(left, components, steps, coefficients)
    return PackedMotion(
        mean=mean.numpy(),
        components=components[:rank].unflatten(1, (-1, 3)).to(torch.int16).numpy(),
        steps=steps[:rank].float().numpy(),
        coefficients=coefficients[:, :rank].to(torch.int16).numpy(),
        rigid=rounded_rigid.numpy(),
        error=error,
    )


def unpack_motion(motion: PackedMotion) -> np.ndarray:
    """The vertices [n, V, 3] float64 that a page shows."""
    weights = motion.coefficients.astype(np.float64) / _FULL * motion.steps
    aligned = motion.mean + np.tensordot(weights, motion.components.astype(np.float64), axes=1)
    rotation, translation = motion.rigid[:, :, :3].astype(np.float64), motion.rigid[:, :, 3]
    return aligned @ rotation.transpose(0, 2, 1) + translation[:, None]


def _align(vertices: Tensor) -> tuple[Tensor, Tensor]:
    """The aligned meshes [n, V, 3], and the motions [n, 3, 4] that bring them back (weighted Procrustes; Kabsch 1976).

    A vertex counts by how little it moves in the aligned meshes, so that the skull leads: in its frame, expressions are linear.
    """
    middles = vertices.mean(dim=1, keepdim=True)
    mean, counts = vertices[0] - middles[0], vertices.new_ones(vertices.shape[1])
    for _ in range(_ALIGNING_ROUNDS):
        share = (counts / counts.sum())[:, None]
        middles = (share * vertices).sum(dim=1, keepdim=True)
        rotations = nearest_rotation((vertices - middles).mT @ (share * mean))  # of the mean to each frame
        aligned = (vertices - middles) @ rotations
        mean = aligned.mean(dim=0)
        counts = 1.0 / ((aligned - mean).square().mean(dim=0).sum(dim=1) + _STILL * _STILL)
        mean = mean - (counts[:, None] * mean).sum(dim=0) / counts.sum()
    return aligned, torch.cat([rotations, middles.mT], dim=2)


def _bring_home(vertices: Tensor, rigid: Tensor) -> Tensor:
    """Undo rigid motions [n, 3, 4] on vertices [n, V, 3]."""
    return (vertices - rigid[:, None, :, 3]) @ rigid[:, :, :3]


def _principal_components(offsets: Tensor) -> tuple[Tensor, Tensor]:
    """Coefficients [n, R] and unit components [R, D] of offsets [n, D], the largest first.

    They come from the n x n matrix of products: a subject has fewer frames than coordinates.
    """
    values, vectors = torch.linalg.eigh(offsets @ offsets.mT)
    lengths = values.clamp_min(0.0).sqrt().flip(0)
    kept = lengths > max(float(lengths[0]) * _SMALLEST_SHARE, torch.finfo(torch.float64).tiny)
    vectors = vectors.flip(1)[:, kept]
    return vectors * lengths[kept], (vectors.mT @ offsets) / lengths[kept, None]


def _round(coefficients: Tensor, components: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Levels [R, D] of the components, metres of a level [R], and levels [n, R] of the coefficients; whole numbers, float64."""
    largest = coefficients.abs().amax(dim=0)
    scaled = components * largest[:, None]
    steps = (scaled.abs().amax(dim=1) / _FULL).clamp_min(_STEP).float().double()
    levels = (scaled / steps[:, None]).round().clamp(-_FULL, _FULL)
    return levels, steps, (coefficients / largest * _FULL).round()


def _least_rank(left: Tensor, components: Tensor, steps: Tensor, coefficients: Tensor) -> tuple[int, float]:
    """The smallest number of components that keeps MAX_ERROR, by bisection, and its error; all of them where none does.

    left [n, V, 3]: what the components should give.
    """
    weights = coefficients / _FULL * steps

    def error(rank: int) -> float:
        told = (weights[:, :rank] @ components[:rank]).view_as(left)
        return float((told - left).norm(dim=2).max())

    low, high = 0, len(components)
    of_high = error(high)
    while low < high:
        middle = (low + high) // 2
        of_middle = error(middle)
        if of_middle <= MAX_ERROR:
            high, of_high = middle, of_middle
        else:
            low = middle + 1
    return high, of_high
