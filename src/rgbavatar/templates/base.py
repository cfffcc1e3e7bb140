"""Head templates: what a tracker says about a head, and what a template makes of it.

Words: n frames; S shape and E expression coefficients; V vertices, F faces, Vt UV vertices; C code entries; 5 joints.
The *rest* mesh carries the identity (shape) and no pose. The *template space* is the rest mesh's own: x to the head's
left, y up, z out of the face, metres. *World* is where a posed mesh lies; for a tracked sequence it is the camera's
space.

The rigid motion `root`, `translation` acts last, about the template space's origin: x_world = root x + translation.
That is how metrical-tracker's `opencv` R, t read. A tracker that rotates about the root joint J_root instead (VHAP,
FLAME's own global orientation) is the same motion with translation + J_root - root J_root.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Protocol

import torch
from torch import Tensor

from rgbavatar.errors import DataError

JOINT_NAMES = ("root", "neck", "jaw", "left_eye", "right_eye")  # FLAME's order; neck hangs on root, the rest on neck
ROOT, NECK, JAW, LEFT_EYE, RIGHT_EYE = range(len(JOINT_NAMES))

_FRAME_SHAPES: Mapping[str, tuple[int, ...]] = {
    "neck": (3, 3),
    "jaw": (3, 3),
    "eyes": (2, 3, 3),
    "eyelids": (2,),
    "root": (3, 3),
    "translation": (3,),
}  # what follows n in each field of HeadParameters
_COMMON = ("shape", "offset")  # fields that all frames share


@dataclass(frozen=True)
class HeadParameters:
    """n tracked frames of one person; float64 tensors on one device.

    shape [S]: identity, common to all frames. offset [V, 3] metres, or None: what a tracker adds to each vertex of the
    person's rest mesh beyond what the coefficients say, common too. expression [n, E]. neck, jaw [n, 3, 3] and eyes [n,
    2, 3, 3] (left, right): rotations about their joints, each relative to its parent joint. eyelids [n, 2]: left, right;
    0 open, 1 closed. root [n, 3, 3] and translation [n, 3] (metres): the rigid motion of the whole mesh, see the
    module's head.
    A tracker without a neck pose (metrical-tracker) has neck = identity. Raises DataError where shapes do not fit.
    """

    shape: Tensor
    expression: Tensor
    neck: Tensor
    jaw: Tensor
    eyes: Tensor
    eyelids: Tensor
    root: Tensor
    translation: Tensor
    offset: Tensor | None = None

    def __post_init__(self) -> None:
        if self.shape.ndim != 1 or self.expression.ndim != 2:
            pair = f"{list(self.shape.shape)} and {list(self.expression.shape)}"
            raise DataError(f"head parameters: shape and expression are {pair}, expected [S] and [n, E]")
        for name, tail in _FRAME_SHAPES.items():
            found, expected = list(getattr(self, name).shape), [len(self), *tail]
            if found != expected:
                raise DataError(f"head parameters: {name} is {found}, expected {expected}")

    def __len__(self) -> int:
        return self.expression.shape[0]

    def select(self, frames: slice | Tensor) -> HeadParameters:
        """The frames that a slice or an index tensor [m] picks; shape and offset stay common."""
        chosen = {f.name: getattr(self, f.name)[frames] for f in fields(self) if f.name not in _COMMON}
        return replace(self, **chosen)


def neutral_parameters(n: int, num_shape: int, num_expression: int) -> HeadParameters:
    """n frames of the average person at rest at the origin: zero coefficients, identity rotations. float64, CPU."""
    eye = torch.eye(3, dtype=torch.float64)
    zeros = torch.zeros(n, num_expression + 5, dtype=torch.float64)
    return HeadParameters(
        shape=torch.zeros(num_shape, dtype=torch.float64),
        expression=zeros[:, :num_expression],
        neck=eye.repeat(n, 1, 1),
        jaw=eye.repeat(n, 1, 1),
        eyes=eye.repeat(n, 2, 1, 1),
        eyelids=zeros[:, num_expression : num_expression + 2],
        root=eye.repeat(n, 1, 1),
        translation=zeros[:, num_expression + 2 :],
    )


class HeadTemplate(Protocol):
    """A mesh of fixed topology that tracked parameters pose. Pure methods; results lie on the inputs' device."""

    @property
    def faces(self) -> Tensor:
        """Vertices of each triangle, counter-clockwise from outside. [F, 3] int64."""
        ...

    @property
    def uv(self) -> Tensor:
        """UV vertices in [0, 1]: u right, v up. [Vt, 2] float64."""
        ...

    @property
    def uv_faces(self) -> Tensor:
        """UV vertices of each triangle, corner by corner those of `faces`. [F, 3] int64."""
        ...

    @property
    def num_vertices(self) -> int:
        """V."""
        ...

    @property
    def code_layout(self) -> Mapping[str, slice]:
        """Where each part of the code lies, in order and without gaps."""
        ...

    @property
    def code_width(self) -> int:
        """C, the end of the last slice of `code_layout`."""
        ...

    def pose(self, p: HeadParameters) -> Tensor:
        """Vertices of each frame in world space, metres. Returns [n, V, 3] float64; other memory is bounded."""
        ...

    def encode(self, p: HeadParameters) -> Tensor:
        """The code each frame gives the coefficient network, laid out as `code_layout`. Returns [n, C] float64.

        Of parameters as `retarget` leaves them: what has no place in the code before, the network cannot see.
        """
        ...

    def retarget(self, p: HeadParameters) -> HeadParameters:
        """The same heads in the same places, their rotation where the code holds it. Twice is the same as once."""
        ...

    def turn_head(self, p: HeadParameters, rotation: Tensor) -> HeadParameters:
        """The heads turned further by a rotation [3, 3] in the world, about what this template's heads turn about."""
        ...

    @property
    def expression_names(self) -> Sequence[str]:
        """Of the expression coefficients, in their order; none where they have no names."""
        ...

    def eye_centers(self, p: HeadParameters) -> Tensor:
        """Rest positions of the centres of the left and the right eye of a person. Returns [2, 3] metres."""
        ...


def retarget_to_neck(p: HeadParameters, joint: Tensor) -> HeadParameters:
    """Move the rigid motion's rotation from the camera to the neck joint, so that the code sees the head turn.

    neck' = root neck, root' = identity, translation' = root J - J + translation. joint [3]: J, the neck's rest position.

    A vertex that hangs wholly on the neck and the joints after it was at root (neck (x - J) + J) + translation; it is
    now at root neck (x - J) + J + translation', which is the same point: the head does not move, whatever the neck pose
    was (so a given neck pose is composed with the rotation, not replaced by it). Two things do change: what hangs on
    the root joint (the neck's lower edge, shoulders) no longer turns with the head, and the corrective offsets now see
    the neck bent. So choose world axes in which an upright head has a root near the identity, or the neck is wrung by
    half a turn. Applying it twice is the same as once.
    """
    joint = joint.to(p.root)
    eye = torch.eye(3, dtype=p.root.dtype, device=p.root.device)
    return replace(
        p,
        neck=p.root @ p.neck,
        root=eye.expand_as(p.root).clone(),
        translation=p.root @ joint - joint + p.translation,
    )


def add_offset(person: Tensor, offset: Tensor) -> Tensor:
    """A rest mesh [V, 3] moved by a tracker's offsets [M, 3], vertex by vertex so far as both go.

    Meshes of one family differ in what was appended to them (teeth, the inside of the mouth), which is left as it is.
    """
    shared = min(len(person), len(offset))
    return torch.cat([person[:shared] + offset[:shared].to(person), person[shared:]])
