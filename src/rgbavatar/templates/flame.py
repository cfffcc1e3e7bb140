"""FLAME: a head model of linear blendshapes and five joints (Li et al., "Learning a model of facial shape and
expression from 4D scans", 2017), evaluated in float64.

Words: n frames, V vertices, S <= 300 shape and E <= 100 expression coefficients, C = 129 code entries.
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
from rgbavatar.templates.base import LEFT_EYE, NECK, RIGHT_EYE, HeadParameters, add_offset, retarget_to_neck
from rgbavatar.templates.flame_data import NUM_EXPRESSION, NUM_SHAPE, PARENTS, FlameData, load_flame_data
from rgbavatar.templates.lbs import blend_offsets, joint_transforms, move_after, pose_features, skin
from rgbavatar.templates.mouth import add_mouth_interior

_CODE_PARTS = {"expression": NUM_EXPRESSION, "neck": 6, "jaw": 6, "eyes": 12, "eyelids": 2, "translation": 3}
_CHUNK_VERTICES = 1 << 17  # vertices posed at a time; about 20 doubles of temporaries each, so 20 MiB


def _layout(widths: Mapping[str, int]) -> Mapping[str, slice]:
    """Slices of the given widths, one after the other."""
    ends = np.cumsum(list(widths.values())).tolist()
    slices = {name: slice(end - width, end) for (name, width), end in zip(widths.items(), ends, strict=True)}
    return MappingProxyType(slices)


@dataclass(frozen=True, eq=False)
class FlameTemplate:
    """A posable FLAME mesh, a `HeadTemplate`. Any mesh in FLAME's schema will do, of any vertex count."""

    data: FlameData

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
        return len(self.data.v_template)

    @cached_property
    def code_layout(self) -> Mapping[str, slice]:
        """expression; rot6d of neck, jaw, left eye, right eye; eyelids; translation."""
        return _layout(_CODE_PARTS)

    @property
    def code_width(self) -> int:
        """C."""
        return sum(_CODE_PARTS.values())

    def encode(self, p: HeadParameters) -> Tensor:
        """The code of each frame. Returns [n, C] float64; coefficients the tracker does not have are 0."""
        parts = {
            "expression": _pad(p.expression, NUM_EXPRESSION, "expression"),
            "neck": rotation_to_rot6d(p.neck),
            "jaw": rotation_to_rot6d(p.jaw),
            "eyes": rotation_to_rot6d(p.eyes).flatten(1),
            "eyelids": p.eyelids,
            "translation": p.translation,
        }
        return torch.cat([parts[name] for name in self.code_layout], 1).double()

    def joints(self, p: HeadParameters) -> Tensor:
        """Rest joints of a person, in the order of JOINT_NAMES: the regressor on the shaped mesh (SMPL Eq. 10). [5, 3]."""
        return self._regress(self._person(p))

    def retarget(self, p: HeadParameters) -> HeadParameters:
        """The rotation of the whole head moved to the neck, which the code holds (`retarget_to_neck`)."""
        return retarget_to_neck(p, self.joints(p)[NECK])

    def turn_head(self, p: HeadParameters, rotation: Tensor) -> HeadParameters:
        """About the neck joint. In the neck's own space where the root is turned, too."""
        return replace(p, neck=rotation.to(p.neck) @ p.neck)

    @property
    def expression_names(self) -> Sequence[str]:
        """FLAME's are principal components without names."""
        return ()

    def eye_centers(self, p: HeadParameters) -> Tensor:
        """The eyes' rest joints [2, 3]."""
        return self.joints(p)[[LEFT_EYE, RIGHT_EYE]]

    def pose(self, p: HeadParameters) -> Tensor:
        """Blend, correct, skin and place (FLAME Eq. 1-2). Returns [n, V, 3] float64, world space, metres."""
        person = self._person(p)
        joints = self._regress(person)
        step = max(1, _CHUNK_VERTICES // self.num_vertices)
        posed = person.new_empty(len(p), *person.shape)
        for start in range(0, len(p), step):
            frames = slice(start, start + step)
            posed[frames] = self._pose(p.select(frames), person, joints)
        return posed

    def _pose(self, p: HeadParameters, person: Tensor, joints: Tensor) -> Tensor:
        """`pose` of a few frames. person [V, 3] and joints [5, 3] are the rest mesh and its joints."""
        still = torch.eye(3, dtype=person.dtype, device=person.device).expand(len(p), 1, 3, 3)
        local = torch.cat((still, torch.stack((p.neck, p.jaw), 1).double(), p.eyes.double()), 1)
        expression = _pad(p.expression, NUM_EXPRESSION, "expression")
        coefficients = torch.cat((expression.double(), p.eyelids.double(), pose_features(local)), 1)
        rest = person + blend_offsets(self._tensor(self._moving_offsets, person), coefficients)
        placed = move_after(joint_transforms(local, joints, PARENTS), p.root.double(), p.translation.double())
        return skin(rest, self._tensor(self.data.weights, person), placed)

    def _person(self, p: HeadParameters) -> Tensor:
        """The rest mesh of a person [V, 3]. Vertices that a template adds to the tracker's have no offset of their own."""
        coefficients = _pad(p.shape[None], NUM_SHAPE, "shape").double()
        offsets = self._tensor(self.data.shapedirs[..., :NUM_SHAPE], p.shape)
        person = self._tensor(self.data.v_template, p.shape) + blend_offsets(offsets, coefficients)[0]
        return person if p.offset is None else add_offset(person, p.offset)

    def _regress(self, person: Tensor) -> Tensor:
        """The joints of a rest mesh [V, 3]. Returns [5, 3]."""
        return self._tensor(self.data.joint_regressor, person) @ person

    @cached_property
    def _moving_offsets(self) -> np.ndarray:
        """Offsets that change from frame to frame: expression, the two eyelids, pose correctives. [V, 3, 138]."""
        moving = (self.data.shapedirs[..., NUM_SHAPE:], self.data.eyelids, self.data.posedirs)
        return np.concatenate(moving, -1)

    def _tensor(self, array: np.ndarray, like: Tensor) -> Tensor:
        """A constant of the model, float64, where a tensor is."""
        return torch.from_numpy(array).to(like.device)


def load_flame(model_path: Path, uv_path: Path | None = None, mouth_interior: bool = False) -> FlameTemplate:
    """Read a FLAME model, with its UV map and eyelids beside it; on request close the mouth from the inside.

    Raises TemplateError where a file is missing, broken or of another kind, or the mesh has no mouth to close.
    """
    data = load_flame_data(model_path, uv_path)
    return FlameTemplate(add_mouth_interior(data) if mouth_interior else data)


def _pad(coefficients: Tensor, width: int, name: str) -> Tensor:
    """Append zeros up to a width: a tracker may fit fewer coefficients than the model has. [n, D] to [n, width]."""
    missing = width - coefficients.shape[1]
    if missing < 0:
        raise DataError(f"head parameters: {name} has {coefficients.shape[1]} coefficients, expected at most {width}")
    return torch.nn.functional.pad(coefficients, (0, missing))
