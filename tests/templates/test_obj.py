"""OBJ files: all ways to write the same mesh, how polygons are cut, and the line that each defect is on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import TemplateError
from rgbavatar.templates.obj import NO_UV, ObjMesh, read_obj, read_obj_vertices, triangulate

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\n"


def read(tmp_path: Path, text: str) -> ObjMesh:
    path = tmp_path / "mesh.obj"
    path.write_bytes(text.encode())
    return read_obj(path)


@pytest.mark.parametrize(
    "polygon",
    [
        "f 1/1 2/2 3/3 4/4",
        "f 1/1/1 2/2/1 3/3/1 4/4/1",
        "f -4/-4 -3/-3 -2/-2 -1/-1",
        "  f\t1/1  2/2 3/3 4/4   # a comment",
        "f 1/1 2/2 \\\n 3/3 4/4",
        "f 1/1 2/2 3/3\nf 1/1 3/3 4/4",
        "g\nusemtl\ns off\nmtllib x.mtl\nf 1/1 2/2 3/3 4/4\r",
    ],
)
def test_one_square_is_written_in_many_ways(tmp_path: Path, polygon: str) -> None:
    mesh = read(tmp_path, SQUARE + polygon + "\n")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.uv.tolist() == [[0, 0], [1, 0], [1, 1], [0, 1]]
    assert mesh.faces.tolist() == mesh.uv_faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.names == []


@pytest.mark.parametrize("polygon", ["f 1 2 3 4", "f 1//1 2//1 3//1 4//1"])
def test_corners_may_have_no_uv(tmp_path: Path, polygon: str) -> None:
    mesh = read(tmp_path, SQUARE + polygon)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert (mesh.uv_faces == NO_UV).all()


def test_a_vertex_may_have_several_uvs(tmp_path: Path) -> None:
    mesh = read(tmp_path, SQUARE + "f 1/1 2/2 3/3\nf 1/4 3/2 4/1\n")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.uv_faces.tolist() == [[0, 1, 2], [3, 1, 0]]


def test_negative_indices_count_back_from_where_they_stand(tmp_path: Path) -> None:
    mesh = read(tmp_path, "v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 5 5 5\nf -4 -2 -1\n")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]


def test_a_face_may_name_vertices_that_come_later(tmp_path: Path) -> None:
    assert read(tmp_path, "f 1 2 3\nv 0 0 0\nv 1 0 0\nv 1 1 0\n").faces.tolist() == [[0, 1, 2]]


def test_weights_and_colours_behind_a_vertex_are_skipped(tmp_path: Path) -> None:
    mesh = read(tmp_path, "v 0 0 0 1 0 0\nv 1e-3 0 0 1\nv .5 -1.5E+1 0 0 0 1\nvt 0.5 0.5 0\nf 1/1 2/1 3/1\n")
    assert mesh.vertices.tolist() == [[0, 0, 0], [0.001, 0, 0], [0.5, -15, 0]]


def test_groups_objects_and_materials_are_labels(tmp_path: Path) -> None:
    text = SQUARE + "o head\ng face skin\nusemtl M_Face\nf 1 2 3 4\ng\nf 1 2 3\no eye\nusemtl M_Eye\nf 2 3 4\n"
    mesh = read(tmp_path, text)
    assert mesh.names == ["M_Eye", "M_Face", "eye", "face", "head", "skin"]
    assert mesh.labelled(["skin"]).tolist() == [True, True, False, False]
    assert mesh.labelled(["M_Face"]).tolist() == [True, True, True, False]
    assert mesh.labelled(["skin", "eye"]).tolist() == [True, True, False, True]
    assert mesh.labelled([]).tolist() == [False] * 4


def test_vertices_alone_are_those_of_the_mesh(tmp_path: Path) -> None:
    mesh = read(tmp_path, SQUARE + "f 1 2 3 4\n")
    np.testing.assert_array_equal(read_obj_vertices(tmp_path / "mesh.obj"), mesh.vertices)


def areas(points: np.ndarray, triangles: np.ndarray) -> np.ndarray:
    """Signed areas in the plane z = 0."""
    a, b, c = points[triangles].transpose(1, 0, 2)
    return np.cross(b - a, c - a)[:, 2] / 2


@pytest.mark.parametrize("shift", range(4))
def test_a_quad_with_a_dent_is_cut_through_the_dent(shift: int) -> None:
    points = np.array([[0, 0, 0], [2, 0, 0], [0.5, 0.5, 0], [0, 2, 0]])  # the dent is vertex 2
    corners = np.roll(np.arange(4), shift)
    places, source = triangulate(points, corners, np.array([4]))
    cut = areas(points, corners[places])
    assert (cut > 0).all()
    assert cut.sum() == pytest.approx(1.0)
    assert source.tolist() == [0, 0]


def test_polygons_of_many_corners_become_fans_that_cover_them() -> None:
    angle = np.linspace(0, 2 * np.pi, 9)[:-1]
    octagon = np.stack((np.cos(angle), np.sin(angle), 0 * angle), 1)
    sizes = np.array([8, 3, 4])
    corners = np.concatenate((np.arange(8), [0, 2, 4], [0, 2, 4, 6]))
    places, source = triangulate(octagon, corners, sizes)
    assert source.tolist() == [0] * 6 + [1] + [2] * 2
    cut = areas(octagon, corners[places])
    assert (cut > 0).all()
    assert cut[:6].sum() == pytest.approx(2 * np.sqrt(2))
    assert cut[7:].sum() == pytest.approx(2.0)


def test_a_triangle_written_as_a_quad_is_one(tmp_path: Path) -> None:
    assert read(tmp_path, SQUARE + "f 1 2 3 3\n").faces.tolist() in ([[0, 1, 2]], [[1, 2, 0]], [[2, 0, 1]])


DEFECTS = {
    "v 0 0": ("line 10", "'0 0'", "3 numbers"),
    "v 0 0 x": ("line 10", "'0 0 x'", "3 numbers"),
    "v 0,5 0 0": ("line 10", "'0,5 0 0'"),
    "v nan 0 0": ("line 10", "3 numbers"),
    "vt 1": ("line 10", "2 numbers"),
    "f 1 2": ("line 10", "polygon of 2 corners"),
    "f 1 2 a": ("line 10", "corner 'a'", "v/vt/vn"),
    "f 1/1 2/2 3/x": ("line 10", "corner '3/x'"),
    "f 0 1 2": ("line 10", "index 0", "1 to"),
    "f 1 2 -5": ("line 10", "index -5", "-4"),
    "f 1 2 3\nf 1 2 5": ("line 11", "index 5 of a v", "at most 4"),
    "f 1/1 2/2 3/5": ("line 10", "index 5 of a vt", "at most 4"),
    "\\\nf 1 2 9": ("line 10", "index 9"),
    "g nothing": ("4 vertices and 0 polygons",),
}


@pytest.mark.parametrize("tail", DEFECTS)
def test_a_defect_is_one_line_that_says_where_it_is(tmp_path: Path, tail: str) -> None:
    with pytest.raises(TemplateError) as caught:
        read(tmp_path, SQUARE + tail + "\n")
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message
    assert not [part for part in ("mesh.obj: ", *DEFECTS[tail]) if part not in message], message


def test_what_is_no_mesh_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "picture.obj").write_bytes(bytes(range(256)))
    with pytest.raises(TemplateError, match=r"picture.obj: found no vertices"):
        read_obj_vertices(tmp_path / "picture.obj")
    with pytest.raises(TemplateError, match=r"nowhere.obj: cannot be read: No such file"):
        read_obj(tmp_path / "nowhere.obj")
