"""The avatar as a table of Gaussians for other programs: one .ply file in the schema of published avatars.

N Gaussians, K bases. The properties of a Gaussian, in order:

    x y z                             mean in its triangle's frame, metres
    nx ny nz                          zeros, which viewers of splats expect
    f_dc_0..2                         degree-0 spherical harmonic of the colour; no f_rest
    opacity                           logit
    scale_0..2                        natural logarithm of metres
    rot_0..3                          quaternion WXYZ
    xyz_b_i rot_b_i f_dc_b_i          offsets of the bases, basis-major: i = k * width + component
    weight_module                     the coefficient network's weights, flattened, in its first rows, then zeros
    face_id face_bary_0..2            the triangle (int) and the barycentric coordinates in it

Where the network has more than N weights it goes on in the columns weight_module_1, weight_module_2, ...; the number of weights
is in the comment `weight_module_count`. A reader that knows only weight_module sees the first N of them.

Where the code is brought within limits before it enters the network, comments `code_low` and `code_high` have them, a number for
each entry. Published avatars have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rgbavatar.errors import DataError
from rgbavatar.io.ply import PlyTable, read_ply, write_ply

_COUNT_COMMENT = "weight_module_count"
_LIMIT_COMMENTS = ("code_low", "code_high")
_BARYCENTRIC_TOLERANCE = 1e-3  # of their sum; float32 rounding is 1e-7, the rest is for other writers


@dataclass(frozen=True)
class AvatarTable:
    """An avatar's arrays: float32, before activation, as the model keeps them.

    mean [N, 3] metres; rotation [N, 4] WXYZ; sh [N, 3]; opacity_logit [N]; log_scale [N, 3];
    basis_mean [K, N, 3]; basis_rotation [K, N, 4]; basis_sh [K, N, 3]; network [M]: the coefficient network, flattened;
    face [N] int32; barycentric [N, 3]. code_limits [2, C]: the least and the largest code that the network takes; None: any.
    """

    mean: np.ndarray
    rotation: np.ndarray
    sh: np.ndarray
    opacity_logit: np.ndarray
    log_scale: np.ndarray
    basis_mean: np.ndarray
    basis_rotation: np.ndarray
    basis_sh: np.ndarray
    network: np.ndarray
    face: np.ndarray
    barycentric: np.ndarray
    code_limits: np.ndarray | None = None


def export_avatar_ply(path: Path, table: AvatarTable) -> None:
    """Write `table` to `path` aside. Raises OutputError; ValueError when the arrays do not fit each other."""
    _check_table(table)
    columns = {
        **_gaussian_columns(table),
        **_network_columns(table.network, len(table.mean)),
        **_binding_columns(table),
    }
    write_ply(path, columns, (f"{_COUNT_COMMENT} {table.network.size}", *_limit_comments(table)))


def read_avatar_ply(path: Path) -> AvatarTable:
    """Read what export_avatar_ply wrote, or a published avatar.

    A file without the count of weights gives all rows of weight_module, trailing zeros included. Raises DataError.
    """
    table = read_ply(path)
    columns = _Columns(path, table.columns)
    avatar = AvatarTable(
        mean=columns.stack(("x", "y", "z")),
        rotation=columns.stack(_numbered("rot", 4)),
        sh=columns.stack(_numbered("f_dc", 3)),
        opacity_logit=columns.stack(("opacity",))[:, 0],
        log_scale=columns.stack(_numbered("scale", 3)),
        basis_mean=columns.stack_basis("xyz_b", 3),
        basis_rotation=columns.stack_basis("rot_b", 4),
        basis_sh=columns.stack_basis("f_dc_b", 3),
        network=_read_network(path, table, columns),
        face=_read_faces(path, columns),
        barycentric=columns.stack(_numbered("face_bary", 3)),
        code_limits=_read_limits(path, table),
    )
    return _check_read(path, avatar)


def _gaussian_columns(table: AvatarTable) -> dict[str, np.ndarray]:
    normals = np.zeros_like(table.mean)
    return {
        **_unstack(("x", "y", "z"), table.mean),
        **_unstack(("nx", "ny", "nz"), normals),
        **_unstack(_numbered("f_dc", 3), table.sh),
        "opacity": table.opacity_logit,
        **_unstack(_numbered("scale", 3), table.log_scale),
        **_unstack(_numbered("rot", 4), table.rotation),
        **_unstack_basis("xyz_b", table.basis_mean),
        **_unstack_basis("rot_b", table.basis_rotation),
        **_unstack_basis("f_dc_b", table.basis_sh),
    }


def _binding_columns(table: AvatarTable) -> dict[str, np.ndarray]:
    return {"face_id": table.face, **_unstack(_numbered("face_bary", 3), table.barycentric)}


def _network_columns(network: np.ndarray, count: int) -> dict[str, np.ndarray]:
    """Cut the weights into columns of `count` rows, the last one filled up with zeros."""
    pieces = max(1, -(-network.size // count))
    filled = np.zeros(pieces * count, np.float32)
    filled[: network.size] = network
    return dict(zip(_network_names(pieces), filled.reshape(pieces, count), strict=True))


def _network_names(pieces: int) -> tuple[str, ...]:
    return ("weight_module", *(f"weight_module_{i}" for i in range(1, pieces)))


def _numbered(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}_{i}" for i in range(count))


def _unstack(names: tuple[str, ...], values: np.ndarray) -> dict[str, np.ndarray]:
    return dict(zip(names, values.T, strict=True))


def _unstack_basis(prefix: str, basis: np.ndarray) -> dict[str, np.ndarray]:
    """basis [K, N, D] → columns [N], i = k D + d; they show the same memory."""
    bases, _, width = basis.shape
    columns = [basis[k, :, d] for k in range(bases) for d in range(width)]
    return dict(zip(_numbered(prefix, bases * width), columns, strict=True))


@dataclass(frozen=True)
class _Columns:
    """The columns of a file, by name, with errors that name the file."""

    path: Path
    columns: Mapping[str, np.ndarray]

    def stack(self, names: tuple[str, ...]) -> np.ndarray:
        """[N, len(names)] float32."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            raise DataError(
                f"{self.path}: property {missing[0]!r} is missing; expected an avatar's table, export it again"
            )
        return np.stack([self.columns[name].astype(np.float32, copy=False) for name in names], axis=1)

    def stack_basis(self, prefix: str, width: int) -> np.ndarray:
        """[K, N, width] float32, with K as many as there are columns."""
        count = sum(name.startswith(f"{prefix}_") for name in self.columns)
        if count == 0 or count % width:
            raise DataError(
                f"{self.path}: {count} properties {prefix}_*, expected a multiple of {width}; export it again"
            )
        stacked = self.stack(_numbered(prefix, count))
        return np.ascontiguousarray(stacked.reshape(-1, count // width, width).transpose(1, 0, 2))


def _limit_comments(table: AvatarTable) -> list[str]:
    if table.code_limits is None:
        return []
    rows = table.code_limits.astype(np.float64).tolist()
    return [" ".join([name, *map(repr, row)]) for name, row in zip(_LIMIT_COMMENTS, rows, strict=True)]


def _read_limits(path: Path, table: PlyTable) -> np.ndarray | None:
    words = [text.split() for text in table.comments]
    found = [[line[1:] for line in words if line[:1] == [name]] for name in _LIMIT_COMMENTS]
    if not any(found):
        return None
    try:
        low, high = (np.array([float(word) for word in line], np.float32) for [line] in found)
        if low.shape == high.shape and (low <= high).all():
            return np.stack([low, high])
    except ValueError:  # not one line each, or no numbers
        pass
    names = " and ".join(_LIMIT_COMMENTS)
    raise DataError(
        f"{path}: the comments {names} are wrong: expected one of each, with as many numbers, none above its other"
    )


def _read_network(path: Path, table: PlyTable, columns: _Columns) -> np.ndarray:
    pieces = sum(name.startswith("weight_module") for name in table.columns)
    network = columns.stack(_network_names(max(pieces, 1))).T.reshape(-1)
    counts = [text.split()[1:] for text in table.comments if text.split()[:1] == [_COUNT_COMMENT]]
    if not counts:
        return network
    if len(counts) != 1 or len(counts[0]) != 1 or not counts[0][0].isdecimal() or int(counts[0][0]) > network.size:
        raise DataError(f"{path}: the comment {_COUNT_COMMENT} is wrong: expected a number up to {network.size}")
    return network[: int(counts[0][0])].copy()


def _read_faces(path: Path, columns: _Columns) -> np.ndarray:
    """face_id as int32; other writers store it as a float."""
    columns.stack(("face_id",))
    found = columns.columns["face_id"]
    with np.errstate(invalid="ignore"):
        faces = found.astype(np.int32)
    if not np.array_equal(faces, found) or (faces < 0).any():
        raise DataError(f"{path}: face_id holds something else than whole numbers from 0 on; export it again")
    return faces


def _check_read(path: Path, table: AvatarTable) -> AvatarTable:
    try:
        _check_table(table)
    except ValueError as error:
        raise DataError(f"{path}: {error}; export it again") from error
    return table


def _check_table(table: AvatarTable) -> None:
    """Raise ValueError unless the arrays have their shapes and types, finite values and barycentric coordinates."""
    count, bases = len(table.mean), len(table.basis_mean)
    shapes = {
        "mean": (count, 3), "rotation": (count, 4), "sh": (count, 3), "opacity_logit": (count,), "log_scale": (count, 3),
        "basis_mean": (bases, count, 3), "basis_rotation": (bases, count, 4), "basis_sh": (bases, count, 3),
        "network": (table.network.size,), "face": (count,), "barycentric": (count, 3),
    }  # fmt: skip
    if count == 0:
        raise ValueError("there are no Gaussians")
    if table.code_limits is not None:
        shapes["code_limits"] = (2, table.code_limits.size // 2)
    for name, shape in shapes.items():
        _check_array(name, getattr(table, name), shape)
    if (np.abs(table.barycentric.sum(axis=1) - 1.0) > _BARYCENTRIC_TOLERANCE).any():
        raise ValueError("barycentric coordinates do not sum to 1")


def _check_array(name: str, array: np.ndarray, shape: tuple[int, ...]) -> None:
    dtype = np.dtype(np.int32 if name == "face" else np.float32)
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(f"{name} is {array.dtype} {list(array.shape)}, expected {dtype} {list(shape)}")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} holds a value that is not finite")
