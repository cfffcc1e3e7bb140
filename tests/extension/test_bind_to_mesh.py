"""bind_to_mesh(): from a triangle's frame to world space."""

from __future__ import annotations

import gaussian_rasterization as gr
import pytest
import torch
from gaussian_rasterization import reference
from torch import Tensor

from tests.helpers import scenes, tolerances
from tests.helpers.rasterization import Backend
from tests.helpers.tolerances import assert_close

B, N, V, F = 3, 50, 12, 9


def random_mesh() -> tuple[Tensor, ...]:
    """vertices, faces, tangents, face_ids, barycentrics: triangles of a centimetre or so, as of a head."""
    g = scenes.generator_of(3)
    faces = torch.stack([torch.randperm(V, generator=g)[:3] for _ in range(F)])
    barycentrics = scenes.uniform(g, N, 3)
    return (
        0.01 * scenes.normal(g, B, V, 3) + 0.1,
        faces,
        scenes.normal(g, F, 2),
        torch.randint(0, F, (N,), generator=g),
        barycentrics / barycentrics.sum(-1, keepdim=True),
    )


def random_gaussians() -> tuple[Tensor, Tensor]:
    g = scenes.generator_of(4)
    return 0.001 * scenes.normal(g, B, N, 3), scenes.normal(g, B, N, 4)


def moved(tensors: tuple[Tensor, ...], backend: Backend) -> tuple[Tensor, ...]:
    """To the backend; whole numbers stay whole."""
    return tuple(x.to(backend.device, backend.dtype if x.is_floating_point() else x.dtype) for x in tensors)


def with_sign_of(quaternions: Tensor, like: Tensor) -> Tensor:
    """q and -q are one rotation."""
    return quaternions * torch.sign((quaternions * like).sum(-1, keepdim=True))


def one_triangle(corners: list[list[float]], tangent: list[float]) -> tuple[Tensor, ...]:
    return (
        torch.tensor([corners], dtype=torch.float64),
        torch.tensor([[0, 1, 2]]),
        torch.tensor([tangent], dtype=torch.float64),
        torch.zeros(3, dtype=torch.int64),
        torch.tensor([[0.2, 0.3, 0.5]] * 3, dtype=torch.float64),
    )


def frame_of(mesh: tuple[Tensor, ...]) -> Tensor:
    """The columns of the first face's frame: where the unit vectors of the frame end up, less the anchor."""
    like = mesh[0]
    basis = torch.eye(3).to(like)[None]
    rotations = torch.tensor([1.0, 0, 0, 0]).to(like).expand(1, 3, 4)
    origin, _ = gr.bind_to_mesh(torch.zeros_like(basis), rotations, *mesh)
    means, quaternions = gr.bind_to_mesh(basis, rotations, *mesh)
    frame = (means - origin)[0].mT
    assert_close(reference.rotation_matrices(quaternions[0, 0]), frame, tolerances.bind(like.dtype), "quaternion")
    return frame


@pytest.mark.parametrize("index_type", [torch.int32, torch.int64])
def test_values_and_gradients_equal_the_oracles(backend: Backend, index_type: torch.dtype) -> None:
    mesh = tuple(x if x.is_floating_point() else x.to(index_type) for x in random_mesh())
    inputs = [x.requires_grad_() for x in moved(random_gaussians(), backend)]
    exact = [x.detach().double().cpu().requires_grad_() for x in inputs]
    exact_mesh = tuple(x.to(backend.dtype).double() if x.is_floating_point() else x for x in mesh)
    means, rotations = gr.bind_to_mesh(*inputs, *moved(mesh, backend))
    expected_means, expected_rotations = reference.bind_to_mesh(*exact, *exact_mesh)
    expected_rotations = with_sign_of(expected_rotations, rotations.detach().double().cpu())
    assert_close(means, expected_means, tolerances.bind(backend.dtype), "means")
    assert_close(rotations, expected_rotations, tolerances.bind(backend.dtype), "rotations")
    g = scenes.generator_of(5)
    upstream = [scenes.normal(g, *x.shape) for x in (means, rotations)]
    actual = torch.autograd.grad([means, rotations], inputs, [x.to(means) for x in upstream])
    expected = torch.autograd.grad([expected_means, expected_rotations], exact, upstream)
    for name, a, b in zip(("means", "rotations"), actual, expected, strict=True):
        assert_close(a, b, tolerances.bind(backend.dtype), f"gradient to {name}")


