"""The restricted unpickler: real chumpy, numpy and scipy pickles of every age come out; hostile ones reach nothing."""

from __future__ import annotations

import pickle
import struct
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from rgbavatar.errors import TemplateError
from rgbavatar.templates.array_pickle import load_array_pickle

VALUES = np.arange(24.0).reshape(4, 6) / 7


class Python2Pickler(pickle._Pickler):
    """Writes bytes as Python 2 wrote its strings, raw, and the module names of numpy and scipy of those days."""

    dispatch: ClassVar[dict] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        self.write(b"T" + struct.pack("<i", len(value)) + value)
        self.memoize(value)

    dispatch[bytes] = save_bytes


def rename_modules(data: bytes) -> bytes:
    """Module names as numpy 1 and scipy 1.7 wrote them."""
    return data.replace(b"numpy._core.multiarray\n", b"numpy.core.multiarray\n").replace(
        b"scipy.sparse._csc\n", b"scipy.sparse.csc\n"
    )


def write_python2(path: Path, content: object) -> Path:
    with path.open("wb") as file:
        Python2Pickler(file, protocol=2).dump(content)
    path.write_bytes(rename_modules(path.read_bytes()))
    assert b"_codecs" not in path.read_bytes()
    return path


def write_bytes(folder: Path, data: bytes) -> Path:
    path = folder / "model.pkl"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
def test_numpy_arrays_come_out_as_they_went_in(tmp_path: Path, protocol: int) -> None:
    content = {
        "c": VALUES,
        "fortran": np.asfortranarray(VALUES),
        "big_endian": VALUES.astype(">f4"),
        "whole": np.arange(3, dtype=np.uint32),
        "truth": np.array([True, False]),
        "cube": np.arange(24, dtype=np.int16).reshape(2, 3, 4),
        "scalar": np.float32(1.5),
        "text": "lbs",
    }
    loaded = load_array_pickle(write_bytes(tmp_path, pickle.dumps(content, protocol=protocol)))
    assert loaded.pop("text") == "lbs"
    for key, value in loaded.items():
        np.testing.assert_array_equal(value, content[key])
        assert np.asarray(value).dtype.kind == np.asarray(content[key]).dtype.kind


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("protocol", [0, 1, 2, 4])
def test_chumpy_and_scipy_arrays_come_out_dense(tmp_path: Path, protocol: int) -> None:
    chumpy, sparse = pytest.importorskip("chumpy"), pytest.importorskip("scipy.sparse")
    array = chumpy.array(VALUES)
    matrix = sparse.csc_matrix(np.where(VALUES > 2, VALUES, 0))
    content = {"array": array, "slice": array[:, 1:3], "element": array[1:, 0], "matrix": matrix}
    loaded = load_array_pickle(write_bytes(tmp_path, pickle.dumps(content, protocol=protocol)))
    np.testing.assert_array_equal(loaded["array"], VALUES)
    np.testing.assert_array_equal(loaded["slice"], VALUES[:, 1:3])
    np.testing.assert_array_equal(loaded["element"], VALUES[1:, 0])
    np.testing.assert_array_equal(loaded["matrix"], matrix.toarray())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_pickles_of_python_2_are_read(tmp_path: Path) -> None:
    chumpy, sparse = pytest.importorskip("chumpy"), pytest.importorskip("scipy.sparse")
    content = {"array": chumpy.array(VALUES), "plain": VALUES, "matrix": sparse.csc_matrix(VALUES)}
    path = write_python2(tmp_path / "model.pkl", content)
    data = path.read_bytes()
    for name in (
        b"numpy.core.multiarray\n_reconstruct",
        b"scipy.sparse.csc\ncsc_matrix",
        b"chumpy.ch\nCh",
        b"__builtin__\nset",
    ):
        assert name in data
    for value in load_array_pickle(path).values():
        np.testing.assert_array_equal(value, VALUES)


def test_equal_places_of_a_sparse_matrix_add_up(tmp_path: Path) -> None:
    sparse = pytest.importorskip("scipy.sparse")
    matrix = sparse.csc_matrix((np.array([1.0, 2.0, 4.0]), np.array([0, 0, 1]), np.array([0, 2, 2, 3])), shape=(2, 3))
    loaded = load_array_pickle(write_bytes(tmp_path, pickle.dumps({"m": matrix}, protocol=2)))
    np.testing.assert_array_equal(loaded["m"], [[3, 0, 0], [0, 0, 4]])


def test_neither_chumpy_nor_scipy_is_imported(probe_path: Path) -> None:
    import subprocess
    import sys

    code = (
        "import sys; from pathlib import Path; from rgbavatar.templates.array_pickle import load_array_pickle;"
        f"load_array_pickle(Path({str(probe_path)!r}));"
        "sys.exit(any(name.split('.')[0] in ('chumpy', 'scipy') for name in sys.modules))"
    )
    environment = {"PYTHONPATH": ":".join(sys.path), "PATH": ""}
    assert subprocess.run([sys.executable, "-c", code], env=environment, check=False).returncode == 0


def call(module: str, name: str, argument: str) -> bytes:
    """Protocol 0: look a name up and call it with a string."""
    return f"c{module}\n{name}\n(V{argument}\ntR.".encode()


