"""Arrays out of a pickle, without running anything the pickle names.

Model files are pickles from the days of Python 2: a dict of numpy arrays, chumpy arrays (a retired autodiff library)
and a scipy CSC matrix. A pickle is a program: GLOBAL looks up a name, REDUCE calls it, BUILD sets its state. Here the
only names that exist are the *stand-ins* of this module. None of them is numpy's, scipy's or chumpy's: each only keeps
what it is given, and the arrays are made from that at the end, by `_resolve`. So a hostile file can reach nothing, the
memory used is bounded by the file's size, and neither scipy nor chumpy is needed.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path

import numpy as np

from rgbavatar.errors import TemplateError
from rgbavatar.templates.pickle_scan import scan_pickle

_ARRAY_TYPES = frozenset(
    ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8")
)  # no objects, no strings
_MAX_DENSE = 1 << 27  # entries of a sparse matrix made dense, 1 GiB of float64; FLAME's joint regressor has 25 thousand


class _Refused(Exception):
    """What the file asks for is not what an array needs."""


class _Function:
    """A name the pickle may call. It has no attributes that BUILD could set."""

    __slots__ = ("_body",)

    def __init__(self, body: Callable[..., object]) -> None:
        self._body = body

    def __call__(self, *arguments: object) -> object:
        return self._body(*arguments)

    def __setstate__(self, state: object) -> None:
        raise _Refused("a function whose state is set")


class _StandIn:
    """An object of a class the pickle may name: keeps its state and does nothing."""

    __slots__ = ("state",)
    state: object

    def __init__(self, *arguments: object) -> None:
        self.state = arguments

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Object(_StandIn):
    """builtins.object, which old pickles name as the base of what they rebuild."""

    __slots__ = ()


class _Array(_StandIn):
    """numpy.ndarray. Its state: version, shape, dtype, Fortran order, bytes."""

    __slots__ = ()


class _Dtype(_StandIn):
    """numpy.dtype. `code`: its constructor's first argument; its state: version, byte order, and what numbers lack."""

    __slots__ = ("code",)

    def __init__(self, code: object, *flags: object) -> None:
        super().__init__()
        self.code = code


class _Scalar(_StandIn):
    """A numpy scalar. Its state: dtype and bytes."""

    __slots__ = ()


class _ChumpyArray(_StandIn):
    """chumpy.ch.Ch. Its state is a dict; x is the array."""

    __slots__ = ()


class _ChumpySelection(_StandIn):
    """chumpy.reordering.Select, a slice of another. Its state is a dict: a, flat indices idxs, preferred_shape."""

    __slots__ = ()


class _SparseColumns(_StandIn):
    """scipy.sparse.csc_matrix. Its state is a dict: _shape, data, indices (rows), indptr."""

    __slots__ = ()


def _encode(text: object, codec: object = "latin1") -> bytes:
    """_codecs.encode: how Python 3 spells bytes in the old protocols."""
    if not isinstance(text, str) or codec not in ("latin1", "latin-1"):
        raise _Refused(f"the codec {codec!r}")
    return text.encode("latin1")


def _rebuild(kind: object, base: object, state: object) -> object:
    """copy_reg._reconstructor: an empty object of a class, in protocols 0 and 1."""
    if not (isinstance(kind, type) and issubclass(kind, _StandIn) and base is _Object):
        raise _Refused("an object of a class that holds no array")
    return kind()


@cache
def _admitted_names() -> Mapping[tuple[str, str], object]:
    """All names a pickle may look up, each with its stand-in."""
    names: dict[tuple[str, str], object] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("chumpy.ch", "Ch"): _ChumpyArray,
        ("chumpy.reordering", "Select"): _ChumpySelection,
        ("_codecs", "encode"): _Function(_encode),
    }
    for module in ("numpy.core.multiarray", "numpy._core.multiarray"):
        names[module, "_reconstruct"] = _Function(lambda kind, shape, code: _Array())
        names[module, "scalar"] = _Function(_Scalar)
    for module in ("scipy.sparse.csc", "scipy.sparse._csc"):
        names[module, "csc_matrix"] = _SparseColumns
    for module in ("__builtin__", "builtins"):
        names[module, "object"] = _Object
        names[module, "set"] = _Function(lambda items=(): None)  # chumpy's bookkeeping, of no use here
    for module in ("copy_reg", "copyreg"):
        names[module, "_reconstructor"] = _Function(_rebuild)
    return names


class _ArrayUnpickler(pickle.Unpickler):
    """Unpickles over the stand-ins alone."""

    def find_class(self, module: str, name: str) -> object:
        """The stand-in of a name; any other name is refused."""
        try:
            return _admitted_names()[module, name]
        except KeyError:
            raise _Refused(f"the name {module}.{name}") from None


def load_array_pickle(path: Path) -> dict[str, object]:
    """Read a pickled dict of arrays and plain values; chumpy and scipy arrays come as dense numpy arrays.

    Raises TemplateError, one line that names the file, where it is missing, not such a pickle, or asks for any name
    that arrays do not need.
    """
    try:
        data = Path(path).read_bytes()
    except OSError as error:
        raise TemplateError(
            f"{path}: cannot be read: {error.strerror or error}; see data/README.md for the model files"
        ) from error
    try:
        return _load(data)
    except _Refused as refusal:
        raise TemplateError(
            f"{path}: refused: it holds {refusal}, expected nothing but arrays; do not trust this file"
        ) from None
    except Exception as error:  # a broken pickle fails in about any way: end of file, key, type, index, value, memory
        reason = " ".join(str(error).split()) or type(error).__name__
        raise TemplateError(
            f"{path}: not a readable model pickle (truncated, or another kind of file): {reason}"
        ) from error


