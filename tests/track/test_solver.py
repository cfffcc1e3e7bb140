"""The chain solver against dense algebra, and minimisation against what can be worked out by hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from rgbavatar.track.solver import Floats, System, minimize, solve, solve_chain

FRAMES, WIDTH, SHARED = 6, 4, 3


def random_blocks(generator: np.random.Generator) -> tuple[Floats, Floats]:
    """Positive definite blocks [n, P, P] and links [n - 1, P]."""
    links = generator.uniform(0.1, 1.0, (FRAMES - 1, WIDTH))
    roots = generator.normal(size=(FRAMES, WIDTH, WIDTH))
    return roots @ np.swapaxes(roots, 1, 2) + 3 * np.eye(WIDTH), links


def dense_chain(diagonal: Floats, links: Floats) -> Floats:
    whole = np.zeros((FRAMES * WIDTH, FRAMES * WIDTH))
    for i, block in enumerate(diagonal):
        whole[i * WIDTH : (i + 1) * WIDTH, i * WIDTH : (i + 1) * WIDTH] = block
    for i, link in enumerate(links):
        here, there = slice(i * WIDTH, (i + 1) * WIDTH), slice((i + 1) * WIDTH, (i + 2) * WIDTH)
        whole[here, there] = whole[there, here] = -np.diag(link)
    return whole


def test_a_chain_is_solved_as_the_dense_matrix_is() -> None:
    generator = np.random.default_rng(0)
    diagonal, links = random_blocks(generator)
    right = generator.normal(size=(FRAMES, WIDTH, 2))
    expected = np.linalg.solve(dense_chain(diagonal, links), right.reshape(-1, 2))
    np.testing.assert_allclose(solve_chain(diagonal, links, right).reshape(-1, 2), expected, rtol=1e-10)


def test_a_chain_of_one_frame_is_a_block() -> None:
    diagonal, right = 2 * np.eye(3)[None], np.ones((1, 3, 1))
    np.testing.assert_allclose(solve_chain(diagonal, np.zeros((0, 3)), right), 0.5 * right)


def make_system(free: np.ndarray) -> System:
    generator = np.random.default_rng(1)
    diagonal, links = random_blocks(generator)
    border = generator.normal(size=(FRAMES, WIDTH, SHARED))
    corner = 40 * np.eye(SHARED)
    pull, shared = generator.normal(size=(FRAMES, WIDTH)), generator.normal(size=SHARED)
    return System(diagonal, links, border, corner, pull, shared, free)


def test_shared_unknowns_are_solved_along() -> None:
    system = make_system(np.ones((FRAMES, WIDTH), bool))
    border = system.border.reshape(-1, SHARED)
    whole = np.block([[dense_chain(system.diagonal, system.links), border], [border.T, system.corner]])
    expected = np.linalg.solve(whole, np.concatenate((system.pull.ravel(), system.shared_pull)))
    step, shared = solve(system, 0.0)
    np.testing.assert_allclose(np.concatenate((step.ravel(), shared)), expected, rtol=1e-6, atol=1e-8)


def test_held_unknowns_stay_and_the_others_are_solved_without_them() -> None:
    free = np.random.default_rng(2).random((FRAMES, WIDTH)) > 0.4
    system = make_system(free)
    kept = np.concatenate((free.ravel(), np.ones(SHARED, bool)))
    border = system.border.reshape(-1, SHARED)
    whole = np.block([[dense_chain(system.diagonal, system.links), border], [border.T, system.corner]])
    right = np.concatenate((system.pull.ravel(), system.shared_pull))
    expected = np.zeros(len(right))
    expected[kept] = np.linalg.solve(whole[np.ix_(kept, kept)], right[kept])
    step, shared = solve(system, 0.0)
    assert not step[~free].any()
    np.testing.assert_allclose(np.concatenate((step.ravel(), shared)), expected, rtol=1e-6, atol=1e-8)


@dataclass(frozen=True)
class Valley:
    """Rosenbrock's valley, whose least value, 0, is at (1, 1), as residuals 10 (y - x²) and 1 - x; x at most `most`."""

    most: float = np.inf

    def residuals(self, state: Floats) -> Floats:
        x, y = state
        return np.array((10 * (y - x * x), 1 - x))

    def cost(self, state: Floats) -> float:
        return float((self.residuals(state) ** 2).sum()) / 2

    def linearize(self, state: Floats) -> System:
        slopes = np.array(((-20 * state[0], 10.0), (-1.0, 0.0)))
        pull = -slopes.T @ self.residuals(state)
        free = np.array([[not (state[0] >= self.most and pull[0] > 0), True]])
        none = np.zeros(0)
        return System(
            (slopes.T @ slopes)[None], np.zeros((0, 2)), np.zeros((1, 2, 0)), np.zeros((0, 0)), pull[None], none, free
        )

    def move(self, state: Floats, step: Floats, shared: Floats) -> Floats:
        return np.minimum(state + step[0], (self.most, np.inf))


def test_the_bottom_of_a_curved_valley_is_found() -> None:
    found = minimize(Valley(), np.array((-1.2, 1.0)), 100, 1e-14)
    np.testing.assert_allclose(found, (1, 1), atol=1e-5)


def test_a_bound_is_kept_and_the_best_point_on_it_found() -> None:
    found = minimize(Valley(0.5), np.array((-1.2, 1.0)), 100, 1e-14)
    np.testing.assert_allclose(found, (0.5, 0.25), atol=1e-4)


@pytest.mark.parametrize("rounds", [0, 1, 3])
def test_more_rounds_never_raise_the_cost(rounds: int) -> None:
    start = np.array((-1.2, 1.0))
    costs = [Valley().cost(minimize(Valley(), start, count, 0.0)) for count in (rounds, rounds + 1)]
    assert costs[1] <= costs[0]