HOSTILE = {
    "os.system": call("os", "system", "touch MARKER"),
    "posix.system": call("posix", "system", "touch MARKER"),
    "nt.system": call("nt", "system", "touch MARKER"),
    "subprocess.check_output": call("subprocess", "check_output", "MARKER"),
    "builtins.eval": call("builtins", "eval", "open('MARKER', 'w')"),
    "__builtin__.exec": call("__builtin__", "exec", "open('MARKER', 'w')"),
    "builtins.open": b"cbuiltins\nopen\n(VMARKER\nVw\ntR.",
    "builtins.getattr": b"cbuiltins\ngetattr\n(cnumpy\nndarray\nVtofile\ntR.",
    "builtins.__import__": call("builtins", "__import__", "os"),
    "pickle.loads": call("pickle", "loads", "MARKER"),
    "numpy.load": call("numpy", "load", "MARKER"),
    "numpy.fromfile": call("numpy", "fromfile", "MARKER"),
    "numpy.ndarray.tofile": b"\x80\x04\x8c\x05numpy\x8c\x0endarray.tofile\x93.",
    "numpy.core.multiarray.fromfile": call("numpy.core.multiarray", "fromfile", "MARKER"),
    "chumpy.ch.os": b"cchumpy.ch\nos\n.",
    "chumpy.utils.timer": call("chumpy.utils", "timer", "MARKER"),
    "scipy.sparse._csc.np": b"cscipy.sparse._csc\nnp\n.",
    "copyreg.add_extension": call("copyreg", "add_extension", "MARKER"),
    "os.execvp": b"(Vtouch\nios\nexecvp\n.",  # INST
}


@pytest.mark.parametrize("name", HOSTILE)
def test_any_other_name_is_refused_and_nothing_runs(tmp_path: Path, name: str) -> None:
    marker = tmp_path / "marker"
    path = write_bytes(tmp_path, HOSTILE[name].replace(b"MARKER", str(marker).encode()))
    with pytest.raises(TemplateError) as caught:
        load_array_pickle(path)
    message = str(caught.value)
    assert str(path) in message
    assert f"the name {name}" in message
    assert "\n" not in message
    assert not marker.exists()


def test_the_hostile_pickles_do_harm_elsewhere(tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    pickle.loads(HOSTILE["builtins.open"].replace(b"MARKER", str(marker).encode())).close()
    assert marker.exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntVb\ntR"  # an array that waits for its state
F8 = b"cnumpy\ndtype\n(Vf8\nI0\nI1\ntR"

ABUSES = {
    "bytes that do not fill the shape": b"(dVa\n" + ARRAY + b"(I1\n(I1000000000000\nt" + F8 + b"I0\nVabcdefgh\ntbs.",
    "a negative shape": b"(dVa\n" + ARRAY + b"(I1\n(I-1\nt" + F8 + b"I0\nVabcdefgh\ntbs.",
    "objects": b"(dVa\n" + ARRAY + b"(I1\n(I1\ntcnumpy\ndtype\n(VO8\nI0\nI1\ntRI0\n(lNatbs.",
    "a structured type": b"(dVa\n" + ARRAY + b"(I1\n(I1\ntcnumpy\ndtype\n((lVa\nVO\nta.",
    "another codec": b"c_codecs\nencode\n(Va\nVrot13\ntR.",
    "the state of a function": b"c_codecs\nencode\n(dVx\nI1\nsb.",
    "the attributes of a function": b"c_codecs\nencode\n(N(dV_body\ncbuiltins\nset\nstb.",
    "the state of a class": b"cnumpy\nndarray\n(N(dV__init__\ncbuiltins\nset\nstb.",
    "an object of a function": b"ccopy_reg\n_reconstructor\n(c_codecs\nencode\nc__builtin__\nobject\nNtR.",
    "a huge memo index": b"\x80\x02]r\xff\xff\xff\x7f.",
    "an extension code": b"\x80\x02\x82\x01.",
    "a persistent name": b"Pabc\n.",
    "an array that is never filled": b"(dVa\n" + ARRAY + b"s.",
    "no dict": b"].",
    "nothing": b"",
    "text": b"this is not a pickle\n",
    "a huge sparse matrix": (
        b"(dVa\ncscipy.sparse.csc\ncsc_matrix\n)\x81(dV_shape\n(I1000000\nI1000000\ntsVdata\n"
        + ARRAY
        + b"(I1\n(I1\nt"
        + F8
        + b"I0\nVabcdefgh\ntbsVindices\n"
        + ARRAY
        + b"(I1\n(I1\nt"
        + F8
        + b"I0\nVabcdefgh\ntbsVindptr\n"
        + ARRAY
        + b"(I1\n(I1\nt"
        + F8
        + b"I0\nVabcdefgh\ntbsbs."
    ),
}


@pytest.mark.parametrize("abuse", ABUSES)
def test_abuse_of_admitted_names_is_one_line(tmp_path: Path, abuse: str) -> None:
    path = write_bytes(tmp_path, ABUSES[abuse])
    with pytest.raises(TemplateError) as caught:
        load_array_pickle(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_admitted_functions_keep_no_state_from_a_file(tmp_path: Path) -> None:
    for abuse in ("the attributes of a function", "the state of a class"):
        with pytest.raises(TemplateError):
            load_array_pickle(write_bytes(tmp_path, ABUSES[abuse]))
    loaded = load_array_pickle(write_bytes(tmp_path, pickle.dumps({"a": VALUES}, protocol=2)))
    np.testing.assert_array_equal(loaded["a"], VALUES)


def test_truncation_anywhere_is_one_line(tmp_path: Path) -> None:
    data = pickle.dumps({"a": VALUES, "b": np.arange(5)}, protocol=2)
    for end in range(0, len(data) - 1, 7):
        with pytest.raises(TemplateError, match="not a readable model pickle"):
            load_array_pickle(write_bytes(tmp_path, data[:end]))


def test_missing_file_says_where_models_come_from(tmp_path: Path) -> None:
    with pytest.raises(TemplateError, match=r"none\.pkl.*data/README\.md"):
        load_array_pickle(tmp_path / "none.pkl")
