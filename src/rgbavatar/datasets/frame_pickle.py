"""Arrays out of a torch file, without running anything that the file names.

A file of arrays alone is read by the restricted unpickler of `array_pickle`. Any other goes through torch's, which takes ten
times as long, knows tensors, and says what is wrong. `weights_only=True` lets a pickle call admitted names alone. The numpy
names that arrays need are admitted as *stand-ins*, which keep what they are given: numpy's own would trust a hostile dtype's
flags with memory. Arrays are made from that by `as_numbers`, for the entries that are asked for.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from rgbavatar.errors import DataError
from rgbavatar.templates.array_pickle import unpickle_nested_arrays
from rgbavatar.templates.pickle_scan import scan_pickle

NUMBER_TYPES = frozenset(("?", "b1", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"))
_ZIP_MAGIC = b"PK"
_HINT = "expected a .frame file of metrical-tracker; track the video again"


class _Array:
    """numpy.ndarray. Its state: version, shape, dtype, Fortran order, bytes."""

    state: object = None

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Dtype:
    """numpy.dtype, made from a code such as f4. Its state: version, byte order, and what numbers lack."""

    code: object = None
    state: object = None

    def __init__(self, code: object, *flags: object) -> None:
        self.code = code

    def __setstate__(self, state: object) -> None:
        self.state = state


class _Scalar:
    """A numpy scalar: dtype and bytes."""

    def __init__(self, dtype: object, raw: object) -> None:
        self.array = _Array()
        self.array.state = (1, (), dtype, False, raw)


def _reconstruct(kind: object, shape: object, code: object) -> _Array:
    """The empty array that a pickle makes before it sets its state."""
    return _Array()


def _empty_bytes() -> bytes:
    """The data of an empty array, which protocol 2 writes as a call of `bytes`; with an argument it is refused."""
    return b""


_ADMITTED: list[Callable[..., object] | tuple[Callable[..., object], str]] = [
    (_Array, "numpy.ndarray"),
    (_Dtype, "numpy.dtype"),
    (_reconstruct, "numpy.core.multiarray._reconstruct"),  # numpy 1
    (_reconstruct, "numpy._core.multiarray._reconstruct"),  # numpy 2
    (_Scalar, "numpy.core.multiarray.scalar"),
    (_Scalar, "numpy._core.multiarray.scalar"),
    (_empty_bytes, "builtins.bytes"),
]


def load_content(path: Path) -> Mapping[str, object]:
    """Read a torch file of nested dicts; `as_numbers` makes arrays of what it holds. Raises DataError naming the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path}: found {error.strerror or error}, expected a file that can be read; check it"
        ) from error
    try:
        content = unpickle_nested_arrays(_find_pickle(data))
    except Exception:  # tensors, names that are not admitted, damage of any kind
        content = _load_with_torch(path, data)
    if not isinstance(content, Mapping):
        raise DataError(f"{path}: found a {type(content).__name__}, a dict was expected; {_HINT}")
    return content


def _find_pickle(data: bytes) -> bytes:
    """The pickle of a torch file's content. Raises any error where there is none, or its checksum is wrong.

    The legacy container is a row of pickles: a magic number, a version, the machine that wrote it, the content, and more.
    """
    if data[:2] != _ZIP_MAGIC:
        start = 0
        for _ in range(3):
            start, _index = scan_pickle(data, start)
        return data[start:]
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))


def _load_with_torch(path: Path, data: bytes) -> object:
    """What torch reads, with stand-ins of this module in the place of arrays. Raises DataError."""
    try:
        with torch.serialization.safe_globals(_ADMITTED):
            return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged or hostile pickle can raise anything
        raise DataError(f"{path}: {_explain_refusal(error)}; {_HINT}") from error


def _explain_refusal(error: Exception) -> str:
    """What was found in a file that torch would not load, in a few words."""
    refused = re.search(r"GLOBAL (\S+)", str(error))
    if refused:
        return f"found a pickle that asks for {refused.group(1)}, which was refused and not executed"
    return f"found no readable torch file ({type(error).__name__})"


def as_numbers(value: object) -> np.ndarray:
    """An array or tensor of a torch file as float64. Raises TypeError or ValueError, saying what it is instead."""
    if isinstance(value, np.ndarray):
        return value.astype(np.float64)
    if isinstance(value, _Scalar):
        return as_numbers(value.array)
    if isinstance(value, Tensor) and not value.is_sparse and not value.is_complex():
        return value.detach().to(torch.float64).numpy()
    if not isinstance(value, _Array):
        raise TypeError(f"a {type(value).__name__.strip('_').lower()}")
    if not (isinstance(value.state, tuple) and len(value.state) == 5):
        raise ValueError("an array without content")
    _, shape, dtype, fortran, raw = value.state
    if not (isinstance(shape, tuple) and all(isinstance(size, int) and size >= 0 for size in shape)):
        raise ValueError("an array of no shape")
    flat = _decode(dtype, raw)
    if flat.size != np.prod(shape, dtype=object):
        raise ValueError(f"an array of shape {shape} with {flat.size} entries")
    return flat.reshape(shape, order="F" if fortran else "C")


def _decode(dtype: object, raw: object) -> np.ndarray:
    """The float64 values of an array's bytes. Raises TypeError unless they are numbers."""
    if not (isinstance(dtype, _Dtype) and dtype.code in NUMBER_TYPES and isinstance(raw, bytes)):
        raise TypeError(f"an array of type {repr(getattr(dtype, 'code', None))[:20]}")
    big = isinstance(dtype.state, tuple) and len(dtype.state) > 1 and dtype.state[1] == ">"
    kind = np.dtype(str(dtype.code)).newbyteorder(">" if big else "<")
    return np.frombuffer(raw, kind).astype(np.float64)
