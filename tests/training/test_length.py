"""Runs that are as long as their frames bear."""

from __future__ import annotations

from rgbavatar.config import Config, override_config
from rgbavatar.training.length import LEAST_IMAGES, fit_length


def configured(*settings: str) -> Config:
    return override_config(Config(), ["training.images_per_frame=60", *settings])


def test_few_frames_make_a_short_run_that_is_the_long_one_in_small() -> None:
    fitted = fit_length(configured("loss.ssim=0.1", "loss.ssim_after=25000"), 250)
    assert fitted.training.images == 15_000
    assert fitted.training.bases_after == 900
    assert fitted.optimizer.mean_decay_images == 9_000
    assert fitted.refinement.after == 1_200
    assert (fitted.loss.ssim_after, fitted.loss.lpips_after) == (7_500, 0)


def test_many_frames_change_nothing_and_a_count_of_0_stays_0() -> None:
    plain = override_config(configured(), ["training.images_per_frame=0"])
    assert fit_length(configured(), 1_000) == plain
    assert fit_length(plain, 10) == plain
    assert fit_length(configured("training.bases_after=0"), 100).training.bases_after == 0


def test_a_run_is_never_shorter_than_the_least() -> None:
    assert fit_length(configured(), 3).training.images == LEAST_IMAGES
    assert fit_length(configured("training.images=2000"), 3).training.images == 2_000


def test_what_is_fitted_stays_as_it_is_and_can_be_lengthened() -> None:
    fitted = fit_length(configured(), 250)
    assert fit_length(fitted, 250) == fitted
    longer = fit_length(override_config(fitted, ["training.images=40000"]), 250)
    assert (longer.training.images, longer.training.bases_after) == (40_000, fitted.training.bases_after)
