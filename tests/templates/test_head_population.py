"""The made-up population and its modes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rgbavatar.templates import head_population
from rgbavatar.templates.anny_files import Slider
from rgbavatar.templates.head_population import Population, draw_population, find_modes, remove_rigid_motion

TARGETS, VERTICES = 5, 9


@pytest.fixture
def population(monkeypatch: pytest.MonkeyPatch) -> Population:
    """Of a package with three sliders."""
    sliders = {
        "eyes": [Slider(("eyes/l-eye-in", "eyes/l-eye-out"), ("eyes/r-eye-in", "eyes/r-eye-out"))],
        "asym": [Slider(("asym/jaw-l", "asym/jaw-r"))],
        "head": [Slider(("head/head-round",)), Slider(("head/head-trans-in", "head/head-trans-out"))],
    }
    monkeypatch.setattr(head_population, "find_sliders", lambda data, section: sliders.get(section, []))
    return draw_population(Path())


def amount(population: Population, name: str) -> tuple[float, float]:
    """Mean and variance of a target's amount."""
    i = population.targets.index(name)
    return float(population.mean[i]), float(population.covariance[i, i])


def test_bodies_are_mixed_of_whole_ones(population: Population) -> None:
    for kind, choices in (("caucasian", 3), ("universal", 1)):
        total = sum(m for name, m in zip(population.targets, population.mean, strict=True) if f"/{kind}-" in name)
        assert total == pytest.approx(1 / choices, abs=0.02)
    men = sum(m for name, m in zip(population.targets, population.mean, strict=True) if "universal-male" in name)
    assert men == pytest.approx(0.5, abs=0.02)
    assert (
        amount(population, "macrodetails/asian-male-young")[0] > amount(population, "macrodetails/asian-male-child")[0]
    )


def test_a_slider_goes_to_either_side_as_far(population: Population) -> None:
    half_normal = 0.2 / np.sqrt(2 * np.pi) * np.sqrt(1.04)  # mean of the positive part; the two sides differ by a fifth
    for name in ("eyes/l-eye-in", "eyes/l-eye-out"):
        assert amount(population, name)[0] == pytest.approx(half_normal, rel=0.05)


def test_the_population_is_its_own_mirror_image(population: Population) -> None:
    for left, right in (
        ("eyes/l-eye-in", "eyes/r-eye-in"),
        ("eyes/l-eye-out", "eyes/r-eye-out"),
        ("asym/jaw-l", "asym/jaw-r"),
    ):
        np.testing.assert_allclose(amount(population, left), amount(population, right), rtol=1e-12)
    i, j, k = (population.targets.index(f"eyes/{name}") for name in ("l-eye-in", "r-eye-in", "r-eye-out"))
    assert population.covariance[i, j] > 0.8 * population.covariance[i, i]
    assert population.covariance[i, k] < 0


def test_what_moves_a_head_and_does_not_shape_it_is_left_out(population: Population) -> None:
    assert "head/head-round" in population.targets
    assert "head/head-trans-in" not in population.targets


def test_the_same_population_is_drawn_each_time(population: Population) -> None:
    np.testing.assert_array_equal(population.covariance, draw_population(Path()).covariance)


def test_modes_give_the_populations_covariance_back() -> None:
    rng = np.random.default_rng(0)
    targets = rng.normal(size=(TARGETS, VERTICES, 3))
    root = rng.normal(size=(TARGETS, TARGETS))
    modes, share = find_modes(targets, root @ root.T, np.ones(VERTICES), TARGETS)
    assert share == pytest.approx(1.0)
    flat, moved = modes.reshape(TARGETS, -1), targets.reshape(TARGETS, -1)
    np.testing.assert_allclose(flat.T @ flat, moved.T @ root @ root.T @ moved, atol=1e-9)


def test_modes_are_orthogonal_in_the_metric_and_the_largest_comes_first() -> None:
    rng = np.random.default_rng(1)
    targets, metric = rng.normal(size=(TARGETS, VERTICES, 3)), rng.uniform(0.1, 2, VERTICES)
    modes, share = find_modes(targets, np.diag(rng.uniform(1, 2, TARGETS)), metric, 3)
    products = np.einsum("kvc,v,lvc->kl", modes, metric, modes)
    np.testing.assert_allclose(products, np.diag(np.diag(products)), atol=1e-9)
    assert (np.diff(np.diag(products)) < 0).all()
    assert 0.6 < share < 1
    assert (np.take_along_axis(modes.reshape(3, -1), np.abs(modes.reshape(3, -1)).argmax(1)[:, None], 1) > 0).all()


def test_rigid_motion_goes_and_nothing_else_does() -> None:
    rng = np.random.default_rng(2)
    points, metric = rng.normal(size=(VERTICES, 3)), rng.uniform(0.1, 2, VERTICES)
    rigid = np.cross(rng.normal(size=3), points) + rng.normal(size=3)
    shape = remove_rigid_motion(rng.normal(size=(1, VERTICES, 3)), points, metric)[0]
    left = remove_rigid_motion(np.stack((rigid, shape, shape + rigid)), points, metric)
    np.testing.assert_allclose(left, np.stack((0 * shape, shape, shape)), atol=1e-9)
    np.testing.assert_allclose((metric[:, None] * shape).sum(0), 0, atol=1e-9)
