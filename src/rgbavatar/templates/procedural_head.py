"""A head made by code alone, in FLAME's schema: a template for demonstrations and tests, of which nothing is
downloaded.

Words: V vertices in the order skin, left eyeball, right eyeball, mouth interior. Charts of the UV map: the skin fills
it above a strip (seam at the back of the head); in the strip lie the two eyeballs' discs and the mouth's square. Same
axes as FLAME's: x to the head's left, y up, z out of the face, metres.
"""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbavatar.errors import TemplateError
from rgbavatar.io.files import write_aside, write_bytes
from rgbavatar.templates.base import LEFT_EYE, RIGHT_EYE
from rgbavatar.templates.flame_data import NUM_EXPRESSION, NUM_SHAPE, PARENTS, FlameData, Floats, Ints
from rgbavatar.templates.mouth import UvSquare, add_mouth_interior
from rgbavatar.templates.procedural_modes import (
    EXPRESSION_MODES,
    SHAPE_MODES,
    make_expression_offsets,
    make_eyelid_offsets,
    make_joint_regressor,
    make_pose_offsets,
    make_shape_offsets,
    make_skin_weights,
)
from rgbavatar.templates.procedural_surface import EYE_CENTER, EYE_RADIUS, make_skin
from rgbavatar.templates.procedural_texture import EYE_SPAN, EYE_SQUARES, MOUTH_SQUARE, SKIN_FLOOR, paint_texture

_EYE_RINGS, _EYE_SECTORS = 8, 18
_SMALLEST = 24  # columns; below it the slits have no columns of their own

__all__ = ["EXPRESSION_MODES", "SHAPE_MODES", "make_procedural_head", "procedural_texture", "write_flame"]


def make_procedural_head(resolution: int = 80) -> FlameData:
    """Make the head. resolution: columns around it, even; 80 gives about 5,300 vertices, which grow with its square.

    The first coefficients of identity and expression are SHAPE_MODES and EXPRESSION_MODES; the rest have no effect.
    """
    return add_mouth_interior(make_open_head(resolution), MOUTH_SQUARE)


def make_open_head(resolution: int) -> FlameData:
    """The head with a hole between the lips, as FLAME's has; otherwise see `make_procedural_head`."""
    if resolution < _SMALLEST or resolution % 2:
        raise TemplateError(f"procedural head: resolution is {resolution}, expected an even number from {_SMALLEST}")
    skin = make_skin(resolution)
    eyes = [_eyeball(square) for square in EYE_SQUARES]
    count, eye_count = len(skin.positions), len(eyes[0][0])
    centers = (EYE_CENTER, EYE_CENTER * (-1, 1, 1))
    positions = np.concatenate((skin.positions, *(c + ball for c, (ball, _, _) in zip(centers, eyes, strict=True))))
    weights = _pad_rows(make_skin_weights(skin), 2 * eye_count)
    weights[count : count + eye_count, LEFT_EYE] = 1
    weights[count + eye_count :, RIGHT_EYE] = 1
    shapedirs = np.zeros((len(positions), 3, NUM_SHAPE + NUM_EXPRESSION))
    shapedirs[..., : len(SHAPE_MODES)] = make_shape_offsets(positions, skin)
    shapedirs[:count, :, NUM_SHAPE : NUM_SHAPE + len(EXPRESSION_MODES)] = make_expression_offsets(skin)
    uv_count, eye_uv_count = len(skin.uv), len(eyes[0][1])
    return FlameData(
        v_template=positions,
        faces=np.concatenate((skin.faces, eyes[0][2] + count, eyes[1][2] + count + eye_count)),
        shapedirs=shapedirs,
        posedirs=_pad_rows(make_pose_offsets(skin), 2 * eye_count),
        joint_regressor=make_joint_regressor(positions, count),
        weights=weights,
        uv=np.concatenate((skin.uv * (1, 1 - SKIN_FLOOR) + (0, SKIN_FLOOR), eyes[0][1], eyes[1][1])).clip(0, 1),
        uv_faces=np.concatenate((skin.uv_faces, eyes[0][2] + uv_count, eyes[1][2] + uv_count + eye_uv_count)),
        eyelids=_pad_rows(make_eyelid_offsets(skin), 2 * eye_count),
    )


def procedural_texture(size: int) -> Tensor:
    """Albedo of the head, whatever its resolution, over a UV map of size x size texels. Deterministic.

    Returns [T, T, 3] float32, RGB in [0, 1]; row 0 is at v = 0, the order of the binding's texels.
    """
    return torch.from_numpy(paint_texture(make_procedural_head(), size)).float()


def write_flame(data: FlameData, folder: Path) -> Path:
    """Write a head as FLAME's files: generic_model.pkl, flame_uv.npz, l_eyelid.npy, r_eyelid.npy. Returns the model's
    path.

    The pickle has protocol 2, as FLAME's, and holds numpy arrays alone. Raises OutputError.
    """
    folder = Path(folder)
    kintree = np.array((PARENTS, range(len(PARENTS)))).astype(
        np.uint32
    )  # the root's parent wraps to 4294967295, as FLAME's
    model = {
        "v_template": data.v_template,
        "f": data.faces.astype(np.uint32),
        "shapedirs": data.shapedirs,
        "posedirs": data.posedirs,
        "J_regressor": data.joint_regressor,
        "kintree_table": kintree,
        "weights": data.weights,
    }
    path = folder / "generic_model.pkl"
    write_bytes(path, pickle.dumps(model, protocol=2))
    with write_aside(folder / "flame_uv.npz") as partial:
        np.savez(partial, vt=data.uv, ft=data.uv_faces)
    for i, side in enumerate("lr"):
        with write_aside(folder / f"{side}_eyelid.npy") as partial:
            np.save(partial, data.eyelids[..., i])
    return path


def _eyeball(square: UvSquare) -> tuple[Floats, Floats, Ints]:
    """The seen part of an eyeball about its centre [n, 3], its UV disc [n, 2] (radius: the angle), its faces."""
    rings = np.arange(1, _EYE_RINGS + 1) / _EYE_RINGS
    angle, turn = np.meshgrid(rings, np.arange(_EYE_SECTORS) / _EYE_SECTORS * 2 * np.pi, indexing="ij")
    around = np.stack((np.cos(turn), np.sin(turn)), -1)
    polar = angle * EYE_SPAN
    ball = np.concatenate((np.sin(polar)[..., None] * around, np.cos(polar)[..., None]), -1).reshape(-1, 3)
    disc = (0.5 + 0.49 * angle[..., None] * around).reshape(-1, 2)
    grid = 1 + np.arange(ball.shape[0]).reshape(_EYE_RINGS, _EYE_SECTORS)
    following = np.roll(grid, -1, axis=1)
    tip = np.stack((np.zeros_like(grid[0]), grid[0], following[0]), -1)
    inner, outer, outer_next, inner_next = (
        part.ravel() for part in (grid[:-1], grid[1:], following[1:], following[:-1])
    )
    faces = (tip, np.stack((inner, outer, outer_next), -1), np.stack((inner, outer_next, inner_next), -1))
    positions = EYE_RADIUS * np.concatenate(((0, 0, 1), ball.ravel())).reshape(-1, 3)
    uv = np.concatenate(((0.5, 0.5), disc.ravel())).reshape(-1, 2)
    return positions, np.array((square.u, square.v)) + square.side * uv, np.concatenate(faces)


def _pad_rows(array: Floats, count: int) -> Floats:
    """Append rows of zeros."""
    return np.concatenate((array, np.zeros((count, *array.shape[1:]))))