def _load(data: bytes) -> dict[str, object]:
    """The dict that a pickle describes, its values resolved."""
    content = _unpickle(data)
    if not isinstance(content, dict):
        raise TypeError(f"found a {type(content).__name__.strip('_').lower()}, expected a dict of arrays")
    return {str(key): _resolve(value) for key, value in content.items()}


def unpickle_nested_arrays(data: bytes) -> object:
    """What a pickle of dicts, plain values and arrays holds, its arrays as numpy's. Raises any error where it holds more."""
    return _resolve_nested(_unpickle(data))


def _resolve_nested(value: object) -> object:
    if isinstance(value, dict):
        return {key: _resolve_nested(item) for key, item in value.items()}
    return _resolve(value)


def _unpickle(data: bytes) -> object:
    """What a pickle describes, stand-ins in the place of arrays."""
    _, index = scan_pickle(data)
    if index > max(len(data), 255):  # no writer needs it
        raise _Refused(f"the memo index {index}")
    return _ArrayUnpickler(io.BytesIO(data), encoding="latin1").load()


def _resolve(value: object) -> object:
    """The array that a stand-in describes; anything else as it is."""
    if isinstance(value, _Array):
        return _array(value)
    if isinstance(value, _Scalar):
        return _scalar(value)
    if isinstance(value, _ChumpyArray):
        return _resolve(_entry(value, "x"))
    if isinstance(value, _ChumpySelection):
        return _select(value)
    return _densify(value) if isinstance(value, _SparseColumns) else value


def _entry(value: _StandIn, key: str) -> object:
    """One entry of a stand-in whose state is a dict."""
    if not isinstance(value.state, dict) or key not in value.state:
        raise ValueError(f"{type(value).__name__.strip('_')} without its entry {key}")
    return value.state[key]


def _numbers(value: object) -> np.ndarray:
    """A resolved value that must be an array."""
    array = _resolve(value)
    if not isinstance(array, np.ndarray):
        raise TypeError(f"found a {type(array).__name__}, expected an array")
    return array


def _numpy_type(value: object) -> np.dtype:
    """The dtype that a stand-in describes: booleans, whole and real numbers only."""
    code = value.code if isinstance(value, _Dtype) else None
    name = "?" if code in ("b1", "?") else str(code)
    if not isinstance(value, _Dtype) or name not in _ARRAY_TYPES:
        raise _Refused(f"an array of type {code!r}")
    order = value.state[1] if isinstance(value.state, tuple) and len(value.state) > 1 else "="
    return np.dtype(f">{name}") if order == ">" else np.dtype(name).newbyteorder("<")


def _bytes(value: object) -> bytes:
    """Raw memory: bytes, or the text that Python 2's byte strings become under latin1."""
    if not isinstance(value, (bytes, str)):
        raise TypeError(f"array memory is a {type(value).__name__}, expected bytes")
    return value if isinstance(value, bytes) else value.encode("latin1")


def _array(value: _Array) -> np.ndarray:
    """numpy.ndarray from its state. The bytes must fill the shape exactly."""
    if not isinstance(value.state, tuple) or len(value.state) != 5:
        raise ValueError("an array without its state")
    _, shape, dtype, fortran, raw = value.state
    if not isinstance(shape, tuple) or not all(isinstance(size, int) and size >= 0 for size in shape):
        raise ValueError(f"an array of shape {shape!r}")
    flat = np.frombuffer(_bytes(raw), _numpy_type(dtype))
    return (flat.reshape(shape[::-1]).T if fortran else flat.reshape(shape)).copy()


def _scalar(value: _Scalar) -> np.ndarray:
    """numpy scalar from its dtype and bytes, as an array without axes."""
    if not isinstance(value.state, tuple) or len(value.state) != 2:
        raise ValueError("a scalar without its value")
    dtype, raw = value.state
    return np.frombuffer(_bytes(raw), _numpy_type(dtype)).reshape(())


def _select(value: _ChumpySelection) -> np.ndarray:
    """Entries of another chumpy array by flat index, in the shape the slice had."""
    flat = _numbers(_entry(value, "a")).ravel()[_numbers(_entry(value, "idxs"))]
    shape = _entry(value, "preferred_shape")
    return flat if shape is None else flat.reshape(shape)


def _densify(value: _SparseColumns) -> np.ndarray:
    """Dense matrix of compressed columns: column c holds entries indptr[c] to indptr[c + 1]; equal places add up."""
    state = value.state if isinstance(value.state, dict) else {}
    rows, columns = state["_shape"] if "_shape" in state else _entry(value, "shape")  # type: ignore[misc]
    data, row, start = (_numbers(_entry(value, key)) for key in ("data", "indices", "indptr"))
    if rows * columns > _MAX_DENSE:
        raise _Refused(f"a sparse matrix of {rows} x {columns}")
    if len(start) != columns + 1 or start[-1] != len(data) or len(row) != len(data) or (np.diff(start) < 0).any():
        raise ValueError(f"a sparse matrix of {rows} x {columns} whose parts do not fit each other")
    dense = np.zeros((rows, columns), data.dtype)
    np.add.at(dense, (row, np.repeat(np.arange(columns), np.diff(start))), data)
    return dense
