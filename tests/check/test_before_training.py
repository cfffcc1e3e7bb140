"""The fast part: it lets good subjects pass, reads little, and refuses others with a name."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from rgbavatar.check.before_training import FRAMES, check_before_training
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.datasets.recorded import load_recorded
from tests.check.conftest import Good
from tests.check.wrongs import TWELVE, change_images, copy_subject
from tests.datasets.subjects import one_line_error
from tests.helpers.tiny_subject import tiny_dataset

REFUSED = sorted({*TWELVE} - {"rotation-transposed", "frames-shifted", "images-upside-down"})
"""Those whose mesh is off the mask. The others cover it: python -m rgbavatar.check names them."""


class CountingImages(PreloadedImages):
    """Counts the images that are read."""

    count = 0

    def read(self, indices: Tensor) -> Tensor:
        self.count += len(indices)
        return super().read(indices)


def load(folder: Path, good: Good) -> HeadDataset:
    return load_recorded(folder, good.template, preload=True, pin_memory=False)


def test_a_good_subject_passes_and_few_images_are_read(good: Good) -> None:
    dataset = load(good.folder, good)
    images = CountingImages(dataset.images.read(torch.arange(len(dataset))))
    check_before_training(replace(dataset, images=images))
    assert images.count == FRAMES


@pytest.mark.parametrize("name", REFUSED)
def test_a_wrong_subject_is_refused_with_the_likely_convention(name: str, good: Good, tmp_path: Path) -> None:
    folder = copy_subject(good.folder, tmp_path / "wrong", TWELVE[name][0])
    with one_line_error("subject wrong", "misses the mask", f"({name})", "python -m rgbavatar.check wrong"):
        check_before_training(load(folder, good))


def test_a_mesh_of_any_template_is_looked_at() -> None:
    check_before_training(tiny_dataset())


def test_images_without_masks_pass_and_empty_masks_do_not(good: Good) -> None:
    dataset = load(good.folder, good)
    pixels = dataset.images.read(torch.arange(len(dataset)))
    pixels[..., 3] = 255
    check_before_training(replace(dataset, images=PreloadedImages(pixels)))
    with one_line_error("alpha is 0", "dataset.check=false"):
        check_before_training(replace(dataset, images=PreloadedImages(0 * pixels)))


def test_what_no_convention_explains_is_refused_too(good: Good, tmp_path: Path) -> None:
    """Masks of noise: nothing fits."""

    def change(folder: Path) -> None:
        def noise(pixels, place):  # type: ignore[no-untyped-def]
            pixels[..., 3] = 255 * (torch.rand(pixels.shape[:2], generator=torch.Generator().manual_seed(place)) > 0.9)
            return pixels

        change_images(folder, noise)

    folder = copy_subject(good.folder, tmp_path / "noise", change)
    with (
        closing(load(folder, good)) as dataset,
        one_line_error("misses the mask", "look at `python -m rgbavatar.check"),
    ):
        check_before_training(dataset)
