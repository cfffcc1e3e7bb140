"""rot6d and axis-angle against hand-made matrices, the matrix exponential, and degenerate input."""

from __future__ import annotations

import math

import pytest
import torch

from rgbavatar.geometry.rotation import axis_angle_to_rotation, rot6d_to_rotation, rotation_to_rot6d

EXACT = {"atol": 1e-12, "rtol": 0.0}  # a dozen float64 roundings


def random_normals(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)


def assert_proper(rotation: torch.Tensor) -> None:
    eye = torch.eye(3, dtype=rotation.dtype).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, eye, **EXACT)
    torch.testing.assert_close(
        torch.linalg.det(rotation), torch.ones(rotation.shape[:-2], dtype=rotation.dtype), **EXACT
    )


def test_rot6d_is_the_first_two_rows() -> None:
    rotation = torch.arange(9.0).reshape(3, 3)
    assert rotation_to_rot6d(rotation).tolist() == [0, 1, 2, 3, 4, 5]


def test_axis_angle_is_the_matrix_exponential() -> None:
    vectors = random_normals(20, 3)
    x, y, z = vectors.T
    zero = torch.zeros_like(x)
    cross = torch.stack((zero, -z, y, z, zero, -x, -y, x, zero), -1).reshape(20, 3, 3)
    torch.testing.assert_close(axis_angle_to_rotation(vectors), torch.linalg.matrix_exp(cross), **EXACT)


def test_quarter_turn_about_x_takes_y_to_z() -> None:
    quarter = torch.tensor([math.pi / 2, 0.0, 0.0], dtype=torch.float64)
    _, y, z = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(axis_angle_to_rotation(quarter) @ y, z, **EXACT)


@pytest.mark.parametrize("length", [0.0, 1e-300, 1e-12, 1e-4])
def test_small_angles_keep_value_and_gradient(length: float) -> None:
    vector = torch.tensor([length, 0.0, 0.0], dtype=torch.float64, requires_grad=True)
    rotation = axis_angle_to_rotation(vector)
    assert rotation[2, 1].item() == pytest.approx(math.sin(length), rel=1e-12)
    rotation[2, 1].backward()
    assert vector.grad is not None
    assert vector.grad.isfinite().all()
    assert vector.grad[0].item() == pytest.approx(1.0, abs=1e-8)


def test_rotation_survives_rot6d() -> None:
    rotation = axis_angle_to_rotation(random_normals(4, 5, 3))
    torch.testing.assert_close(rot6d_to_rotation(rotation_to_rot6d(rotation)), rotation, **EXACT)


def test_rot6d_keeps_the_first_row_and_the_half_plane_of_the_second() -> None:
    rot6d = random_normals(20, 6)
    rotation = rot6d_to_rotation(rot6d)
    assert_proper(rotation)
    torch.testing.assert_close(rotation[:, 0], torch.nn.functional.normalize(rot6d[:, :3], dim=-1), **EXACT)
    assert ((rotation[:, 1] * rot6d[:, 3:]).sum(-1) > 0).all()
    torch.testing.assert_close((rotation[:, 2] * rot6d[:, 3:]).sum(-1), torch.zeros(20, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize(
    "rot6d",
    [[0.0] * 6, [0, 0, 0, 1, 0, 0], [1, 2, 3, 2, 4, 6], [1, 2, 3, 0, 0, 0], [1e100, 0, 0, 0, 1e-100, 0], [1e-20] * 6],
)
def test_degenerate_rot6d_gives_a_rotation_and_finite_gradients(rot6d: list[float]) -> None:
    given = torch.tensor(rot6d, dtype=torch.float64, requires_grad=True)
    rotation = rot6d_to_rotation(given)
    assert_proper(rotation.detach())
    rotation.sum().backward()
    assert given.grad is not None
    assert given.grad.isfinite().all()
