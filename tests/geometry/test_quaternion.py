"""Quaternions against matrices and against SciPy-free identities of rotations."""

from __future__ import annotations

import math

import pytest
import torch

from rgbavatar.geometry.quaternion import (
    multiply_quaternions,
    normalize_quaternion,
    quaternion_to_rotation,
    rotation_to_quaternion,
)

EXACT = {"atol": 1e-12, "rtol": 0.0}  # a dozen float64 roundings


def random_quaternions(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, generator=generator, dtype=torch.float64)


def test_units_multiply_as_hamilton_wrote() -> None:
    one, i, j, k = torch.eye(4, dtype=torch.float64)
    assert torch.equal(multiply_quaternions(i, j), k)
    assert torch.equal(multiply_quaternions(j, i), -k)
    assert torch.equal(multiply_quaternions(multiply_quaternions(i, j), k), -one)


def test_quarter_turn_about_z_takes_x_to_y() -> None:
    q = torch.tensor([math.cos(math.pi / 4), 0.0, 0.0, math.sin(math.pi / 4)], dtype=torch.float64)
    x, y, _ = torch.eye(3, dtype=torch.float64)
    torch.testing.assert_close(quaternion_to_rotation(q) @ x, y, **EXACT)


def test_product_is_product_of_matrices() -> None:
    a, b = random_quaternions(40).split(20)
    a, b = normalize_quaternion(a), normalize_quaternion(b)
    product = quaternion_to_rotation(multiply_quaternions(a, b))
    torch.testing.assert_close(product, quaternion_to_rotation(a) @ quaternion_to_rotation(b), **EXACT)


def test_matrix_is_sandwich_product() -> None:
    q = normalize_quaternion(random_quaternions(20))
    v = torch.randn(20, 3, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    pure = torch.cat((torch.zeros(20, 1, dtype=torch.float64), v), -1)
    conjugate = q * torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64)
    turned = multiply_quaternions(multiply_quaternions(q, pure), conjugate)[:, 1:]
    torch.testing.assert_close((quaternion_to_rotation(q) @ v[..., None])[..., 0], turned, **EXACT)


def test_matrix_of_any_length_is_a_rotation() -> None:
    rotation = quaternion_to_rotation(random_quaternions(20) * 7)
    eye = torch.eye(3, dtype=torch.float64).expand(20, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, eye, **EXACT)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(20, dtype=torch.float64), **EXACT)


@pytest.mark.parametrize("angle", [0.0, 1e-9, 1.0, math.pi - 1e-9, math.pi, 4.0])
def test_round_trip_at_every_angle_and_axis(angle: float) -> None:
    axes = torch.nn.functional.normalize(torch.cat((torch.eye(3), torch.ones(1, 3), -torch.eye(3))).double(), dim=-1)
    q = torch.cat((torch.full((7, 1), math.cos(angle / 2), dtype=torch.float64), math.sin(angle / 2) * axes), -1)
    found = rotation_to_quaternion(quaternion_to_rotation(q))
    sign = torch.sign((found * q).sum(-1, keepdim=True))
    torch.testing.assert_close(found * sign, q, **EXACT)
    assert (found.gather(1, found.abs().argmax(1, keepdim=True)) > 0).all()


def test_zero_stays_finite_with_finite_gradient() -> None:
    q = torch.zeros(4, dtype=torch.float64, requires_grad=True)
    rotation = quaternion_to_rotation(q)
    torch.testing.assert_close(rotation, torch.eye(3, dtype=torch.float64))
    rotation.sum().backward()
    assert q.grad is not None
    assert q.grad.isfinite().all()


def test_gradient_of_matrix_to_quaternion_is_right() -> None:
    rotation = quaternion_to_rotation(random_quaternions(6)).requires_grad_()
    assert torch.autograd.gradcheck(rotation_to_quaternion, rotation)
