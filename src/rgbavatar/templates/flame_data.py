"""FLAME's files: what they hold, checked, as plain arrays.

Words: V vertices, F faces, Vt UV vertices, 5 joints. A *model file* is `generic_model.pkl` (2020) or `flame2023*.pkl`;
beside it lie `flame_uv.npz` and, optionally, `l_eyelid.npy` and `r_eyelid.npy`. Vertex counts are read, never assumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError
from rgbavatar.templates.array_pickle import load_array_pickle

NUM_SHAPE, NUM_EXPRESSION = 300, 100  # FLAME's shapedirs: first identity, then expression
PARENTS = (-1, 0, 1, 1, 1)  # root, neck, jaw, left eye, right eye: base.JOINT_NAMES
_JOINTS = len(PARENTS)
_POSE_FEATURES = 9 * (_JOINTS - 1)  # R - I of every joint but the root
_SLACK = 1e-3  # by how much a row of weights may miss 1, or a UV leave [0, 1]: files hold rounded numbers

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class FlameData:
    """A head model in FLAME's schema; metres, x to the head's left, y up, z out of the face.

    v_template [V, 3]; faces [F, 3]; shapedirs [V, 3, 400]: 300 identity then 100 expression offsets; posedirs [V, 3,
    36]: offsets for R - I of neck, jaw, left eye, right eye; joint_regressor [5, V]; weights [V, 5]; uv [Vt, 2] in [0,
    1], v up; uv_faces [F, 3]; eyelids [V, 3, 2]: offsets that close the left and the right eye, zero where the model
    has none.
    """

    v_template: Floats
    faces: Ints
    shapedirs: Floats
    posedirs: Floats
    joint_regressor: Floats
    weights: Floats
    uv: Floats
    uv_faces: Ints
    eyelids: Floats


def load_flame_data(model_path: Path, uv_path: Path | None = None) -> FlameData:
    """Read a FLAME model, its UV map (by default `flame_uv.npz` beside it) and, where present, the eyelids beside it.

    Raises TemplateError, one line that names the file, the key, what was found and what was expected. No code from the
    files is run.
    """
    model_path = Path(model_path)
    model = _read_model(model_path)
    uv, uv_faces = _read_uv(uv_path or model_path.with_name("flame_uv.npz"), model["f"])
    lids = [_read_eyelid(model_path.with_name(f"{side}_eyelid.npy"), len(model["v_template"])) for side in "lr"]
    return FlameData(
        v_template=model["v_template"],
        faces=model["f"].astype(np.int64),
        shapedirs=model["shapedirs"],
        posedirs=model["posedirs"],
        joint_regressor=model["J_regressor"],
        weights=model["weights"] / model["weights"].sum(1, keepdims=True),
        uv=uv,
        uv_faces=uv_faces,
        eyelids=np.stack(lids, -1),
    )


def _read_model(path: Path) -> dict[str, Floats]:
    """The arrays of a model file as float64, their shapes, values and meaning checked."""
    content = load_array_pickle(path)
    vertices = _shape_of(path, content, "v_template")[0]
    faces = _shape_of(path, content, "f")[0]
    expected = {
        "v_template": (vertices, 3),
        "f": (faces, 3),
        "shapedirs": (vertices, 3, NUM_SHAPE + NUM_EXPRESSION),
        "posedirs": (vertices, 3, _POSE_FEATURES),
        "J_regressor": (_JOINTS, vertices),
        "kintree_table": (2, _JOINTS),
        "weights": (vertices, _JOINTS),
    }
    model = {key: _take(path, content, key, shape) for key, shape in expected.items()}
    _check_indices(f"{path}: f", model["f"], vertices)
    _check_parents(path, model["kintree_table"])
    _check_sums(path, "weights", model["weights"])
    return model


def _shape_of(path: Path, content: Mapping[str, object], key: str) -> tuple[int, ...]:
    """Shape of an array of a model file that must not be empty nor a scalar."""
    value = content.get(key)
    if not isinstance(value, np.ndarray):
        found = "nothing" if value is None else f"a {type(value).__name__}"
        raise TemplateError(f"{path}: {key}: found {found}, expected an array; this is not a FLAME model")
    if value.ndim == 0 or value.size == 0:
        raise TemplateError(f"{path}: {key}: found an array of shape {value.shape}, expected entries")
    return value.shape


def _take(path: Path, content: Mapping[str, object], key: str, expected: tuple[int, ...]) -> Floats:
    """One array as float64, its shape as expected and its values finite."""
    found = _shape_of(path, content, key)
    if found != expected:
        hint = "this is not a FLAME model (5 joints, 300 + 100 coefficients)"
        raise TemplateError(f"{path}: {key}: found shape {found}, expected {expected}; {hint}")
    return _finite(f"{path}: {key}", np.asarray(content[key]))


def _finite(name: str, array: np.ndarray) -> Floats:
    """The array as float64; TemplateError where it is not made of finite real numbers."""
    if array.dtype.kind not in "fiu":
        raise TemplateError(f"{name}: found entries of type {array.dtype}, expected real numbers")
    values = np.ascontiguousarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise TemplateError(f"{name}: found NaN or infinity, expected finite numbers")
    return values


def _check_indices(name: str, indices: Floats, count: int) -> None:
    """Entries must be whole numbers that index `count` things."""
    if (indices != np.floor(indices)).any() or indices.min() < 0 or indices.max() >= count:
        span = f"{indices.min():g} to {indices.max():g}"
        raise TemplateError(f"{name}: found indices {span}, expected whole numbers from 0 to {count - 1}")


def _check_parents(path: Path, kintree: Floats) -> None:
    """The kinematic tree must be FLAME's: neck on the root, jaw and eyes on the neck."""
    found = tuple(int(parent) for parent in kintree[0, 1:])
    if found != PARENTS[1:]:
        raise TemplateError(
            f"{path}: kintree_table: found parents {found}, expected {PARENTS[1:]} for neck, jaw and eyes"
        )


