"""Identity modes of a head from a made-up population: people drawn over the sliders of a body, and what they differ in most.

Words: t targets, V vertices, K modes. A person's *amounts* [t] say how much of each target they have. A *mode* is by how much the
vertices move for one standard deviation of the population: coefficients drawn from N(0, I) give people as they were drawn, up to
what the last modes leave out. The modes hold no rigid motion of the head, and are orthogonal over its surface.

The population: as many women as men, with some between; nine in ten grown up; ancestry, weight, muscles and the traits of each
part of the face are drawn one by one. Faces are nearly symmetric, and each is there with its mirror image, so that the mean is
symmetric, as far as the targets are.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.templates.anny_files import Slider, find_sliders

_SEED = 1
_PAIRS = 4000  # of mirror images, of whom the amounts' covariance is taken
_ADULT_SHARE = 0.9
_MACRO = "macrodetails"
_RACES = ("african", "asian", "caucasian")
_GENDERS = ("female", "male")
_AGES, _AGE_PLACES = ("child", "young", "old"), (0.1875, 0.5, 1.0)  # 11, 25 and 90 years, as macro.json places them
_AMOUNTS, _AMOUNT_PLACES = ("min", "average", "max"), (0.0, 0.5, 1.0)
_SPREADS = {
    "head": 0.15,
    "forehead": 0.2,
    "eyebrows": 0.25,
    "eyes": 0.2,
    "nose": 0.25,
    "mouth": 0.25,
    "chin": 0.25,
    "cheek": 0.25,
    "ears": 0.25,
    "neck": 0.2,
    "asym": 0.12,
}  # standard deviation of the sliders of each section, whose ends are at 1
_ASYMMETRIC = "asym"  # the section whose sliders have mirror images at their ends
_ASYMMETRY = 0.2  # of a spread, by which the two sides of a face differ
_LEFT_OUT = (
    "head-trans",
    "head-angle",
    "neck-trans",
    "measure-",
    "asymm-",
    "shape-pointed",
)  # motion; the trunk; elves

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Population:
    """targets: t names. mean [t], covariance [t, t]: of the amounts."""

    targets: tuple[str, ...]
    mean: Floats
    covariance: Floats


def draw_population(data: Path) -> Population:
    """Draw people over the sliders that a package's folder of data has; the same at each call. Raises TemplateError."""
    generator = np.random.default_rng(_SEED)
    amounts = _draw_macro(generator)
    for section, spread in _SPREADS.items():
        mirrored = -1 if section == _ASYMMETRIC else 1
        for slider in find_sliders(data, section):
            if not any(part in end for part in _LEFT_OUT for end in slider.ends):
                amounts |= _draw_slider(generator, slider, spread, mirrored)
    table = np.stack(list(amounts.values()), 1)
    return Population(tuple(amounts), table.mean(0), np.cov(table, rowvar=False))


def _draw_macro(generator: np.random.Generator) -> dict[str, Floats]:
    """Amounts [n] of the targets of whole bodies, each a product of what its name says."""
    men = generator.beta(0.5, 0.5, _PAIRS)
    grown = generator.uniform(size=_PAIRS) < _ADULT_SHARE
    age = np.where(grown, generator.uniform(0.45, 0.9, _PAIRS), generator.uniform(0.25, 0.45, _PAIRS))
    races = dict(zip(_RACES, generator.dirichlet((0.6, 0.6, 0.6), _PAIRS).T, strict=True))
    genders = dict(zip(_GENDERS, (1 - men, men), strict=True))
    ages = _between(age, _AGES, _AGE_PLACES)
    muscles, weights = (
        _between(generator.normal(0.5, 0.2, _PAIRS).clip(0, 1), _AMOUNTS, _AMOUNT_PLACES) for _ in range(2)
    )
    amounts = {
        f"{_MACRO}/{race}-{gender}-{age}": races[race] * genders[gender] * ages[age]
        for race, gender, age in product(races, genders, ages)
    } | {
        f"{_MACRO}/universal-{gender}-{age}-{m}muscle-{w}weight": genders[gender] * ages[age] * muscles[m] * weights[w]
        for gender, age, m, w in product(genders, ages, muscles, weights)
    }
    return {name: np.concatenate((amount, amount)) for name, amount in amounts.items()}


def _between(values: Floats, names: tuple[str, ...], places: tuple[float, ...]) -> dict[str, Floats]:
    """How much of each of the named states values [n] have, that lie between two of their places: they sum to 1."""
    return {name: np.interp(values, places, np.eye(len(places))[i]) for i, name in enumerate(names)}


def _draw_slider(generator: np.random.Generator, slider: Slider, spread: float, mirrored: int) -> dict[str, Floats]:
    """Amounts [n] of a slider's targets, and of its twin's. mirrored: 1, or -1 for a slider whose ends are mirror images."""
    common = generator.normal(0, spread, _PAIRS)
    if not slider.twin:
        return _to_ends(slider.ends, np.concatenate((common, mirrored * common)))
    one, other = (common + generator.normal(0, _ASYMMETRY * spread, _PAIRS) for _ in range(2))
    left, right = np.concatenate((one, other)), np.concatenate((other, one))
    return _to_ends(slider.ends, left) | _to_ends(slider.twin, right)


def _to_ends(ends: tuple[str, ...], values: Floats) -> dict[str, Floats]:
    """Amounts of a slider's ends, the last of which is at 1, the other at -1."""
    return {end: (sign * values).clip(0, 1) for end, sign in zip(ends[::-1], (1, -1), strict=False)}


def find_modes(targets: Floats, covariance: Floats, metric: Floats, count: int) -> tuple[Floats, float]:
    """The directions that a population differs in most. targets [t, V, 3] deltas; covariance [t, t] of the amounts; metric [V]:
    how much a vertex counts. Returns modes [count, V, 3], the largest first, and the share of the variance that they hold.

    A face is mean + targetsᵀ a with a of the covariance C = L Lᵀ, thus mean + (Lᵀ targets)ᵀ z with z ~ N(0, I). The rows of
    Lᵀ targets are turned so that they are orthogonal; each mode's sign makes its largest coordinate positive.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(values.clip(0))
    independent = np.tensordot(root.T, targets, 1)
    weighted = (independent * np.sqrt(metric)[:, None]).reshape(len(root), -1)
    variances, turns = np.linalg.eigh(weighted @ weighted.T)
    modes = np.tensordot(turns[:, ::-1][:, :count].T, independent, 1)
    flat = modes.reshape(count, -1)
    signs = np.sign(flat[np.arange(count), np.abs(flat).argmax(1)])
    return modes * signs[:, None, None], float(variances[::-1][:count].sum() / variances.sum())


def remove_rigid_motion(deltas: Floats, points: Floats, metric: Floats) -> Floats:
    """Deltas [t, V, 3] without the small translation and turn that fits them best where the metric [V] is. points [V, 3]."""
    arms = points - (metric[:, None] * points).sum(0) / metric.sum()
    axes = np.eye(3)
    moves = np.concatenate(
        (np.broadcast_to(axes[:, None], (3, *points.shape)), np.stack([np.cross(axis, arms) for axis in axes]))
    ).reshape(6, -1)
    weights = np.repeat(metric, 3)
    flat = deltas.reshape(len(deltas), -1)
    amounts = np.linalg.solve((moves * weights) @ moves.T, (moves * weights) @ flat.T)
    return (flat - amounts.T @ moves).reshape(deltas.shape)
