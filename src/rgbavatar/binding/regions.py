"""Where a head shows most of what a face says: eyes, mouth and brows, found from what its template can do.

Templates do not name their vertices, so the region is found by geometry: what lies near the eyes' centres, lids and all, and what
expressions move most, which is the mouth with what is about it, and the brows. Symbols: V vertices, N Gaussians.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import MeshBinding
from rgbavatar.errors import DataError
from rgbavatar.templates.base import HeadTemplate, neutral_parameters

_EYE_RADIUS = 0.018  # metres from an eye's centre: eyeball (12 mm) and lids
_EYE_FADE = 0.010  # metres, over which that region ends
_MOST_MOVED = 0.9  # share of the vertices that move less than those that belong wholly to the region
_LEAST_MOVED = 0.5  # of that motion, at which the region ends

_STILL = 1e-9  # metres: an expression that moves no vertex further does nothing


def expressive_regions(template: HeadTemplate) -> Tensor:
    """How much each vertex belongs to eyes, mouth or brows: [V] float32 in [0, 1], falling off softly. Of the average person."""
    return torch.maximum(_near_eyes(template), _moved_by_expressions(template)).float()


def shares_of_gaussians(shares: Tensor, binding: MeshBinding) -> Tensor:
    """What shares of vertices [V] are where the binding has its Gaussians: [N]."""
    return (shares[binding.faces[binding.face_ids]] * binding.barycentrics).sum(dim=1)


def _near_eyes(template: HeadTemplate) -> Tensor:
    """[V] float64; 0 where the template has no eye joints."""
    still = neutral_parameters(1, 0, _count_expressions(template))
    try:
        centers = template.eye_centers(still)
    except DataError:
        return torch.zeros(template.num_vertices, dtype=torch.float64)
    nearest = torch.cdist(template.pose(still)[0], centers.double()).min(dim=1).values
    return (1.0 - (nearest - _EYE_RADIUS) / _EYE_FADE).clamp(0.0, 1.0)


def _moved_by_expressions(template: HeadTemplate) -> Tensor:
    """[V] float64: by the root mean square of their shifts over all expressions, each in units of the largest that it makes.

    So a jaw that some templates tell as an expression does not drown the others.
    """
    count = _count_expressions(template)
    still = neutral_parameters(count, 0, count)
    moving = replace(still, expression=torch.eye(count, dtype=torch.float64))
    shifts = template.pose(moving) - template.pose(still.select(slice(0, 1)))
    lengths = shifts.norm(dim=2)
    moved = (lengths / lengths.max(dim=1, keepdim=True).values.clamp_min(_STILL)).square().mean(dim=0).sqrt()
    full = moved.quantile(_MOST_MOVED).clamp_min(_STILL)
    return ((moved / full - _LEAST_MOVED) / (1.0 - _LEAST_MOVED)).clamp(0.0, 1.0)


def _count_expressions(template: HeadTemplate) -> int:
    part = template.code_layout["expression"]
    return part.stop - part.start
