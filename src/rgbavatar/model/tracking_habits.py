"""What a tracker gets wrong in the same way again: corrections of frames that were never trained on.

A tracker has habits: it nods too little, or leans with a turned head. Frames that were trained on have corrections
(rgbavatar.model.corrections); those of another frame are predicted from them by a Gaussian process (Rasmussen and Williams 2006,
Eq. 2.25) over what the tracker says of a frame, its *features*: how the head is turned and where it is, *pose*, and the code. Far
from all frames that were trained on, the prediction is 0.

How far the examples are trusted is found by holding out blocks of consecutive frames: where corrections cannot be told from
features, they are noise, and nothing is predicted. Symbols: n examples, m frames asked for, V vertices, C code entries.
"""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor

from rgbavatar.geometry.rotation import nearest_rotation

POSE_NUMBERS = 6
_LEAST_SPREADS = (0.01, 0.001, 0.01)  # of turns, in radians; of places, in metres; of code entries
_POSE_LENGTH, _CODE_LENGTH = (
    1.6,
    2.3,
)  # over which corrections change: root mean squares, in units of each number's spread
_NOISES = (0.1, 0.3, 1.0, 3.0, 10.0)  # variances of what features do not tell, over that of what they do
_BLOCKS = 6
_MOST_EXAMPLES = 1_500  # evenly spread; more would take long and tell little


def frame_features(vertices: Tensor, codes: Tensor, reference: Tensor) -> Tensor:
    """Of frames with meshes [n, V, 3] and codes [n, C]: [n, POSE_NUMBERS + C] float64.

    reference [V, 3]: the mesh that turns are measured from; a turn is told by its axis times the sine of its angle.
    """
    points = vertices.double()
    middles = points.mean(dim=1)
    still = reference.double() - reference.double().mean(dim=0)
    rotation = nearest_rotation((points - middles[:, None]).mT @ still)
    skew = 0.5 * (rotation - rotation.mT)
    turns = torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=1)
    return torch.cat([turns, middles, codes.double()], dim=1)


def predict_corrections(examples: Tensor, found: Tensor, asked: Tensor) -> Tensor:
    """Corrections of frames with the features `asked` [m, D], from those found [n, 6] for the features `examples` [n, D], which
    follow each other in time. found: turns, then shifts, whose mean is 0. [m, 6] float64."""
    chosen = torch.linspace(0, len(examples) - 1, min(len(examples), _MOST_EXAMPLES)).round().long()
    features, values = examples.double().cpu()[chosen], found.double().cpu()[chosen]
    spread = _spread(features)
    known, new = features / spread, asked.double().cpu() / spread
    kernel = _kernel(known, known)
    scores = {noise: _held_out_score(kernel, values, noise) for noise in _NOISES}
    noise = max(scores, key=lambda each: scores[each])
    if not scores[noise] > 0.0:
        return values.new_zeros(len(new), values.shape[1])
    return _kernel(new, known) @ _solve(kernel, values, noise)


def _spread(features: Tensor) -> Tensor:
    """Of each feature over the examples [D], but no less than what a tracker tells apart."""
    least = torch.full((features.shape[1],), _LEAST_SPREADS[2], dtype=features.dtype)
    least[:3], least[3:POSE_NUMBERS] = _LEAST_SPREADS[:2]
    return torch.maximum(features.std(dim=0, correction=0), least)


def _kernel(first: Tensor, second: Tensor) -> Tensor:
    """How alike the corrections of frames are, [n, m]: 1 for the same features, falling off as a Gaussian."""
    distances = torch.zeros(len(first), len(second), dtype=first.dtype)
    for part, length in ((slice(0, POSE_NUMBERS), _POSE_LENGTH), (slice(POSE_NUMBERS, None), _CODE_LENGTH)):
        width = first[:, part].shape[1]
        if width:
            distances += torch.cdist(first[:, part], second[:, part]).square() / (width * length**2)
    return torch.exp(-0.5 * distances)


def _solve(kernel: Tensor, values: Tensor, noise: float) -> Tensor:
    noisy = kernel + noise * torch.eye(len(kernel), dtype=kernel.dtype)
    return torch.cholesky_solve(values, torch.linalg.cholesky(noisy))


def _held_out_score(kernel: Tensor, values: Tensor, noise: float) -> float:
    """The share of the corrections' squares that is explained where blocks are held out in turn: mean of turns and shifts."""
    count, left = len(values), torch.empty_like(values)
    if count < _BLOCKS:
        return 0.0
    edges = [count * block // _BLOCKS for block in range(_BLOCKS + 1)]
    for begin, end in pairwise(edges):
        rest = torch.cat([torch.arange(begin), torch.arange(end, count)])
        predicted = kernel[begin:end][:, rest] @ _solve(kernel[rest][:, rest], values[rest], noise)
        left[begin:end] = values[begin:end] - predicted
    parts = [1.0 - left[:, part].square().sum() / values[:, part].square().sum() for part in (slice(0, 3), slice(3, 6))]
    return float(torch.stack(parts).nan_to_num(0.0, 0.0, 0.0).mean())
