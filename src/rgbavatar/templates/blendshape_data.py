"""The file of a blendshape template: one `.npz` archive of numpy arrays, which any program with numpy can write.

V vertices, F triangles, Vt UV vertices, E expressions, S identity modes. *Template space* is that of the neutral mesh: x to the
head's own left, y up, z out of the face, metres. A *delta* is by how much each vertex moves, in metres, where its coefficient is
1. The arrays:

    format                        text "rgbavatar blendshape template"
    version                       1
    neutral [V, 3]                the mesh at rest, of the mean person
    faces [F, 3]                  vertices of each triangle, counter-clockwise from outside
    uv [Vt, 2]                    in [0, 1], u to the right, v up
    uv_faces [F, 3]               UV vertices of each triangle, corner by corner those of `faces`
    expression [E, V, 3]          deltas of the coefficients that change from frame to frame
    expression_names [E]          text
  and, where the template has them,
    identity [S, V, 3]            deltas of the coefficients that a person keeps
    identity_names [S]            text; without them the modes are numbered
    eye_centers [2, 3]            of the left and the right eyeball in the neutral mesh
    eye_centers_identity [S, 2, 3]   deltas of these
    eye_weights [V, 2]            how far each vertex turns with the left and the right eye, 0 to 1
    pivot [3]                     what the head turns about, the top of the neck; without it, the origin
    head_weights [V]              how far each vertex turns with the head, 0 to 1; those of 0 (shoulders) only move with the
                                  pivot; without it, all turn

Floating-point arrays may be of 16, 32 or 64 bits; 16 bits place a delta of a centimetre to 4 microns. `np.savez_compressed`
packs the zeros of a dense table of deltas to nothing, so there is no sparse form.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError
from rgbavatar.io.files import write_aside

FORMAT, VERSION = "rgbavatar blendshape template", 1
SUFFIX = ".npz"
_SLACK = 1e-3  # by how much a UV may leave [0, 1]: files hold rounded numbers
_REQUIRED = ("neutral", "faces", "uv", "uv_faces", "expression", "expression_names")
_EYES = ("eye_centers", "eye_weights")
_METRES = (0.05, 1.5)  # least and largest height of a head's mesh, with or without shoulders
_HINT = "see the head of rgbavatar/templates/blendshape_data.py for the arrays of such a file"

Floats = NDArray[np.floating]
Ints = NDArray[np.int64]
Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class EyeJoints:
    """Two rigid eyeballs, left and right. centers [2, 3] metres; identity [S, 2, 3]: their deltas; weights [V, 2]."""

    centers: Floats
    identity: Floats
    weights: Floats


@dataclass(frozen=True)
class BlendshapeData:
    """The arrays of a template, as the module's head lists them. Deltas keep the type that they were stored in."""

    neutral: Floats
    faces: Ints
    uv: Floats
    uv_faces: Ints
    expression: Floats
    expression_names: tuple[str, ...]
    identity: Floats
    identity_names: tuple[str, ...]
    eyes: EyeJoints | None
    pivot: Floats
    head_weights: Floats


def load_blendshape_data(path: Path) -> BlendshapeData:
    """Read and check a template's file. Raises TemplateError, one line that names the file, the key and what was expected."""
    arrays = _load(path)
    neutral = _floats(path, arrays, "neutral", (None, 3)).astype(np.float64)
    vertices, faces = len(neutral), _indices(path, arrays, "faces", None, len(neutral))
    uv = _floats(path, arrays, "uv", (None, 2)).astype(np.float64)
    expression = _floats(path, arrays, "expression", (None, vertices, 3))
    all_turn: Arrays = {"head_weights": np.ones(vertices)}
    origin: Arrays = {"pivot": np.zeros(3)}
    empty: Arrays = {"identity": np.zeros((0, vertices, 3), np.float32)}
    identity = _floats(path, empty | arrays, "identity", (None, vertices, 3), can_be_empty=True)
    data = BlendshapeData(
        neutral=neutral,
        faces=faces,
        uv=uv.clip(0, 1),
        uv_faces=_indices(path, arrays, "uv_faces", len(faces), len(uv)),
        expression=expression,
        expression_names=_names(path, arrays, "expression_names", len(expression)),
        identity=identity,
        identity_names=_identity_names(path, arrays, len(identity)),
        eyes=_eyes(path, arrays, len(identity), vertices),
        pivot=_floats(path, origin | arrays, "pivot", (3,)).astype(np.float64),
        head_weights=_shares(path, all_turn | arrays, "head_weights", (vertices,)),
    )
    _check_uv(path, uv)
    _check_size(path, neutral)
    return data


