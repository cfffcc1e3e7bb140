"""Nonlinear least squares for chains: n blocks of P unknowns, each linked to the next, and Q unknowns that all share.

Gauss-Newton with Levenberg's damping (Nocedal, Wright: Numerical Optimization, 2006, section 10.3) and Bertsekas' projection:
unknowns that stand at a bound and are pushed beyond it are held for a step. The normal equations of a chain are

    [ A   B ] [x]   [g]        A: block tridiagonal; blocks [P, P] on the diagonal, and minus a diagonal matrix
    [ B^T C ] [s] = [h]           `links` beside it: what links two frames are differences of the same unknown

which block elimination solves in n steps (the chain) and a Schur complement (what is shared).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]
State = TypeVar("State")

_FIRST_DAMPING, _MOST_DAMPING = 1e-4, 1e6
_CALM, _CAREFUL = 0.2, 6.0  # by which the damping changes after a step that helped, and after one that did not
_TINY = 1e-9  # added to a diagonal, of its largest entry: unknowns that nothing depends on stay where they are


@dataclass(frozen=True)
class System:
    """Normal equations at a state. diagonal [n, P, P]; links [n - 1, P], not negative; border [n, P, Q]; corner [Q, Q].

    pull [n, P] and shared_pull [Q]: minus the gradient. free [n, P]: unknowns that may move.
    """

    diagonal: Floats
    links: Floats
    border: Floats
    corner: Floats
    pull: Floats
    shared_pull: Floats
    free: Bools


class Problem(Protocol[State]):
    """What is minimised."""

    def cost(self, state: State) -> float:
        """The sum that is minimised, not negative."""
        ...

    def linearize(self, state: State) -> System:
        """Its normal equations."""
        ...

    def move(self, state: State, step: Floats, shared: Floats) -> State:
        """The state after a step [n, P] and [Q], within its bounds."""
        ...


def minimize(problem: Problem[State], start: State, rounds: int, tolerance: float) -> State:
    """Go down from a state until a round lowers the cost by less than a share `tolerance` of it, or `rounds` are over."""
    state, cost, damping = start, problem.cost(start), _FIRST_DAMPING
    for _ in range(rounds):
        system = problem.linearize(state)
        before = cost
        while damping <= _MOST_DAMPING:
            moved = problem.move(state, *solve(system, damping))
            found = problem.cost(moved)
            if found <= cost:
                state, cost, damping = moved, found, damping * _CALM
                break
            damping *= _CAREFUL
        if before - cost <= tolerance * before:
            return state
    return state


def solve(system: System, damping: float) -> tuple[Floats, Floats]:
    """The step [n, P] and [Q] of a system whose diagonal grows by a share `damping`."""
    free = system.free
    both = free[:, :, None] & free[:, None, :]
    diagonal = _damped(np.where(both, system.diagonal, 0.0), damping)
    at = np.arange(free.shape[1])
    diagonal[:, at, at] += ~free
    links = np.where(free[:-1] & free[1:], system.links, 0.0)
    right = np.where(free[..., None], np.concatenate((system.pull[..., None], system.border), 2), 0.0)
    found = solve_chain(diagonal, links, right)
    alone, shift = found[..., 0], found[..., 1:]
    if not system.border.shape[2]:
        return alone, np.zeros(0)
    border = right[..., 1:]
    corner = _damped(system.corner[None], damping)[0] - np.einsum("npq,npr->qr", border, shift)
    shared = np.linalg.solve(corner, system.shared_pull - np.einsum("npq,np->q", border, alone))
    return alone - shift @ shared, shared


def add_links(diagonal: Floats, pull: Floats, links: Floats, change: Floats) -> None:
    """Add what links n frames to the diagonal [n, P, P] and the pull [n, P] of their system.

    That is the squares of changes [n - 1, P] from one frame to the next, times links [n - 1, P].
    """
    at = np.arange(diagonal.shape[1])
    diagonal[:-1, at, at] += links
    diagonal[1:, at, at] += links
    pull[:-1] += links * change
    pull[1:] -= links * change


def solve_chain(diagonal: Floats, links: Floats, right: Floats) -> Floats:
    """Solve A x = right [n, P, m] for a block tridiagonal A; see the module's head. Returns [n, P, m]."""
    count, width = diagonal.shape[:2]
    carry, known = np.empty_like(diagonal), np.empty_like(right)
    for i in range(count):
        block, rest = diagonal[i], right[i]
        if i:
            link = links[i - 1][:, None]
            block = block - link * carry[i - 1]
            rest = rest + link * known[i - 1]
        last = i == count - 1
        ahead = np.zeros((width, 0)) if last else np.diag(links[i])
        both = np.linalg.solve(block, np.concatenate((rest, ahead), 1))
        known[i] = both[:, : right.shape[2]]
        if not last:
            carry[i] = both[:, right.shape[2] :]
    for i in range(count - 2, -1, -1):
        known[i] += carry[i] @ known[i + 1]
    return known


def _damped(blocks: Floats, damping: float) -> Floats:
    """Blocks [n, P, P] whose diagonals have grown."""
    grown = blocks.copy()
    at = np.arange(blocks.shape[1])
    entries = blocks[:, at, at]
    grown[:, at, at] += damping * entries + _TINY * (1.0 + entries.max(1, keepdims=True, initial=0.0))
    return grown
