"""The exported avatar: the published schema, judged by plyfile and by loops."""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import plyfile
import pytest

from rgbavatar.errors import DataError
from rgbavatar.io.avatar_ply import AvatarTable, export_avatar_ply, read_avatar_ply
from rgbavatar.io.ply import read_ply, write_ply


def make_table(count: int = 50, bases: int = 3, weights: int = 37) -> AvatarTable:
    generator = np.random.default_rng(count)

    def normal(*shape: int) -> np.ndarray:
        return generator.normal(size=shape).astype(np.float32)

    return AvatarTable(
        mean=normal(count, 3), rotation=normal(count, 4), sh=normal(count, 3), opacity_logit=normal(count),
        log_scale=normal(count, 3), basis_mean=normal(bases, count, 3), basis_rotation=normal(bases, count, 4),
        basis_sh=normal(bases, count, 3), network=normal(weights), face=generator.integers(0, 9976, count, np.int32),
        barycentric=generator.dirichlet((1, 1, 1), count).astype(np.float32),
    )  # fmt: skip


def assert_same(first: AvatarTable, second: AvatarTable) -> None:
    for item in fields(first):
        ours, theirs = getattr(first, item.name), getattr(second, item.name)
        if ours is None:
            assert theirs is None, item.name
            continue
        assert ours.dtype == theirs.dtype, item.name
        np.testing.assert_array_equal(ours, theirs, err_msg=item.name)


@pytest.mark.parametrize(
    ("count", "bases", "weights"), [(50, 3, 37), (50, 1, 50), (50, 2, 51), (7, 20, 1000), (1, 1, 0)]
)
def test_what_is_exported_comes_back(tmp_path: Path, count: int, bases: int, weights: int) -> None:
    table = make_table(count, bases, weights)
    export_avatar_ply(tmp_path / "model.ply", table)
    assert_same(table, read_avatar_ply(tmp_path / "model.ply"))


def test_limits_of_codes_come_back_to_the_bit(tmp_path: Path) -> None:
    limits = np.array([[-1.0, 1e-9, 0.1], [-0.3, 2e-9, 1e30]], np.float32)
    table = replace(make_table(5), code_limits=limits)
    export_avatar_ply(tmp_path / "model.ply", table)
    assert_same(table, read_avatar_ply(tmp_path / "model.ply"))
    [low] = [
        text for text in plyfile.PlyData.read(str(tmp_path / "model.ply")).comments if text.startswith("code_low ")
    ]
    np.testing.assert_array_equal(np.float32(low.split()[1:]), limits[0])


@pytest.mark.parametrize(
    "comments",
    [
        ("code_low 1",),
        ("code_low 1", "code_high 2 3"),
        ("code_low 1", "code_high x"),
        ("code_low", "code_low"),
        ("code_low 2", "code_high 1"),
    ],
)
def test_wrong_limits_of_codes_are_refused(tmp_path: Path, comments: tuple[str, ...]) -> None:
    export_avatar_ply(tmp_path / "model.ply", make_table())
    rewrite(tmp_path / "model.ply", {}, comments)
    with pytest.raises(DataError, match=f"{tmp_path}/model.ply: .*code_low and code_high are wrong"):
        read_avatar_ply(tmp_path / "model.ply")


def test_the_properties_have_the_published_names_in_order(tmp_path: Path) -> None:
    export_avatar_ply(tmp_path / "model.ply", make_table(50, 2, 37))
    expected = "x y z nx ny nz f_dc_0 f_dc_1 f_dc_2 opacity scale_0 scale_1 scale_2 rot_0 rot_1 rot_2 rot_3"
    for name, count in (("xyz_b", 6), ("rot_b", 8), ("f_dc_b", 6)):
        expected += "".join(f" {name}_{i}" for i in range(count))
    expected += " weight_module face_id face_bary_0 face_bary_1 face_bary_2"
    vertices = plyfile.PlyData.read(str(tmp_path / "model.ply"))["vertex"]
    assert " ".join(item.name for item in vertices.properties) == expected


