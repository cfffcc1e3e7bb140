"""A head model of linear blendshapes, without a skeleton but for two eyeballs: FaceWarehouse, ICT-FaceKit and the like.

Words: n frames, V vertices, S identity and E expression coefficients. A vertex at rest is

    person = neutral + sum_s shape_s identity_s + offset        face = person + sum_e expression_e delta_e

eyeballs then turn about their centres c by R, face + sum_eyes w (R - I)(face - c), and the head moves rigidly: root face +
translation. Shoulders and the neck below them, where the mesh has them, do not turn: they stay below the pivot. There is no jaw,
and no neck but the rigid motion: an open mouth is an expression. Evaluated in float64.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor

from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import rotation_to_rot6d
from rgbavatar.templates.base import HeadParameters, add_offset
from rgbavatar.templates.blendshape_data import BlendshapeData, EyeJoints, load_blendshape_data

_CHUNK_VERTICES = 1 << 17  # vertices posed at a time; some 10 doubles of temporaries each, so 10 MiB
_STILL = 1e-5  # largest entry of R - I of a joint that has not turned, for float32 trackers


@dataclass(frozen=True, eq=False)
class BlendshapeTemplate:
    """A posable mesh of blendshapes, a `HeadTemplate`. `neck` and `jaw` must be the identity; eyelids have no effect."""

    data: BlendshapeData

    @property
    def faces(self) -> Tensor:
        """[F, 3] int64."""
        return torch.tensor(self.data.faces)

    @property
    def uv(self) -> Tensor:
        """[Vt, 2] float64: u right, v up."""
        return torch.tensor(self.data.uv)

    @property
    def uv_faces(self) -> Tensor:
        """[F, 3] int64."""
        return torch.tensor(self.data.uv_faces)

    @property
    def num_vertices(self) -> int:
        """V."""
        return len(self.data.neutral)

    @cached_property
    def code_layout(self) -> Mapping[str, slice]:
        """expression; rot6d of root; rot6d of left and right eye, where there are joints; translation of the pivot."""
        widths = {"expression": len(self.data.expression), "root": 6, "eyes": 12, "translation": 3}
        if self.data.eyes is None:
            del widths["eyes"]
        ends = np.cumsum(list(widths.values())).tolist()
        slices = {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
        return MappingProxyType(slices)

    @property
    def code_width(self) -> int:
        """C."""
        return self.code_layout["translation"].stop

    def encode(self, p: HeadParameters) -> Tensor:
        """The code of each frame. Returns [n, C] float64. Raises DataError for parameters that are not this template's."""
        self._check(p)
        pivot = self._tensor(self.data.pivot, p.root)
        parts = {
            "expression": p.expression,
            "root": rotation_to_rot6d(p.root),
            "eyes": rotation_to_rot6d(p.eyes).flatten(1),
            "translation": p.root.double() @ pivot - pivot + p.translation,
        }
        return torch.cat([parts[name] for name in self.code_layout], 1).double()

    def retarget(self, p: HeadParameters) -> HeadParameters:
        """The same parameters: the code holds the rotation where it is."""
        return p

    def turn_head(self, p: HeadParameters, rotation: Tensor) -> HeadParameters:
        """About the pivot, which stays where it is."""
        pivot, root = self._tensor(self.data.pivot, p.root), rotation.to(p.root) @ p.root
        return replace(p, root=root, translation=p.translation + p.root @ pivot - root @ pivot)

    @property
    def expression_names(self) -> Sequence[str]:
        """As the template's file says."""
        return self.data.expression_names

    def eye_centers(self, p: HeadParameters) -> Tensor:
        """Rest positions of a person's eye joints [2, 3]. Raises DataError where the template has none.

        Offsets of the vertices move a joint by what they move its eyeball on average.
        """
        if self.data.eyes is None:
            raise DataError(
                "the blendshape template has no eye joints, expected eye_centers and eye_weights in its file"
            )
        return self._centers(p, self.data.eyes)

    def pose(self, p: HeadParameters) -> Tensor:
        """Blend, turn the eyes, place. Returns [n, V, 3] float64, world space, metres. Raises DataError as `encode` does."""
        self._check(p)
        person = self._person(p)
        offsets = torch.from_numpy(self._expression).to(person.device)
        step = max(1, _CHUNK_VERTICES // self.num_vertices)
        posed = person.new_empty(len(p), *person.shape)
        for start in range(0, len(p), step):
            frames = p.select(slice(start, start + step))
            face = torch.addmm(person.flatten(), frames.expression.double(), offsets).unflatten(1, person.shape)
            if self.data.eyes is not None:
                face = face + self._turn_eyes(face, frames, self.data.eyes)
            posed[start : start + step] = self._place(face, frames.root.double(), frames.translation.double()[:, None])
        return posed

    def _place(self, face: Tensor, root: Tensor, translation: Tensor) -> Tensor:
        """Faces [n, V, 3] where the head is; what turns less stays below the pivot. root [n, 3, 3]; translation [n, 1, 3]."""
        placed = face @ root.mT + translation
        staying = torch.from_numpy(np.flatnonzero(self.data.head_weights < 1)).to(face.device)
        if len(staying):
            share = self._tensor(self.data.head_weights, face)[staying, None]
            pivot = self._tensor(self.data.pivot, face)
            below = face[:, staying] - pivot + (root @ pivot)[:, None] + translation
            placed[:, staying] = below + share * (placed[:, staying] - below)
        return placed

    def _turn_eyes(self, face: Tensor, p: HeadParameters, eyes: EyeJoints) -> Tensor:
        """By how much the eyes' turns move the vertices of unplaced faces [n, V, 3]."""
        shift = torch.zeros_like(face)
        for eye, center in enumerate(self._centers(p, eyes)):
            moving = torch.from_numpy(np.flatnonzero(eyes.weights[:, eye])).to(face.device)
            share = self._tensor(eyes.weights[:, eye], face)[moving, None]
            arm = face[:, moving] - center
            shift[:, moving] += share * (arm @ p.eyes[:, eye].double().mT - arm)
        return shift

    def _centers(self, p: HeadParameters, eyes: EyeJoints) -> Tensor:
        """See `eye_centers`. [2, 3] float64."""
        shape = self._padded_shape(p)
        centers = self._tensor(eyes.centers, shape) + torch.tensordot(shape, self._tensor(eyes.identity, shape), dims=1)
        if p.offset is None:
            return centers
        shared = min(len(eyes.weights), len(p.offset))
        weights = self._tensor(eyes.weights[:shared], shape)
        return centers + weights.T @ p.offset[:shared].double() / weights.sum(0).clamp_min(1e-12)[:, None]

    def _person(self, p: HeadParameters) -> Tensor:
        """The rest mesh of a person [V, 3] float64; mode by mode, so that no table of doubles is made."""
        shape = self._padded_shape(p)
        person = self._tensor(self.data.neutral, shape).clone()
        for coefficient, mode in zip(shape, self.data.identity, strict=True):
            person += coefficient * self._tensor(mode, shape)
        return person if p.offset is None else add_offset(person, p.offset)

    def _padded_shape(self, p: HeadParameters) -> Tensor:
        """The identity coefficients [S] float64; those that a tracker does not have are 0. Raises DataError for more."""
        missing = len(self.data.identity) - len(p.shape)
        if missing < 0:
            raise DataError(
                f"head parameters: shape has {len(p.shape)} coefficients, expected at most {len(self.data.identity)}, as "
                f"many as the template has identity modes"
            )
        return torch.nn.functional.pad(p.shape.double(), (0, missing))

    @cached_property
    def _expression(self) -> np.ndarray:
        """Deltas of the expressions [E, 3 V] float64."""
        return self.data.expression.reshape(len(self.data.expression), -1).astype(np.float64)

    def _check(self, p: HeadParameters) -> None:
        """Raise DataError for an expression of another template, or joints that this one does not have."""
        expressions = len(self.data.expression)
        if p.expression.shape[1] != expressions:
            names = self.data.expression_names
            raise DataError(
                f"head parameters: expression has {p.expression.shape[1]} coefficients, expected {expressions} of the template: "
                f"{names[0]} ... {names[-1]}"
            )
        for name in ("neck", "jaw"):
            turn = getattr(p, name)
            if ((turn - torch.eye(3).to(turn)).abs() > _STILL).any():
                raise DataError(
                    f"head parameters: {name} is turned, expected it at rest: a blendshape template has no such joint"
                )

    def _tensor(self, array: np.ndarray, like: Tensor) -> Tensor:
        """A constant of the model, float64, where a tensor is."""
        return torch.from_numpy(array).to(like.device, torch.float64)


def load_blendshape(path: Path) -> BlendshapeTemplate:
    """Read a blendshape template. Raises TemplateError where the file is missing, broken or of another kind."""
    return BlendshapeTemplate(load_blendshape_data(path))
