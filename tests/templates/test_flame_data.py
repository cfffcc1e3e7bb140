"""FLAME's files: what is read, and the one line that each defect gives."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import TemplateError
from rgbavatar.templates.flame_data import FlameData, load_flame_data
from rgbavatar.templates.procedural_head import write_flame

Content = dict[str, np.ndarray]


def rewrite(path: Path, change: Callable[[Content], object]) -> Path:
    """Change the content of a model file in place."""
    content = pickle.loads(path.read_bytes())
    change(content)
    path.write_bytes(pickle.dumps(content, protocol=4))
    return path


def put(key: str, value: object) -> Callable[[Content], object]:
    return lambda content: content.update({key: value})


def spoil(key: str, value: float) -> Callable[[Content], object]:
    return lambda content: content[key].__setitem__((0,) * content[key].ndim, value)


@pytest.fixture
def model_path(tmp_path: Path, random_model: FlameData) -> Path:
    return write_flame(random_model, tmp_path / "FLAME")


def test_what_was_written_is_read_back(model_path: Path, random_model: FlameData) -> None:
    loaded = load_flame_data(model_path)
    for field in fields(FlameData):
        np.testing.assert_allclose(getattr(loaded, field.name), getattr(random_model, field.name), atol=1e-15)
        assert getattr(loaded, field.name).dtype == getattr(random_model, field.name).dtype
    assert sorted(p.name for p in model_path.parent.iterdir()) == [
        "flame_uv.npz",
        "generic_model.pkl",
        "l_eyelid.npy",
        "r_eyelid.npy",
    ]


def test_written_pickle_holds_numpy_names_alone(model_path: Path) -> None:
    assert pickle.loads(model_path.read_bytes())["kintree_table"][0].tolist() == [4294967295, 0, 1, 1, 1]


def test_eyelids_are_optional(model_path: Path) -> None:
    model_path.with_name("l_eyelid.npy").unlink()
    loaded = load_flame_data(model_path)
    assert not loaded.eyelids[..., 0].any()
    assert loaded.eyelids[..., 1].any()


def test_uv_map_may_lie_elsewhere(model_path: Path, tmp_path: Path, random_model: FlameData) -> None:
    elsewhere = model_path.with_name("flame_uv.npz").rename(tmp_path / "uv.npz")
    np.testing.assert_array_equal(load_flame_data(model_path, elsewhere).uv, random_model.uv)


DEFECTS = {
    "no shapedirs": (lambda c: c.pop("shapedirs"), "shapedirs: found nothing"),
    "a text for f": (put("f", "faces"), "f: found a str"),
    "SMPL's shapes": (put("shapedirs", np.zeros((7, 3, 10))), r"found shape \(7, 3, 10\), expected \(7, 3, 400\)"),
    "MANO's joints": (put("weights", np.ones((7, 16)) / 16), r"weights: found shape \(7, 16\), expected \(7, 5\)"),
    "quads": (put("f", np.zeros((4, 4))), r"f: found shape \(4, 4\), expected \(4, 3\)"),
    "no vertices": (put("v_template", np.zeros((0, 3))), r"v_template: found an array of shape \(0, 3\)"),
    "NaN": (spoil("v_template", np.nan), "v_template: found NaN or infinity"),
    "infinity": (spoil("posedirs", np.inf), "posedirs: found NaN or infinity"),
    "a face beyond the vertices": (spoil("f", 7), "f: found indices .* expected whole numbers from 0 to 6"),
    "a chain": (put("kintree_table", np.array([[0, 0, 1, 2, 3], range(5)])), r"found parents \(0, 1, 2, 3\)"),
    "weights of no sum": (spoil("weights", 3.0), "weights: found a row whose sum misses 1"),
    "truth for numbers": (put("weights", np.ones((7, 5), bool)), "weights: found entries of type bool"),
}


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_defect_names_file_key_found_and_expected(model_path: Path, defect: str) -> None:
    change, message = DEFECTS[defect]
    rewrite(model_path, change)
    with pytest.raises(TemplateError, match=message) as caught:
        load_flame_data(model_path)
    assert str(model_path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_roots_own_parent_does_not_matter(model_path: Path) -> None:
    load_flame_data(rewrite(model_path, spoil("kintree_table", 0)))


def test_missing_uv_map_says_what_to_do(model_path: Path) -> None:
    model_path.with_name("flame_uv.npz").unlink()
    with pytest.raises(TemplateError, match=r"flame_uv\.npz: no such file; .* see data/README\.md"):
        load_flame_data(model_path)


UV_DEFECTS = {
    "no ft": ({"vt": np.zeros((5, 2))}, r"found the keys \['vt'\], expected vt and ft"),
    "three coordinates": ({"vt": np.zeros((5, 3)), "ft": np.zeros((4, 3))}, r"vt: found shape \(5, 3\)"),
    "outside": ({"vt": np.full((5, 2), 1.5), "ft": np.zeros((4, 3))}, r"values in \[0, 1\]"),
    "other faces": ({"vt": np.zeros((5, 2)), "ft": np.zeros((3, 3))}, r"ft: found shape \(3, 3\), expected \(4, 3\)"),
    "beyond": ({"vt": np.zeros((5, 2)), "ft": np.full((4, 3), 5)}, "ft: found indices 5 to 5"),
    "objects": ({"vt": np.array([None]), "ft": np.zeros((4, 3))}, "cannot be read as numpy arrays"),
}


@pytest.mark.parametrize("defect", UV_DEFECTS)
def test_a_defect_of_the_uv_map_is_named(model_path: Path, defect: str) -> None:
    arrays, message = UV_DEFECTS[defect]
    np.savez(model_path.with_name("flame_uv.npz"), **arrays)
    with pytest.raises(TemplateError, match=message):
        load_flame_data(model_path)


def test_broken_numpy_files_are_named(model_path: Path) -> None:
    model_path.with_name("r_eyelid.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(TemplateError, match=r"r_eyelid\.npy: cannot be read"):
        load_flame_data(model_path)
    np.save(model_path.with_name("r_eyelid.npy"), np.zeros((6, 3)))
    with pytest.raises(TemplateError, match=r"r_eyelid\.npy: found shape \(6, 3\), expected \(7, 3\)"):
        load_flame_data(model_path)
    model_path.with_name("r_eyelid.npy").unlink()
    model_path.with_name("flame_uv.npz").write_bytes(b"PK\x03\x04 and no more")
    with pytest.raises(TemplateError, match=r"flame_uv\.npz: cannot be read"):
        load_flame_data(model_path)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_model_of_another_program_is_read_as_that_program_meant(probe_path: Path) -> None:
    pytest.importorskip("chumpy"), pytest.importorskip("scipy")
    expected = pickle.loads(probe_path.read_bytes(), encoding="latin1")
    loaded = load_flame_data(probe_path)
    np.testing.assert_array_equal(loaded.v_template, expected["v_template"].r)
    np.testing.assert_array_equal(loaded.shapedirs, expected["shapedirs"].r)
    np.testing.assert_array_equal(loaded.posedirs, expected["posedirs"])
    np.testing.assert_array_equal(loaded.joint_regressor, expected["J_regressor"].toarray())
    np.testing.assert_allclose(loaded.weights, expected["weights"], atol=1e-6)  # rows are brought to sum exactly 1
    np.testing.assert_array_equal(loaded.faces, expected["f"])