def test_plyfile_finds_each_number_in_its_place(tmp_path: Path) -> None:
    table = make_table(5, 3, 4)
    export_avatar_ply(tmp_path / "model.ply", table)
    vertices = plyfile.PlyData.read(str(tmp_path / "model.ply"))["vertex"]
    for n in range(5):
        row = vertices[n]
        for c, name in enumerate("xyz"):
            assert row[name] == table.mean[n, c]
            assert row[f"n{name}"] == 0
            assert row[f"scale_{c}"] == table.log_scale[n, c]
            assert row[f"f_dc_{c}"] == table.sh[n, c]
            assert row[f"face_bary_{c}"] == table.barycentric[n, c]
        assert row["opacity"] == table.opacity_logit[n]
        assert row["face_id"] == table.face[n]
        assert [row[f"rot_{c}"] for c in range(4)] == list(table.rotation[n])
        for k in range(3):
            assert [row[f"xyz_b_{k * 3 + c}"] for c in range(3)] == list(table.basis_mean[k, n])
            assert [row[f"rot_b_{k * 4 + c}"] for c in range(4)] == list(table.basis_rotation[k, n])
            assert [row[f"f_dc_b_{k * 3 + c}"] for c in range(3)] == list(table.basis_sh[k, n])
    assert list(vertices["weight_module"]) == [*table.network, 0]


def test_a_network_larger_than_the_avatar_goes_on_in_more_columns(tmp_path: Path) -> None:
    table = make_table(10, 1, 25)
    export_avatar_ply(tmp_path / "model.ply", table)
    vertices = plyfile.PlyData.read(str(tmp_path / "model.ply"))["vertex"]
    columns = [vertices[name] for name in ("weight_module", "weight_module_1", "weight_module_2")]
    np.testing.assert_array_equal(np.concatenate(columns), [*table.network, 0, 0, 0, 0, 0])
    assert "weight_module_3" not in vertices


def rewrite(path: Path, columns: dict[str, np.ndarray], comments: tuple[str, ...] | None = None) -> None:
    """Change some columns of a file; a column given as None is dropped."""
    table = read_ply(path)
    merged = {name: value for name, value in {**table.columns, **columns}.items() if value is not None}
    write_ply(path, merged, table.comments if comments is None else comments)


def test_a_published_file_without_our_comment_and_with_float_faces_is_read(tmp_path: Path) -> None:
    path, table = tmp_path / "model.ply", make_table()
    export_avatar_ply(path, table)
    rewrite(path, {"face_id": table.face.astype(np.float32)}, comments=())
    loaded = read_avatar_ply(path)
    np.testing.assert_array_equal(loaded.network, np.r_[table.network, np.zeros(13, np.float32)])
    np.testing.assert_array_equal(loaded.face, table.face)
    assert loaded.face.dtype == np.int32


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"opacity": None}, "'opacity' is missing"),
        ({"face_id": None}, "'face_id' is missing"),
        ({"weight_module": None}, "'weight_module' is missing"),
        ({"xyz_b_8": None}, "8 properties xyz_b_*, expected a multiple of 3"),
        ({"rot_b_3": None, "rot_b_99": np.zeros(50, np.float32)}, "'rot_b_3' is missing"),
        ({"f_dc_b_6": None, "f_dc_b_7": None, "f_dc_b_8": None}, "basis_sh is float32 [2, 50, 3]"),
        ({"x": np.full(50, np.nan, np.float32)}, "mean holds a value that is not finite"),
        ({"weight_module": np.full(50, np.inf, np.float32)}, "network holds a value"),
        ({"face_id": np.full(50, -1, np.int32)}, "face_id holds something else"),
        ({"face_id": np.full(50, 0.5, np.float32)}, "face_id holds something else"),
        ({"face_id": np.full(50, np.nan, np.float32)}, "face_id holds something else"),
        ({"face_bary_0": np.full(50, 2, np.float32)}, "barycentric coordinates do not sum to 1"),
    ],
)
def test_a_file_that_is_no_avatar_is_refused_in_one_line(tmp_path: Path, columns, words: str) -> None:
    path = tmp_path / "model.ply"
    export_avatar_ply(path, make_table())
    rewrite(path, columns)
    with pytest.raises(DataError) as caught:
        read_avatar_ply(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("comment", ["weight_module_count", "weight_module_count x", "weight_module_count 51"])
def test_a_wrong_count_of_weights_is_refused(tmp_path: Path, comment: str) -> None:
    export_avatar_ply(tmp_path / "model.ply", make_table())
    rewrite(tmp_path / "model.ply", {}, (comment,))
    with pytest.raises(DataError, match="weight_module_count is wrong"):
        read_avatar_ply(tmp_path / "model.ply")


@pytest.mark.parametrize("change", ["mean", "face", "network", "barycentric"])
def test_arrays_that_do_not_fit_are_our_mistake(tmp_path: Path, change: str) -> None:
    table = make_table()
    wrong = replace(table, **{change: getattr(table, change).astype(np.float64)})
    with pytest.raises(ValueError, match=change):
        export_avatar_ply(tmp_path / "model.ply", wrong)
    assert list(tmp_path.iterdir()) == []


def test_an_avatar_without_gaussians_is_our_mistake(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no Gaussians"):
        export_avatar_ply(tmp_path / "model.ply", make_table(0, 1, 3))
