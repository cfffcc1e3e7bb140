from __future__ import annotations

import math

import torch

from rgbavatar.binding.mesh_binding import bind_template, uv_tangents
from rgbavatar.types import Gaussians
from tests.helpers.tiny_subject import CELLS, HALF_WIDTH, grid_template, grid_vertices


def local_gaussians(count: int, offset: tuple[float, float, float]) -> Gaussians:
    return Gaussians(
        means=torch.tensor(offset, dtype=torch.float32).expand(1, count, 3),
        rotations=torch.tensor([1.0, 0.0, 0.0, 0.0]).expand(1, count, 4),
        scales=torch.ones(count, 3),
        opacities=torch.ones(count),
        colors=torch.ones(1, count, 3),
    )


def test_a_fully_covered_map_holds_a_gaussian_in_each_texel() -> None:
    binding = bind_template(grid_template(), 10)  # type: ignore[arg-type]
    assert binding.count == 100
    assert torch.equal(binding.face_ids.unique(), torch.arange(2 * CELLS * CELLS))


def test_a_gaussian_at_rest_lies_at_its_texel_on_the_mesh() -> None:
    template, size = grid_template(), 8
    binding = bind_template(template, size)  # type: ignore[arg-type]
    world = binding.to_world(local_gaussians(binding.count, (0, 0, 0)), grid_vertices(template, torch.zeros(1, 2)))
    row, col = torch.meshgrid(torch.arange(size), torch.arange(size), indexing="ij")
    x = ((col + 0.5) / size - 0.5) * 2 * HALF_WIDTH
    y = -((row + 0.5) / size - 0.5) * 2 * HALF_WIDTH
    expected = torch.stack([x.flatten(), y.flatten(), torch.ones(size * size)], dim=1)
    assert torch.allclose(world.means[0], expected, atol=1e-6)


def test_the_frame_is_tangent_bitangent_and_normal() -> None:
    """u runs along +x and v along -y of the camera, so the normal u x v points at the camera, along -z."""
    template = grid_template()
    binding = bind_template(template, 8)  # type: ignore[arg-type]
    vertices = grid_vertices(template, torch.zeros(1, 2))
    rest = binding.to_world(local_gaussians(binding.count, (0, 0, 0)), vertices).means
    for offset, direction in (((1, 0, 0), (1, 0, 0)), ((0, 1, 0), (0, -1, 0)), ((0, 0, 1), (0, 0, -1))):
        moved = binding.to_world(local_gaussians(binding.count, offset), vertices).means
        assert torch.allclose(moved - rest, torch.tensor(direction).float().expand_as(rest), atol=1e-5)


def test_gaussians_turn_with_the_mesh() -> None:
    template = grid_template()
    binding = bind_template(template, 6)  # type: ignore[arg-type]
    flat = grid_vertices(template, torch.zeros(1, 2))
    angle = 0.7
    turn = torch.tensor(
        [[math.cos(angle), 0.0, math.sin(angle)], [0.0, 1.0, 0.0], [-math.sin(angle), 0.0, math.cos(angle)]]
    )
    local = local_gaussians(binding.count, (0.3, -0.2, 0.5))
    before, after = binding.to_world(local, flat), binding.to_world(local, flat @ turn.T)
    assert torch.allclose(after.means, before.means @ turn.T, atol=1e-5)


def test_tangents_follow_u_even_where_the_map_is_mirrored() -> None:
    uv = torch.tensor([[0.0, 0.0], [0.5, 0.0], [0.0, 0.5], [1.0, 0.0]])
    tangents = uv_tangents(uv, torch.tensor([[0, 1, 2], [1, 0, 2], [0, 2, 1]])).float()
    edges = uv[torch.tensor([[0, 1, 2], [1, 0, 2], [0, 2, 1]])]
    first, second = edges[:, 1] - edges[:, 0], edges[:, 2] - edges[:, 0]
    along = tangents[:, :1] * first + tangents[:, 1:] * second
    assert torch.allclose(along / along.norm(dim=1, keepdim=True), torch.tensor([1.0, 0.0]).expand(3, 2), atol=1e-6)


def test_a_triangle_without_uv_area_takes_its_first_edge() -> None:
    assert uv_tangents(torch.zeros(3, 2), torch.tensor([[0, 1, 2]])).tolist() == [[1.0, 0.0]]
