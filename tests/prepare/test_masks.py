"""Masks of all kinds, and what is said of those that are none."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbavatar.errors import ConfigError, DataError
from rgbavatar.prepare.masks import Classes, bounding_box, check_mask, clean_mask, parse_classes, read_mask
from tests.prepare.conftest import save

SIDE = 40


def disc(radius: int = 10) -> np.ndarray:
    """[SIDE, SIDE] bool."""
    y, x = np.indices((SIDE, SIDE)) - SIDE // 2
    return x * x + y * y <= radius * radius


def read(path: Path, classes: str | None = None) -> np.ndarray:
    return read_mask(path, parse_classes(classes) if classes else None, SIDE, SIDE)


@pytest.mark.parametrize("top", [1, 255])
def test_a_binary_mask_of_either_top_is_read(tmp_path: Path, top: int) -> None:
    save(tmp_path / "0.png", np.uint8(top) * disc())
    np.testing.assert_array_equal(read(tmp_path / "0.png"), disc())


def test_a_grey_mask_keeps_its_edge_and_a_jpeg_is_freed_of_noise(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(disc().astype(np.float32), (0, 0), 2)
    save(tmp_path / "0.png", soft)
    np.testing.assert_allclose(read(tmp_path / "0.png"), soft, atol=0.003)
    save(tmp_path / "0.jpg", np.uint8(255) * disc())
    found = read(tmp_path / "0.jpg")
    assert (found[0] == 0).all()
    assert found[SIDE // 2, SIDE // 2] == 1
    np.testing.assert_array_equal(found > 0.5, disc())


def test_the_alpha_of_an_rgba_mask_counts(tmp_path: Path) -> None:
    pixels = np.full((SIDE, SIDE, 4), 200, np.uint8)
    pixels[..., 3] = 255 * disc()
    save(tmp_path / "0.png", pixels)
    np.testing.assert_array_equal(read(tmp_path / "0.png"), disc())


def test_a_small_mask_of_the_same_shape_is_enlarged_and_another_shape_refused(tmp_path: Path) -> None:
    small = cv2.resize(np.uint8(255) * disc(), (20, 20), interpolation=cv2.INTER_AREA)
    save(tmp_path / "0.png", small)
    assert np.mean((read(tmp_path / "0.png") > 0.5) != disc()) < 0.03
    save(tmp_path / "1.png", np.zeros((20, 30), np.uint8))
    with pytest.raises(DataError, match=r"1\.png: found 30x20 pixels .* expected the 40x40"):
        read(tmp_path / "1.png")


@pytest.mark.parametrize(
    ("classes", "head", "rest"),
    [
        ("bisenet", [1, 2, 7, 10, 13, 17, 18], [0, 14, 15, 16]),
        ("celebamask", [1, 2, 10, 13], [0, 16, 17, 18]),
        ("bisenet:skin, hair", [1, 17], [0, 2, 14]),
        ("celebamask:hair", [13], [1, 17]),
        ("4,17", [4, 17], [1, 2]),
    ],
)
def test_the_chosen_classes_are_the_head(tmp_path: Path, classes: str, head: list[int], rest: list[int]) -> None:
    levels = np.zeros((SIDE, SIDE), np.uint8)
    for column, level in enumerate([*head, *rest]):
        levels[:, column] = level
    save(tmp_path / "0.png", levels)
    found = read(tmp_path / "0.png", classes)
    assert (found[:, : len(head)] == 1).all()
    assert (found[:, len(head) : len(head) + len(rest)] == 0).all()


@pytest.mark.parametrize("suffix", ["png", "jpg"])
def test_a_map_of_colours_is_read(tmp_path: Path, suffix: str) -> None:
    pixels = np.zeros((SIDE, SIDE, 3), np.uint8)
    pixels[:, :20], pixels[:, 20:32], pixels[:, 32:] = (204, 0, 0), (0, 255, 170), (0, 0, 153)
    save(tmp_path / f"0.{suffix}", pixels)
    found = read(tmp_path / f"0.{suffix}", "#cc0000,#00ffaa")
    inner = np.r_[2:18, 22:30]  # the blocks of a JPEG mix colours at edges
    assert (found[:, inner] == 1).all()
    assert (found[:, 34:] == 0).all()


@pytest.mark.parametrize("text", ["skin", "bisenet:nose,chin", "1,300", "#ff00", "1,#ff0000", ""])
def test_classes_that_are_none_are_told(text: str) -> None:
    with pytest.raises(ConfigError, match="--classes"):
        parse_classes(text)


def test_colours_and_levels_are_parsed() -> None:
    assert parse_classes("#FF0080") == Classes(frozenset(), ((255, 0, 128),))
    assert parse_classes("1, 17") == Classes(frozenset({1, 17}), ())


def test_what_is_no_mask_is_named(tmp_path: Path) -> None:
    ramp = np.indices((SIDE, SIDE, 3)).sum(0).astype(np.uint8)
    ramp[..., 2] = 200
    save(tmp_path / "photo.png", ramp)
    save(tmp_path / "levels.png", np.uint8(17) * disc())
    save(tmp_path / "levels.jpg", np.uint8(17) * disc())
    for name, classes, words in (
        ("photo.png", None, "expected a grey mask"),
        ("photo.png", "bisenet", "name the head's colours"),
        ("levels.png", None, "give --classes"),
        ("levels.jpg", "bisenet", "JPEG does not keep"),
        ("levels.png", "#ff0000", "found a grey picture"),
    ):
        with pytest.raises(DataError, match=words) as caught:
            read(tmp_path / name, classes)
        assert str(tmp_path / name) in str(caught.value)


@pytest.mark.parametrize(("value", "words"), [(0.0, "no head"), (1.0, "covers the whole picture")])
def test_a_mask_of_nothing_or_of_all_is_refused(value: float, words: str) -> None:
    with pytest.raises(DataError, match=words):
        check_mask("a.png", np.full((4, 4), value, np.float32))


def test_islands_and_holes_go_and_what_is_large_stays() -> None:
    coverage = np.zeros((200, 200), np.float32)
    coverage[50:150, 50:150] = 1
    clean = coverage.copy()
    coverage[10:14, 10:14] = 1  # an island
    coverage[9, 9] = 0.4  # and its halo
    coverage[80:84, 80:83] = 0  # a hole
    coverage[100:125, 100:125] = clean[100:125, 100:125] = 0  # one to look through
    coverage[60:90, 160:190] = clean[60:90, 160:190] = 1  # an ear, parted by a strap
    np.testing.assert_array_equal(clean_mask(coverage), clean)
    assert bounding_box(clean) == (50, 50, 190, 150)


def test_a_corner_of_the_background_is_no_hole() -> None:
    coverage = np.ones((100, 100), np.float32)
    coverage[:2, :2] = 0
    coverage[-30:, :40] = 0
    np.testing.assert_array_equal(clean_mask(coverage), coverage)
