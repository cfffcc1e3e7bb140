"""Pictures: rounding, PNG files, comparisons, error maps."""

from __future__ import annotations

import math
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from rgbavatar.errors import OutputError
from rgbavatar.io.images import encode_png, error_heat_map, save_png, side_by_side, to_picture, to_uint8


def random_picture(height: int, width: int, channels: int) -> np.ndarray:
    return np.random.default_rng(height * width).integers(0, 256, (height, width, channels)).astype(np.uint8)


def test_rounding_is_half_up_and_clamped() -> None:
    values = [0.0, 0.5 / 255, 0.4999 / 255, 1.5 / 255, 0.5, 254.5 / 255, 1.0, 2.0, -1.0, math.inf, -math.inf, math.nan]
    expected = [0, 1, 0, 2, 128, 255, 255, 255, 0, 255, 0, 0]
    assert to_uint8(torch.tensor(values, dtype=torch.float64)).tolist() == expected


def test_every_level_survives_the_way_to_float_and_back() -> None:
    levels = torch.arange(256)
    assert torch.equal(to_uint8(levels / 255), levels.to(torch.uint8))
    assert torch.equal(to_uint8(levels * (1 / 255)), levels.to(torch.uint8))


@pytest.mark.parametrize("channels", [3, 4])
def test_another_program_reads_the_pixels_of_a_png(tmp_path: Path, channels: int) -> None:
    picture = random_picture(7, 5, channels)
    save_png(tmp_path / "a.png", picture)
    with Image.open(tmp_path / "a.png") as image:
        assert image.format == "PNG"
        assert image.mode == "RGBA"[:channels]
        np.testing.assert_array_equal(np.asarray(image), picture)


@pytest.mark.parametrize("channels", [3, 4])
def test_a_tensor_makes_the_same_png_as_its_picture(channels: int) -> None:
    picture = random_picture(6, 9, channels)
    tensor = (torch.from_numpy(picture).permute(2, 0, 1) / 255).requires_grad_()
    np.testing.assert_array_equal(to_picture(tensor), picture)
    assert encode_png(tensor) == encode_png(picture)
    assert encode_png(picture[:, ::-1][:, ::-1]) == encode_png(picture)


@pytest.mark.parametrize("shape", [(5, 5), (5, 5, 1), (0, 5, 3), (3, 5, 5, 3)])
def test_what_is_no_picture_is_our_mistake(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="picture is uint8"):
        encode_png(np.zeros(shape, np.uint8))
    with pytest.raises(ValueError, match="float64"):
        encode_png(np.zeros((5, 5, 3)))
    with pytest.raises(ValueError, match="image is"):
        to_picture(torch.zeros(5, 5, 3))


def test_a_png_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, limited_file_size) -> None:
    save_png(tmp_path / "a.png", random_picture(4, 4, 3))
    before = (tmp_path / "a.png").read_bytes()
    with limited_file_size(10_000), pytest.raises(OutputError, match=r"a\.png"):
        save_png(tmp_path / "a.png", random_picture(200, 200, 3))
    assert (tmp_path / "a.png").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("channels", [3, 4])
def test_side_by_side_puts_each_picture_under_its_label(channels: int) -> None:
    left, right = random_picture(20, 80, channels), random_picture(20, 90, channels)
    np.testing.assert_array_equal(side_by_side([left, right]), np.concatenate([left, right], axis=1))
    labelled = side_by_side([left, right], ["target", ""])
    strip = labelled.shape[0] - 20
    np.testing.assert_array_equal(labelled[strip:], side_by_side([left, right]))
    assert labelled[:strip, :80, :3].max() == 255
    assert labelled[:strip, 80:, :3].max() == 0
    assert channels == 3 or (labelled[:strip, :, 3] == 255).all()


def test_pictures_that_do_not_fit_are_our_mistake() -> None:
    picture = random_picture(20, 20, 3)
    for pictures, labels in (([picture, random_picture(21, 20, 3)], []), ([picture], ["a", "b"]), ([], [])):
        with pytest.raises(ValueError, match="labels"):
            side_by_side(pictures, labels)


def test_the_error_map_is_black_without_error_and_brightens_with_it() -> None:
    target = torch.rand(3, 4, 6, generator=torch.Generator().manual_seed(0)) * 0.5
    errors = torch.linspace(0, 0.3, 6).expand(4, 6)
    heat = error_heat_map(target + errors, target, full_scale=0.2)
    assert heat.shape == (4, 6, 3)
    assert heat.dtype == np.uint8
    brightness = heat.astype(int).sum(axis=2)
    assert brightness[:, 0].max() < 12
    assert (np.diff(brightness[:, :4], axis=1) > 0).all(), "brighter with every step up to full scale"
    np.testing.assert_array_equal(heat[:, 4], heat[:, 5])
    red, green, blue = heat[0, 5].astype(int)
    assert min(red, green) > 200, "the bright end is yellow"
    assert blue < red, "the channels are RGB, not BGR"


def test_a_png_can_be_encoded_without_a_file() -> None:
    with Image.open(BytesIO(encode_png(random_picture(3, 3, 3)))) as image:
        assert image.size == (3, 3)
