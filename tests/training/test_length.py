"""Runs that are as long as their frames bear."""

from __future__ import annotations

from rgbavatar.config import Config, override_config
from rgbavatar.training.length import fit_length


def configured(*settings: str) -> Config:
    return override_config(Config(), ["training.images_per_frame=60", *settings])


def test_few_frames_are_seen_less_often_once_the_bases_have_joined() -> None:
    fitted = fit_length(configured("loss.ssim=0.1", "loss.ssim_after=25000"), 250)
    assert fitted.training.images == 3_000 + 15_000
    assert fit_length(configured("training.bases_after=0"), 250).training.images == 15_000
    expected = override_config(Config(), ["training.images=18000", "loss.ssim=0.1", "loss.ssim_after=25000"])
    assert fitted == expected


def test_many_frames_change_nothing() -> None:
    plain = override_config(configured(), ["training.images_per_frame=0"])
    assert fit_length(configured(), 1_000) == plain
    assert fit_length(plain, 10) == plain
    assert fit_length(configured("training.images=2000"), 3).training.images == 2_000


def test_what_is_fitted_stays_as_it_is_and_can_be_lengthened() -> None:
    fitted = fit_length(configured(), 250)
    assert fit_length(fitted, 250) == fitted
    longer = fit_length(override_config(fitted, ["training.images=40000"]), 250)
    assert (longer.training.images, longer.training.bases_after) == (40_000, fitted.training.bases_after)