def write_blendshape_data(path: Path, data: BlendshapeData) -> None:
    """Write a template's file aside, deltas in the type that they have. Raises OutputError."""
    arrays: Arrays = {
        "format": np.array(FORMAT),
        "version": np.array(VERSION),
        "neutral": data.neutral,
        "faces": data.faces.astype(np.int32),
        "uv": data.uv,
        "uv_faces": data.uv_faces.astype(np.int32),
        "expression": data.expression,
        "expression_names": np.array(data.expression_names),
        "pivot": data.pivot,
    }
    if len(data.identity):
        arrays |= {"identity": data.identity, "identity_names": np.array(data.identity_names)}
    if data.eyes is not None:
        arrays |= {"eye_centers": data.eyes.centers, "eye_weights": data.eyes.weights.astype(np.float32)}
    if data.eyes is not None and len(data.identity):
        arrays |= {"eye_centers_identity": data.eyes.identity}
    if (data.head_weights < 1).any():
        arrays |= {"head_weights": data.head_weights.astype(np.float32)}
    with write_aside(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _load(path: Path) -> Arrays:
    """The arrays of the file, its format and version checked. Objects are refused."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        reason = error.strerror or " ".join(str(error).split())
        raise TemplateError(f"{path}: cannot be read: {reason}; expected a blendshape template; {_HINT}") from error
    except Exception as error:  # np.load raises many kinds on broken files: zip, header, size, end of file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TemplateError(f"{path}: holds no numpy arrays ({reason}), expected a blendshape template") from error
    found = tuple(str(arrays.get(key, "nothing")) for key in ("format", "version"))
    if found != (FORMAT, str(VERSION)):
        raise TemplateError(
            f"{path}: format and version are {found[0]!r} and {found[1]}, expected {FORMAT!r} and {VERSION}; {_HINT}"
        )
    missing = [key for key in _REQUIRED if key not in arrays]
    if missing:
        raise TemplateError(f"{path}: found no {' and no '.join(missing)}, expected an array of each; {_HINT}")
    return arrays


def _shaped(
    path: Path, arrays: Arrays, key: str, shape: Sequence[int | None], can_be_empty: bool = False
) -> np.ndarray:
    """The array at a key, its shape as expected; None: any size, at least 1 where it cannot be empty."""
    array = arrays[key]
    fits = array.ndim == len(shape) and all(
        found == size or (size is None and (found > 0 or can_be_empty))
        for found, size in zip(array.shape, shape, strict=True)
    )
    if not fits:
        wanted = ", ".join("any" if size is None else str(size) for size in shape)
        raise TemplateError(f"{path}: {key} has shape {array.shape}, expected ({wanted}); {_HINT}")
    return array


def _floats(path: Path, arrays: Arrays, key: str, shape: Sequence[int | None], can_be_empty: bool = False) -> Floats:
    """An array of finite real numbers. Integers become float64."""
    array = _shaped(path, arrays, key, shape, can_be_empty)
    if array.dtype.kind not in "fiu":
        raise TemplateError(f"{path}: {key} has entries of type {array.dtype}, expected real numbers")
    if not np.isfinite(array).all():
        raise TemplateError(f"{path}: {key} holds NaN or infinity, expected finite numbers")
    return np.ascontiguousarray(array if array.dtype.kind == "f" else array.astype(np.float64))


def _indices(path: Path, arrays: Arrays, key: str, rows: int | None, count: int) -> Ints:
    """Triangles [rows, 3] whose entries index `count` things."""
    array = _shaped(path, arrays, key, (rows, 3))
    if array.dtype.kind not in "iu" or array.min() < 0 or array.max() >= count:
        span = f"{array.dtype} from {array.min()} to {array.max()}"
        raise TemplateError(f"{path}: {key} holds {span}, expected whole numbers from 0 to {count - 1}")
    return array.astype(np.int64)


def _names(path: Path, arrays: Arrays, key: str, count: int) -> tuple[str, ...]:
    """Text, each once."""
    array = _shaped(path, arrays, key, (count,), can_be_empty=True)
    if array.dtype.kind != "U":
        raise TemplateError(f"{path}: {key} has entries of type {array.dtype}, expected text")
    names = tuple(array.tolist())
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise TemplateError(f"{path}: {key} names {twice[0]!r} twice, expected each name once")
    return names


def _identity_names(path: Path, arrays: Arrays, count: int) -> tuple[str, ...]:
    if "identity_names" in arrays:
        return _names(path, arrays, "identity_names", count)
    return tuple(f"identity{i:03d}" for i in range(count))


def _eyes(path: Path, arrays: Arrays, modes: int, vertices: int) -> EyeJoints | None:
    """The eye joints, None where the file has none. Raises TemplateError where it has half of them."""
    if not any(key in arrays for key in _EYES):
        return None
    missing = [key for key in _EYES if key not in arrays]
    if missing:
        raise TemplateError(f"{path}: found no {missing[0]}, expected both of {' and '.join(_EYES)}, or neither")
    weights = _shares(path, arrays, "eye_weights", (vertices, 2))
    centers = _floats(path, arrays, "eye_centers", (2, 3)).astype(np.float64)
    if centers[0, 0] <= centers[1, 0]:
        raise TemplateError(
            f"{path}: eye_centers has the first eye at x = {centers[0, 0]:.4g}, the second at {centers[1, 0]:.4g}; expected "
            f"the head's own left first, x growing to its left"
        )
    none: Arrays = {"eye_centers_identity": np.zeros((modes, 2, 3))}
    identity = _floats(path, none | arrays, "eye_centers_identity", (modes, 2, 3), can_be_empty=True)
    return EyeJoints(centers, identity.astype(np.float64), weights)


def _shares(path: Path, arrays: Arrays, key: str, shape: Sequence[int | None]) -> Floats:
    """Weights in [0, 1], float64."""
    weights = _floats(path, arrays, key, shape).astype(np.float64)
    if weights.min() < -_SLACK or weights.max() > 1 + _SLACK:
        raise TemplateError(f"{path}: {key} goes from {weights.min():.4g} to {weights.max():.4g}, expected [0, 1]")
    return weights.clip(0, 1)


def _check_uv(path: Path, uv: Floats) -> None:
    if uv.min() < -_SLACK or uv.max() > 1 + _SLACK:
        raise TemplateError(f"{path}: uv goes from {uv.min():.4g} to {uv.max():.4g}, expected values in [0, 1]")


def _check_size(path: Path, neutral: Floats) -> None:
    """Raise TemplateError where the mesh cannot be a head in metres with y up."""
    height = float(np.ptp(neutral[:, 1]))
    if not _METRES[0] <= height <= _METRES[1]:
        raise TemplateError(
            f"{path}: neutral is {height:.4g} high (y), expected {_METRES[0]} to {_METRES[1]}: a head in metres, y up"
        )
