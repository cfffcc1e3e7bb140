"""Our Adam against torch's: the same bits, and state dicts that either reads."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

from rgbavatar.training.optimizer import BETAS, EPSILON, Adam

SHAPES = ((5, 3), (7,), (2, 4, 3))


def make_params(seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(shape, generator=generator).requires_grad_() for shape in SHAPES]


def groups_of(params: list[Tensor]) -> list[dict[str, Any]]:
    return [{"params": params[:2], "name": "first", "lr": 0.1}, {"params": params[2:], "name": "second", "lr": 0.01}]


def torch_adam(params: list[Tensor]) -> torch.optim.Adam:
    return torch.optim.Adam(groups_of(params), betas=BETAS, eps=EPSILON, fused=True)


def run(optimizer: Adam | torch.optim.Adam, params: list[Tensor], steps: range, rests: int | None = None) -> None:
    """Steps with gradients that depend on the step alone; the parameter `rests` gets its first one at step 2."""
    for step in steps:
        generator = torch.Generator().manual_seed(step)
        optimizer.zero_grad(set_to_none=True)
        for number, param in enumerate(params):
            gradient = torch.randn(param.shape, generator=generator)
            param.grad = None if number == rests and step < 2 else gradient
        for group in optimizer.param_groups:
            group["lr"] *= 0.9
        optimizer.step()


def assert_equal(first: list[Tensor], second: list[Tensor]) -> None:
    assert all(map(torch.equal, first, second))


@pytest.mark.parametrize("rests", [None, 0, 2])
def test_it_makes_the_steps_of_torchs(rests: int | None) -> None:
    ours, theirs = make_params(), make_params()
    run(Adam(groups_of(ours)), ours, range(6), rests)
    run(torch_adam(theirs), theirs, range(6), rests)
    assert_equal(ours, theirs)


@pytest.mark.parametrize("first", [Adam, torch_adam])
@pytest.mark.parametrize("second", [Adam, torch_adam])
def test_either_goes_on_from_the_state_of_the_other(first: Any, second: Any) -> None:
    straight, params = make_params(), make_params()
    run(torch_adam(straight), straight, range(6), 2)

    def make(kind: Any) -> Any:
        return Adam(groups_of(params)) if kind is Adam else kind(params)

    half = make(first)
    run(half, params, range(1), 2)
    state = half.state_dict()
    rest = make(second)
    rest.load_state_dict(state)
    run(rest, params, range(1, 6), 2)
    assert_equal(params, straight)


def test_a_loaded_state_is_a_copy() -> None:
    params = make_params()
    first = Adam(groups_of(params))
    run(first, params, range(2))
    state = first.state_dict()
    before = state["state"][0]["exp_avg"].clone()
    second = Adam(groups_of(params))
    second.load_state_dict(state)
    run(second, params, range(2))
    assert torch.equal(state["state"][0]["exp_avg"], before)


def test_a_parameter_without_an_update_has_a_state_of_zeros() -> None:
    params = make_params()
    state = Adam(groups_of(params)).state_of(params[0])
    assert state.keys() == {"step", "exp_avg", "exp_avg_sq"}
    assert not any(tensor.any() for tensor in state.values())
    assert state["step"].shape == ()


def test_gradients_are_forgotten_or_filled_with_zeros() -> None:
    params = make_params()
    params[0].grad = torch.ones(SHAPES[0])
    optimizer = Adam(groups_of(params))
    optimizer.zero_grad(set_to_none=False)
    assert torch.equal(params[0].grad, torch.zeros(SHAPES[0]))
    assert params[1].grad is None
    optimizer.zero_grad()
    assert params[0].grad is None


def test_a_state_of_other_parameters_is_refused() -> None:
    params = make_params()
    optimizer = Adam(groups_of(params))
    run(optimizer, params, range(1))
    state = optimizer.state_dict()
    with pytest.raises(ValueError, match="other groups"):
        Adam(groups_of(params[:2])).load_state_dict(state)
    others = [torch.zeros(4, 3, requires_grad=True), *params[1:]]
    with pytest.raises(RuntimeError, match=r"exp_avg is \[5, 3\] for a parameter of \[4, 3\]"):
        Adam(groups_of(others)).load_state_dict(state)