def _check_sums(path: Path, key: str, rows: Floats) -> None:
    """Rows of affine weights must sum to 1."""
    worst = np.abs(rows.sum(1) - 1).max()
    if worst > _SLACK:
        raise TemplateError(f"{path}: {key}: found a row whose sum misses 1 by {worst:.3g}, expected at most {_SLACK}")


def _read_uv(path: Path, faces: Floats) -> tuple[Floats, Ints]:
    """UV vertices [Vt, 2] and faces [F, 3] of a `flame_uv.npz`."""
    if not path.is_file():
        raise TemplateError(
            f"{path}: no such file; the UV map (vt, ft) must lie beside the model: "
            "write it from FLAME's texture-space download, see data/README.md"
        )
    arrays = _load_numpy(path)
    missing = [key for key in ("vt", "ft") if key not in arrays]
    if missing:
        raise TemplateError(f"{path}: found the keys {sorted(arrays)}, expected vt and ft")
    uv, uv_faces = (_finite(f"{path}: {key}", arrays[key]) for key in ("vt", "ft"))
    if uv.ndim != 2 or uv.shape[1] != 2 or not uv.size or uv.min() < -_SLACK or uv.max() > 1 + _SLACK:
        raise TemplateError(f"{path}: vt: found shape {uv.shape}, expected (Vt, 2) with values in [0, 1]")
    if uv_faces.shape != faces.shape:
        raise TemplateError(
            f"{path}: ft: found shape {uv_faces.shape}, expected {faces.shape}, the shape of the model's f"
        )
    _check_indices(f"{path}: ft", uv_faces, len(uv))
    return uv.clip(0, 1), uv_faces.astype(np.int64)


def _read_eyelid(path: Path, vertices: int) -> Floats:
    """Offsets [V, 3] that close one eye; zeros where there is no such file."""
    if not path.is_file():
        return np.zeros((vertices, 3))
    offsets = _finite(str(path), _load_numpy(path)[""])
    if offsets.shape != (vertices, 3):
        raise TemplateError(
            f"{path}: found shape {offsets.shape}, expected {(vertices, 3)}, one offset for each vertex"
        )
    return offsets


def _load_numpy(path: Path) -> dict[str, np.ndarray]:
    """Arrays of an .npz by name, or the one of an .npy under the empty name. Objects are refused."""
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return {"": content}
        with content:
            return dict(content)
    except Exception as error:  # np.load raises many kinds on broken files: zip, header, size, end of file
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TemplateError(f"{path}: cannot be read as numpy arrays: {reason}") from error
