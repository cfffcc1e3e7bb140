"""Parameter files: what is read, what is written, and each way in which one can be wrong."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rgbavatar.datasets.parameter_file import has_parameters, read_parameter_file, write_parameter_file
from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import axis_angle_to_rotation, rotation_to_rot6d
from tests.datasets.subjects import one_line_error


def turn(x: float, y: float, z: float) -> np.ndarray:
    return axis_angle_to_rotation(torch.tensor([x, y, z], dtype=torch.float64)).numpy()


def written_by_hand() -> dict[str, Any]:
    return {
        "expression": np.linspace(0, 1, 5),
        "identity": np.array([0.5, -1.0], np.float32),
        "rotation": turn(3.0, 0.1, 0.0),
        "translation": np.array([0.01, -0.02, 0.9]),
        "intrinsics": np.array([300, 310, 64, 48]),
        "width": 128,
        "height": 96,
        "eyes": np.stack((turn(0.1, 0.0, 0.0), turn(0.0, 0.2, 0.0))),
        "confidence": np.ones(3),
    }


def save(path: Path, arrays: dict[str, Any]) -> Path:
    np.savez(path, **arrays)
    return path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return save(tmp_path / "00004.npz", written_by_hand())


def test_a_file_written_by_hand_is_read(path: Path) -> None:
    frame, arrays = read_parameter_file(path), written_by_hand()
    for name, key in (("shape", "identity"), ("expression",) * 2, ("rotation",) * 2, ("translation",) * 2):
        value = getattr(frame, name)
        np.testing.assert_array_equal(value, arrays[key])
        assert value.dtype == torch.float64
    assert frame.intrinsics.tolist() == [300, 310, 64, 48]
    assert (frame.width, frame.height) == (128, 96)
    assert torch.equal(frame.eyes, rotation_to_rot6d(torch.from_numpy(arrays["eyes"])).flatten())
    for at_rest in (frame.jaw, frame.neck):
        assert at_rest.tolist() == [1, 0, 0, 0, 1, 0]
    assert frame.eyelids.tolist() == [0, 0]


@pytest.mark.parametrize("identity", [{}, {"identity": np.zeros(0)}])
def test_identity_and_eyes_may_be_left_out(path: Path, identity: dict[str, Any]) -> None:
    arrays = {key: value for key, value in written_by_hand().items() if key not in ("identity", "eyes")}
    frame = read_parameter_file(save(path, arrays | identity))
    assert frame.shape.shape == (0,)
    assert frame.eyes.tolist() == [1, 0, 0, 0, 1, 0] * 2


def test_what_was_written_is_read_back(path: Path) -> None:
    frame = read_parameter_file(path)
    again = path.with_name("00005.npz")
    write_parameter_file(again, frame)
    for name, value in vars(read_parameter_file(again)).items():
        expected = getattr(frame, name)
        if isinstance(value, torch.Tensor):
            torch.testing.assert_close(value, expected, atol=1e-15, rtol=0.0)
        else:
            assert value == expected
    assert [entry.name for entry in sorted(path.parent.iterdir())] == ["00004.npz", "00005.npz"]


@pytest.mark.parametrize("name", ["jaw", "neck", "eyelids"])
def test_what_has_no_place_in_the_file_is_not_lost_unsaid(path: Path, name: str) -> None:
    frame = read_parameter_file(path)
    moved = replace(frame, **{name: getattr(frame, name) + 0.1})
    with pytest.raises(DataError, match=f"{name} is not at rest"):
        write_parameter_file(path.with_name("00005.npz"), moved)


def test_files_of_other_programs_are_told_apart(path: Path) -> None:
    assert has_parameters(path)
    assert not has_parameters(save(path, {"expr": np.zeros(3), "rotation": np.eye(3)}))
    path.write_bytes(b"broken")
    assert has_parameters(path)  # so that reading it says what is wrong


BAD: dict[str, tuple[str, Any, tuple[str, ...]]] = {
    "no expression": ("expression", None, ("no key expression", "(any)")),
    "a batch of one": ("expression", np.zeros((1, 5)), ("expression has shape (1, 5)", "(any)")),
    "NaN": ("expression", np.array([np.nan, 1]), ("expression has 1 entries that are NaN",)),
    "axis-angle": ("rotation", np.zeros(3), ("rotation has shape (3,)", "(3, 3)")),
    "a mirror": ("rotation", np.diag([1.0, 1.0, -1.0]), ("rotation has determinant -1", "expected a rotation")),
    "a scaled rotation": ("rotation", 2 * np.eye(3), ("rotation has determinant 8",)),
    "a column": ("translation", np.zeros((3, 1)), ("translation has shape (3, 1)", "(3)")),
    "a matrix": ("intrinsics", np.eye(3), ("intrinsics has shape (3, 3)", "(4)")),
    "no focal length": ("intrinsics", np.array([0, 1, 2, 3]), ("intrinsics are [0.0, 1.0, 2.0, 3.0]", "positive")),
    "half a pixel": ("width", 128.5, ("width is 128.5", "pixels")),
    "no height": ("height", 0, ("height is 0", "pixels")),
    "one eye": ("eyes", np.eye(3)[None], ("eyes has shape (1, 3, 3)", "(2, 3, 3)")),
    "eyes that are none": ("eyes", np.zeros((2, 3, 3)), ("eyes (left) has determinant 0",)),
    "text": ("identity", np.array(["a"]), ("identity is", "(any)")),
    "objects": ("identity", np.array([None]), ("no archive of numpy arrays", "Object arrays")),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_is_one_line_that_names_the_key(case: str, path: Path) -> None:
    key, value, parts = BAD[case]
    arrays = written_by_hand() | {key: value}
    save(path, {name: array for name, array in arrays.items() if array is not None})
    with one_line_error("00004.npz", *parts):
        read_parameter_file(path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 and nothing", b"text"])
def test_what_is_no_archive_is_one_line(content: bytes, path: Path) -> None:
    path.write_bytes(content)
    with one_line_error("00004.npz", "no archive of numpy arrays"):
        read_parameter_file(path)
    path.unlink()
    with one_line_error("00004.npz", "No such file"):
        read_parameter_file(path)
