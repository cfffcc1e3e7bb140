"""Expressions under ARKit's names: `browDownLeft`, where other models say `browDown_L`.

Two that ARKit has for both sides at once (`browInnerUp`, `cheekPuff`) come as two sides from some models, and are added up.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from rgbavatar.errors import TemplateError
from rgbavatar.templates.blendshape_data import BlendshapeData

_SIDES: Mapping[str, str] = {"_L": "Left", "_R": "Right"}
_UNSIDED = ("browInnerUp", "cheekPuff")


def to_arkit_name(name: str) -> str:
    """ARKit's name of an expression; one that has no such side stays as it is."""
    stem, side = name[:-2], _SIDES.get(name[-2:])
    if side is None:
        return name
    return stem if stem in _UNSIDED else stem + side


def with_arkit_names(data: BlendshapeData) -> BlendshapeData:
    """The template with its expressions renamed, in alphabetical order, those that get the same name added up.

    Raises TemplateError where no name changes: they are another model's.
    """
    names = [to_arkit_name(name) for name in data.expression_names]
    if names == list(data.expression_names):
        raise TemplateError(
            f"expressions: found {names[0]} ... {names[-1]}, expected names of sides like browDown_L and browDown_R"
        )
    unique = sorted(set(names))
    sums = np.zeros((len(unique), *data.expression.shape[1:]), data.expression.dtype)
    for name, delta in zip(names, data.expression, strict=True):
        sums[unique.index(name)] += delta
    return replace(data, expression=sums, expression_names=tuple(unique))
