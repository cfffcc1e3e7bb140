"""Scanning a pickle against pickletools, which reads it in earnest."""

from __future__ import annotations

import pickle
import pickletools
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rgbavatar.templates.pickle_scan import scan_pickle

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner, inner),
    max_leaves=30,
)
PROTOCOLS = st.integers(0, pickle.HIGHEST_PROTOCOL)


def read_in_earnest(data: bytes) -> tuple[int, int]:
    indices = [255]
    for opcode, argument, place in pickletools.genops(data):
        if opcode.name in ("PUT", "LONG_BINPUT"):
            indices.append(int(argument))
        end = place + 1
    return end, max(indices)


@given(PLAIN, PROTOCOLS)
def test_it_finds_the_end_and_the_largest_index_of_any_pickle(value: object, protocol: int) -> None:
    data = pickle.dumps(value, protocol)
    assert scan_pickle(data) == read_in_earnest(data)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_many_objects_arrays_and_sets_are_counted_right(protocol: int) -> None:
    value = {
        "many": [f"entry {number}" for number in range(9000)],
        "array": np.arange(300.0),
        "large": bytes(range(256)) * 300,
        "set": {1, 2},
        "huge": 1 << 3000,
        "class": pickle.Pickler,
    }
    data = pickle.dumps(value, protocol)
    assert scan_pickle(data) == read_in_earnest(data)
    assert protocol >= 4 or scan_pickle(data)[1] > 9000


def test_pickles_in_a_row_are_found_one_after_the_other() -> None:
    values = [{"a": 1}, "bpr.", [b"r\xff\xff\xff\xff"], 1.5]
    data, start, found = b"".join(pickle.dumps(value, 2) for value in values), 0, []
    while start < len(data):
        end, _ = scan_pickle(data, start)
        found.append(pickle.loads(data[start:end]))
        start = end
    assert found == values


@pytest.mark.parametrize(
    "prefix", [b"", b"(", b"\x80\x02", b"X\x03\x00\x00\x00r..", b"U\x03p1\n", b"cos\nsystem\n" * 9000]
)
@pytest.mark.parametrize(
    ("put", "index"),
    [(b"r" + struct.pack("<I", 1 << 31), 1 << 31), (b"p99999999999\n", 99999999999), (b"p99999999999", 99999999999)],
)
def test_a_large_index_is_seen_wherever_it_stands(prefix: bytes, put: bytes, index: int) -> None:
    assert scan_pickle(prefix + put)[1] == index


@pytest.mark.parametrize("text", [b"p\n", b"pabc\n", b"p", b"p" + b"9" * 9000 + b"\n"])
def test_an_index_that_is_no_number_is_an_error(text: bytes) -> None:
    with pytest.raises(ValueError, match="int"):
        scan_pickle(b"]" + text)


@pytest.mark.parametrize(
    "data",
    [b"", b"\xff", b"hello", b"X\xff\xff\xff\xffab", b"T\xff\xff\xff\xff", b"\x8b\xff\xff", b"\x8e" + b"\xff" * 8],
)
def test_a_fault_ends_the_search(data: bytes) -> None:
    assert scan_pickle(data)[1] == 255