def test_gradcheck_of_the_compiled_operator() -> None:
    means, rotations = (x[:, :4].clone().requires_grad_() for x in random_gaussians())
    vertices, faces, tangents, face_ids, barycentrics = random_mesh()
    mesh = (vertices, faces, tangents, face_ids[:4], barycentrics[:4])
    assert torch.autograd.gradcheck(lambda m, r: gr.bind_to_mesh(m, r, *mesh), (means, rotations))


def test_the_frame_of_a_triangle_in_the_plane_is_the_axes(backend: Backend) -> None:
    mesh = moved(one_triangle([[1, 1, 1], [3, 1, 1], [1, 2, 1]], [1, 0]), backend)
    assert_close(frame_of(mesh), torch.eye(3), tolerances.bind(torch.float32))


def test_the_tangent_follows_the_texture(backend: Backend) -> None:
    """(a, b) = (0, 1): the tangent is e2, here y; the bitangent n x t is then -x."""
    mesh = moved(one_triangle([[1, 1, 1], [3, 1, 1], [1, 2, 1]], [0, 1]), backend)
    expected = torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    assert_close(frame_of(mesh), expected, tolerances.bind(torch.float32))


def test_an_anchor_is_the_barycentric_point(backend: Backend) -> None:
    mesh = moved(one_triangle([[1, 0, 0], [0, 1, 0], [0, 0, 1]], [1, 0]), backend)
    zeros = torch.zeros(1, 3, 3).to(mesh[0])
    means, _ = gr.bind_to_mesh(zeros, torch.ones(1, 3, 4).to(mesh[0]), *mesh)
    assert_close(means[0, 0], torch.tensor([0.2, 0.3, 0.5]), tolerances.bind(torch.float32))


@pytest.mark.parametrize(
    ("corners", "tangent", "first_column"),
    [
        ([[0, 0, 0], [1, 0, 0], [2, 0, 0]], [1, 0], [1, 0, 0]),  # no area: the tangent is the edge
        ([[0, 0, 0], [0, 0, 0], [0, 2, 0]], [1, 0], [0, 1, 0]),  # no first edge: the tangent is the second
        ([[0, 0, 0], [0, 3, 0], [1, 0, 0]], [0, 0], [0, 1, 0]),  # no texture: the tangent is the first edge
        ([[5, 5, 5], [5, 5, 5], [5, 5, 5]], [1, 0], None),  # a point: any frame
        ([[0, 0, 0], [1e-9, 0, 0], [0, 1e-9, 0]], [1, 0], [1, 0, 0]),  # tiny, and not degenerate
    ],
)
def test_a_degenerate_triangle_still_has_a_proper_frame(
    backend: Backend, corners: list[list[float]], tangent: list[float], first_column: list[float] | None
) -> None:
    mesh = moved(one_triangle(corners, tangent), backend)
    frame = frame_of(mesh).double().cpu()
    assert_close(frame @ frame.mT, torch.eye(3), tolerances.bind(torch.float32))
    assert torch.linalg.det(frame).item() == pytest.approx(1, abs=1e-5)
    if first_column is not None:
        assert_close(frame[:, 0], torch.tensor(first_column), tolerances.bind(torch.float32))
    expected = reference.face_frames(*(x.double().cpu() for x in (mesh[0][0], mesh[2][0])))
    assert_close(frame, expected, tolerances.bind(torch.float32), "the oracle's fallback")


def test_rotations_come_out_unit(backend: Backend) -> None:
    _, rotations = gr.bind_to_mesh(*moved(random_gaussians(), backend), *moved(random_mesh(), backend))
    assert_close(rotations.norm(dim=-1), torch.ones(B, N), tolerances.bind(backend.dtype))


