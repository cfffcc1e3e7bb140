"""blend(): base plus a weighted sum of bases."""

from __future__ import annotations

import gaussian_rasterization as gr
import pytest
import torch
from gaussian_rasterization import reference
from torch import Tensor

from tests.helpers import scenes, tolerances
from tests.helpers.rasterization import Backend

# (B, K, N, D): less than a vector, more than one, more than one task, more images than registers hold
SHAPES = [(1, 1, 1, 1), (2, 3, 5, 3), (10, 20, 77, 4), (3, 2, 5000, 3), (19, 4, 33, 3), (8, 5, 16, 1), (9, 1, 2, 2)]


def arguments(images: int, bases: int, gaussians: int, width: int) -> tuple[Tensor, Tensor, Tensor]:
    g = scenes.generator_of(0)
    return (
        scenes.normal(g, gaussians, width),
        scenes.normal(g, bases, gaussians, width),
        scenes.normal(g, images, bases),
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_values_and_gradients_equal_the_oracles(backend: Backend, shape: tuple[int, int, int, int]) -> None:
    inputs = [x.to(backend.device, backend.dtype).requires_grad_() for x in arguments(*shape)]
    exact = [x.detach().double().cpu().requires_grad_() for x in inputs]
    out, expected = gr.blend(*inputs), reference.blend(*exact)
    tolerances.assert_close(out, expected, tolerances.blend(backend.dtype))
    upstream = scenes.normal(scenes.generator_of(1), *expected.shape)
    actual = torch.autograd.grad(out, inputs, upstream.to(out))
    for name, a, b in zip(
        ("base", "basis", "weights"), actual, torch.autograd.grad(expected, exact, upstream), strict=True
    ):
        tolerances.assert_close(a, b, tolerances.blend(backend.dtype), f"gradient to {name}")


def test_gradcheck_of_the_compiled_operator() -> None:
    inputs = [x.requires_grad_() for x in arguments(2, 3, 4, 3)]
    assert torch.autograd.gradcheck(gr.blend, inputs)


def test_no_basis_leaves_the_base(backend: Backend) -> None:
    base, basis, weights = (x.to(backend.device, backend.dtype) for x in arguments(3, 0, 6, 3))
    assert torch.equal(gr.blend(base, basis, weights), base.expand(3, -1, -1))


@pytest.mark.parametrize("shape", [(0, 2, 3, 3), (2, 2, 0, 3)])
def test_nothing_to_blend_gives_nothing(backend: Backend, shape: tuple[int, int, int, int]) -> None:
    inputs = [x.to(backend.device, backend.dtype).requires_grad_() for x in arguments(*shape)]
    out = gr.blend(*inputs)
    assert out.shape == (shape[0], shape[2], shape[3])
    gradients = torch.autograd.grad(out.sum(), inputs)
    assert all(not g.any() for g in gradients)


def test_memory_layout_does_not_matter(backend: Backend) -> None:
    base, basis, weights = (x.to(backend.device, backend.dtype) for x in arguments(3, 4, 20, 3))
    strided = gr.blend(
        base.T.contiguous().T, basis.transpose(0, 1).contiguous().transpose(0, 1), weights.T.contiguous().T
    )
    assert torch.equal(strided, gr.blend(base, basis, weights))


def test_a_batch_equals_a_loop_of_singles(backend: Backend) -> None:
    base, basis, weights = (x.to(backend.device, backend.dtype) for x in arguments(10, 20, 100, 3))
    singles = torch.cat([gr.blend(base, basis, weights[i : i + 1]) for i in range(10)])
    assert torch.equal(gr.blend(base, basis, weights), singles)


def test_thread_count_does_not_change_a_bit() -> None:
    before = torch.get_num_threads()
    inputs = [x.float().requires_grad_() for x in arguments(3, 4, 9000, 3)]
    results = []
    try:
        for threads in (1, 3):
            torch.set_num_threads(threads)
            out = gr.blend(*inputs)
            results.append((out, *torch.autograd.grad(out.square().sum(), inputs)))
    finally:
        torch.set_num_threads(before)
    assert all(torch.equal(a, b) for a, b in zip(*results, strict=True))


def test_wrong_shapes_and_types_are_named(device: str) -> None:
    base, basis, weights = (x.to(device, torch.float32) for x in arguments(2, 3, 4, 3))
    with pytest.raises(ValueError, match=r"base has shape \[4\]; expected \[N, D\]"):
        gr.blend(base[:, 0], basis, weights)
    with pytest.raises(ValueError, match=r"basis has shape \[2, 4, 3\]; expected \[K = 3, N = 4, D = 3\]"):
        gr.blend(base, basis[:2], weights)
    with pytest.raises(TypeError, match="weights is Double; expected Float"):
        gr.blend(base, basis, weights.double())
