"""The study of quality: subjects, splits, recipes and table by themselves, and a small study from end to end."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from rgbavatar.config import Config, load_config, override_config
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.errors import ConfigError, DataError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from tests.bench.quality.__main__ import main
from tests.bench.quality.recipes import BEST, CHANGES, PUBLISHED, configure, scale_counts
from tests.bench.quality.runs import append_record, read_records, sharpness
from tests.bench.quality.splits import Held, choose, distances_from_mean, split_frames, thin_out
from tests.bench.quality.subjects import SUITES, Plan, brighten, disturb, log_gains_of, parse_plan, wander
from tests.bench.quality.table import pairs_of, spread, worst_scene, write_table
from tests.helpers.tiny_subject import tiny_dataset

FRAMES, TESTED = 12, 3
REST = torch.tensor([1.0, 0, 0, 0, 1, 0]).double()


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def frame(width: int = 4) -> TrackedFrame:
    away = torch.tensor([0.0, 0.1, 1.5]).double()
    return TrackedFrame(
        torch.zeros(3).double(), torch.zeros(width).double(), REST, REST.repeat(2), torch.zeros(2).double(),
        torch.diag(torch.tensor([1.0, -1.0, -1.0]).double()), away, torch.ones(4).double(), 8, 8,
    )  # fmt: skip


# Subjects


def test_noise_has_mean_0_and_deviation_1_and_one_half_of_it_is_slow() -> None:
    for noise, expected in zip(wander(2_000, 2, generator()), (0.0, 0.95), strict=True):
        torch.testing.assert_close(noise.mean(dim=0), torch.zeros(2).double(), rtol=0, atol=0.07)
        torch.testing.assert_close(noise.std(dim=0), torch.ones(2).double(), rtol=0.05, atol=0)
        neighbours = torch.corrcoef(torch.stack([noise[:-1, 0], noise[1:, 0]]))[0, 1]
        assert float(neighbours) == pytest.approx(expected, abs=0.06)


def test_a_worse_tracker_errs_as_much_as_its_plan_says() -> None:
    plan, middle = Plan(degrees=2.0, millimetres=5.0, expression=0.3), torch.tensor([0.0, 0.2, 0.05]).double()
    found = disturb([frame()] * 1_500, middle, plan, generator())
    turned = torch.stack([frame().rotation.T @ one.rotation for one in found])
    angles = torch.arccos(((turned.diagonal(dim1=1, dim2=2).sum(1) - 1) / 2).clamp(-1, 1))
    assert math.degrees(float(angles.square().mean().sqrt())) == pytest.approx(2.0 * math.sqrt(3), rel=0.1)
    places = torch.stack([one.rotation @ middle + one.translation for one in found])
    moved = places - (frame().rotation @ middle + frame().translation)
    torch.testing.assert_close(moved.std(dim=0), torch.full((3,), 0.005).double(), rtol=0.1, atol=0)
    changes = torch.stack([one.expression for one in found])
    torch.testing.assert_close(changes.std(dim=0), torch.full((4,), 0.3).double(), rtol=0.1, atol=0)


def test_no_noise_changes_nothing() -> None:
    [found] = disturb([frame()] * 2, torch.zeros(3).double(), Plan(), generator())[:1]
    torch.testing.assert_close(found.rotation, frame().rotation)
    torch.testing.assert_close(found.eyes, frame().eyes)
    assert torch.equal(found.expression, frame().expression)


def test_exposure_drifts_as_much_as_its_plan_says_and_leaves_the_mask_alone() -> None:
    gains = log_gains_of(Plan(seed=4, frames=1_500, drift=0.2))
    assert float(gains.std()) == pytest.approx(0.2 * math.hypot(1, 1 / 3), rel=0.15)
    assert not log_gains_of(Plan(frames=9)).any()
    images = torch.tensor([[[[100, 50, 200, 7]]]], dtype=torch.uint8)
    found = brighten(images, torch.tensor([2.0, 1.0, 2.0]).log())
    assert found.flatten().tolist() == [200, 50, 255, 7]


def test_the_subjects_to_confirm_by_are_none_to_choose_by() -> None:
    seeds = {suite: {plan.seed for plan in plans.values()} for suite, plans in SUITES.items()}
    assert not seeds["choose"] & seeds["confirm"]
    assert all(any(plan.is_clean for plan in plans.values()) for plans in SUITES.values())


def test_a_plan_is_read() -> None:
    assert parse_plan("seed=3,frames=20,degrees=0.5") == Plan(3, 20, degrees=0.5)
    with pytest.raises(ConfigError, match="found 'size=3', expected NAME=NUMBER of seed, frames"):
        parse_plan("seed=1,size=3")


# Splits


def test_the_last_frames_are_held_out_by_time() -> None:
    frames = split_frames(tiny_dataset(8), Held.TIME, 0.25)
    assert frames.train.tolist() == [0, 1, 2, 3, 4, 5]
    assert frames.test.tolist() == [6, 7]


@pytest.mark.parametrize(("held", "expected"), [(Held.POSE, [2, 5]), (Held.EXPRESSION, [1, 6])])
def test_the_frames_most_unlike_the_others_are_held_out(held: Held, expected: list[int]) -> None:
    """Frames 2 and 5 are turned, 1 and 6 bent; all are shifted, which counts for nothing."""
    dataset = tiny_dataset(8)
    vertices = dataset.vertices[:1].repeat(8, 1, 1)
    for number, angle in ((2, 0.3), (5, -0.4)):
        vertices[number] = vertices[number] @ axis_angle_to_rotation(torch.tensor([0.0, angle, 0.0])).T
    for number, bend in ((1, 3.0), (6, -4.0)):
        vertices[number, :, 2] += bend * vertices[number, :, 0].square()
    vertices += 0.1 * torch.randn(8, 1, 3, generator=generator())
    moved = dataclasses.replace(dataset, vertices=vertices)
    frames = split_frames(moved, held, 0.25)
    assert frames.test.tolist() == expected
    assert sorted([*frames.train.tolist(), *expected]) == list(range(8))


def test_turns_are_those_that_were_made() -> None:
    angles = torch.tensor([-0.2, 0.0, 0.2])
    axes = torch.stack([0 * angles, angles, 0 * angles], dim=1)
    shape = torch.randn(50, 3, generator=generator())
    turns, left = distances_from_mean(shape @ axis_angle_to_rotation(axes).mT)
    torch.testing.assert_close(turns, angles.abs().double(), rtol=0, atol=1e-4)
    assert float(left.max()) < 1e-5


@pytest.mark.parametrize("share", [0.01, 0.99])
def test_a_split_that_leaves_nothing_is_refused(share: float) -> None:
    with pytest.raises(DataError, match="leaves none"):
        split_frames(tiny_dataset(8), Held.TIME, share)


def test_chosen_frames_are_those_of_their_positions() -> None:
    dataset, positions = tiny_dataset(8), torch.tensor([5, 2])
    chosen = choose(dataset, positions)
    assert chosen.numbers.tolist() == [5, 2]
    assert torch.equal(chosen.images.read(torch.tensor([1])), dataset.images.read(torch.tensor([2])))
    assert torch.equal(chosen.codes, dataset.codes[positions])
    assert thin_out(dataset, 3).numbers.tolist() == [0, 4, 7]


# Recipes


@pytest.mark.parametrize("recipe", CHANGES)
def test_every_recipe_is_a_configuration_that_differs_from_the_published_one(recipe: str) -> None:
    published = configure(Config(), PUBLISHED, 5_000)
    assert published.training.bases_after == 300
    assert published.optimizer.mean_decay_images == 3_000
    assert (configure(Config(), recipe, 5_000) == published) is (recipe == PUBLISHED)


def test_recipes_are_put_together_and_written_out() -> None:
    config = configure(Config(), "normalize+mine:loss.ssim=0.1,training.average=0.9+half", 1_000)
    assert config.model.normalize_code
    assert (config.loss.ssim, config.training.average, config.training.images) == (0.1, 0.9, 500)
    with pytest.raises(ConfigError, match="found 'nonsense'"):
        configure(Config(), "half+nonsense", 1_000)


# Numbers


def test_the_best_recipe_is_that_of_its_file() -> None:
    file, found = load_config(BEST), configure(Config(), "best", 50_000)
    assert (found.model, found.optimizer, found.refinement, found.loss) == (
        file.model, file.optimizer, file.refinement, file.loss,
    )  # fmt: skip
    assert found.training.refine_tracking
    assert found.training.images_per_frame == file.training.images_per_frame > 0
    half = configure(Config(), "best", 25_000)
    assert half.optimizer.mlp_weight_decay == 2 * found.optimizer.mlp_weight_decay
    assert half.refinement.after * 2 == found.refinement.after
    assert half.training.images_per_frame * 2 == found.training.images_per_frame


def test_counts_shrink_alike_and_0_stays_0() -> None:
    scaled = scale_counts(override_config(Config(), ["loss.ssim=0.1", "loss.ssim_after=25000"]), 0.3)
    assert (scaled.training.bases_after, scaled.optimizer.mean_decay_images, scaled.refinement.after) == (
        900,
        9_000,
        1_200,
    )
    assert (scaled.loss.ssim_after, scaled.loss.lpips_after) == (7_500, 0)
    assert scale_counts(Config(), 1e-6).training.bases_after == 1


def test_sharpness_is_1_for_the_truth_and_less_where_it_is_blurred() -> None:
    truth = torch.rand(2, 3, 24, 24, generator=generator())
    blurred = functional.avg_pool2d(truth, 3, stride=1, padding=1)
    torch.testing.assert_close(sharpness(truth, truth), torch.ones(2))
    assert float(sharpness(blurred, truth).max()) < 0.5


def record(recipe: str, seed: int, test: float, source: str = "x") -> dict[str, Any]:
    return {
        "subject": source, "source": source, "held": "time", "share": 0.25, "device": "cpu", "compared_images": 100,
        "pixels": 32, "frames": {"train": 9, "test": 3}, "recipe": recipe, "seed": seed, "seconds": 1.0,
        "train": {"psnr": test + 5.0, "ssim": 0.9, "sharpness": 1.0},
        "test": {"psnr": test, "ssim": 0.8, "sharpness": 1.0}, "curve": [[0.5, 50, test - 1], [1.0, 100, test]],
    }  # fmt: skip


def test_differences_are_to_the_published_run_of_the_same_subject_and_seed() -> None:
    records = [
        record(PUBLISHED, 0, 30.0), record(PUBLISHED, 1, 20.0), record("a", 0, 31.0), record("a", 1, 23.0),
        record(PUBLISHED, 0, 10.0, "y"), record("a", 0, 9.5, "y"), record("a", 5, 99.0, "y"),
    ]  # fmt: skip
    pairs = [pair for pair in pairs_of(records) if pair[0]["recipe"] == "a"]
    assert [ours["test"]["psnr"] - base["test"]["psnr"] for ours, base in pairs] == [1.0, 3.0, -0.5]
    assert worst_scene(pairs) == -0.5
    text = write_table(records)
    assert "| a | 3 | +1.17 ± 1.76 |" in text
    assert "| a | 2 | +2.00 ± 1.41 |" in text
    assert "LPIPS" not in text
    assert "| 0.50 ± 0.00 |\n" in text  # half a second, of the published run's one
    assert "| never in 1 of 1 |\n" in text


def test_a_spread_of_one_value_is_that_value() -> None:
    assert [spread(values, 1, signed=True) for values in ([], [1.0], [1.0, 3.0])] == ["–", "+1.0", "+2.0 ± 1.4"]


def test_a_line_that_a_killed_run_left_unfinished_is_no_record(tmp_path: Path) -> None:
    path = tmp_path / "new" / "results.jsonl"
    assert read_records(path) == []
    append_record(path, {"key": "a"})
    path.write_text(path.read_text() + '{"key": "b", "te')
    append_record(path, {"key": "c"})
    assert [one["key"] for one in read_records(path)] == ["a", "c"]


# From end to end


def study(folder: Path, *more: str) -> list[str]:
    """The keys of the records, in their order, after a study of two recipes."""
    plan = f"one:seed=3,frames={FRAMES},degrees=1,millimetres=2,expression=0.2,drift=0.1"
    where = ["--out", str(folder / "out"), "--cache", str(folder / "cache"), "--device", "cpu"]
    what = [
        "--suite",
        "none",
        "--make",
        plan,
        "--size",
        "32",
        "--images",
        "40",
        "--recipes",
        PUBLISHED,
        "average+refine",
    ]
    main([*what, *where, "--seeds", "0", *more])
    return [one["key"] for one in read_records(folder / "out" / "results.jsonl")]


def test_a_study_is_gone_on_with_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    [first] = study(tmp_path, "--seconds", "0.001")
    assert "1 runs done, 1 are left" in capsys.readouterr().out
    keys = study(tmp_path)
    assert keys[0] == first
    assert len(keys) == 2
    assert study(tmp_path) == keys
    text = capsys.readouterr().out
    assert "0 runs done, 0 are left" in text
    results = tmp_path / "out" / "results.jsonl"
    published, changed = map(json.loads, results.read_text().splitlines())
    assert published["frames"] == {"train": FRAMES - TESTED, "test": TESTED}
    assert published["test"] != published["test_as_tracked"]
    assert [point[1] for point in published["curve"]][-1] == 40
    gain = changed["test"]["psnr"] - published["test"]["psnr"]
    assert f"| average+refine | 1 | {gain:+.2f} |" in text
    assert (tmp_path / "out" / "table.md").read_text() in text
    for name in ("gains", "gap", "seconds", "images"):
        assert (tmp_path / "out" / f"{name}.png").stat().st_size > 5_000
    assert len(study(tmp_path, "--splits", "pose", "--looks", "1")) == 4
    *_, looked_at = map(json.loads, results.read_text().splitlines())
    assert [point[1] for point in looked_at["curve"]] == [20, 40]


def test_an_unknown_subject_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--subjects nobody: expected some of noisy_a"):
        main(["--subjects", "nobody", "--out", str(tmp_path), "--device", "cpu"])