@pytest.mark.parametrize("value", [0.0, 1e-20, float("nan"), float("inf")])
def test_a_rotation_without_direction_becomes_zero_and_gets_no_gradient(backend: Backend, value: float) -> None:
    means, rotations = moved(random_gaussians(), backend)
    rotations[1, 2] = value
    rotations.requires_grad_()
    _, world = gr.bind_to_mesh(means, rotations, *moved(random_mesh(), backend))
    assert not world[1, 2].any()
    world.sum().backward()
    assert rotations.grad is not None
    assert not rotations.grad[1, 2].any()
    assert rotations.grad.isfinite().all()


def test_vertices_get_no_gradient(backend: Backend) -> None:
    means, rotations = moved(random_gaussians(), backend)
    vertices, *rest = moved(random_mesh(), backend)
    vertices.requires_grad_()
    world, _ = gr.bind_to_mesh(means.requires_grad_(), rotations, vertices, *rest)
    world.sum().backward()
    assert vertices.grad is None


def test_only_one_output_used_is_enough_for_a_gradient(backend: Backend) -> None:
    means, rotations = (x.requires_grad_() for x in moved(random_gaussians(), backend))
    world, _ = gr.bind_to_mesh(means, rotations, *moved(random_mesh(), backend))
    world.sum().backward()
    assert means.grad is not None
    assert means.grad.any()
    assert rotations.grad is None or not rotations.grad.any()


def test_a_batch_equals_a_loop_of_singles(backend: Backend) -> None:
    means, rotations = moved(random_gaussians(), backend)
    vertices, *rest = moved(random_mesh(), backend)
    together = gr.bind_to_mesh(means, rotations, vertices, *rest)
    singles = [gr.bind_to_mesh(*(x[i : i + 1] for x in (means, rotations, vertices)), *rest) for i in range(B)]
    for whole, parts in zip(together, zip(*singles, strict=True), strict=True):
        assert torch.equal(whole, torch.cat(parts))


def test_no_gaussian_gives_none(backend: Backend) -> None:
    vertices, faces, tangents, face_ids, barycentrics = moved(random_mesh(), backend)
    means, rotations = (x[:, :0] for x in moved(random_gaussians(), backend))
    world, turned = gr.bind_to_mesh(means, rotations, vertices, faces, tangents, face_ids[:0], barycentrics[:0])
    assert world.shape == (B, 0, 3)
    assert turned.shape == (B, 0, 4)


def test_wrong_meshes_are_named() -> None:
    means, rotations = random_gaussians()
    vertices, faces, tangents, face_ids, barycentrics = random_mesh()
    with pytest.raises(IndexError, match="faces runs from 0 to 12; there are 12 vertices"):
        gr.bind_to_mesh(means, rotations, vertices, torch.tensor([[0, 1, 12]] * F), tangents, face_ids, barycentrics)
    with pytest.raises(IndexError, match="face_ids runs from -1 to -1; there are 9 faces"):
        gr.bind_to_mesh(means, rotations, vertices, faces, tangents, torch.full((N,), -1), barycentrics)
    with pytest.raises(TypeError, match="faces is Float; expected int32 or int64"):
        gr.bind_to_mesh(means, rotations, vertices, faces.float(), tangents, face_ids, barycentrics)
    with pytest.raises(ValueError, match=r"tangents has shape \[9, 3\]; expected \[F = 9, 2\]"):
        gr.bind_to_mesh(means, rotations, vertices, faces, torch.zeros(F, 3).double(), face_ids, barycentrics)
    with pytest.raises(ValueError, match=r"vertices has shape \[2, 12, 3\]; expected \[B = 3, V, 3\]"):
        gr.bind_to_mesh(means, rotations, vertices[:2], faces, tangents, face_ids, barycentrics)
    with pytest.raises(ValueError, match=r"means has shape \[3, 49, 3\]; expected \[B = 3, N = 50, 3\]"):
        gr.bind_to_mesh(means[:, 1:], rotations, vertices, faces, tangents, face_ids, barycentrics)
