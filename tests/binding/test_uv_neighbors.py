from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.binding.uv_neighbors import find_uv_neighbors
from tests.helpers.tiny_subject import GridTemplate, grid_template


def cut_along(template: GridTemplate, u: float) -> GridTemplate:
    """The same map, cut from bottom to top: triangles to the right have UV vertices of their own, in the same places."""
    right = template.uv[template.uv_faces].mean(dim=1)[:, 0] > u
    faces = torch.where(right[:, None], template.uv_faces + len(template.uv), template.uv_faces)
    return dataclasses.replace(template, uv=torch.cat([template.uv, template.uv]), uv_faces=faces)


def grid_neighbors(size: int) -> Tensor:
    """Of a map whose texels all hold Gaussians that hang together."""
    own = torch.arange(size * size).view(size, size)
    right, above = own.clone(), own.clone()
    right[:, :-1], above[:-1] = own[:, 1:], own[1:]
    return torch.stack([right.flatten(), above.flatten()], dim=1)


def test_neighbours_follow_along_u_and_v_and_the_last_have_themselves() -> None:
    assert torch.equal(find_uv_neighbors(grid_template(), 12), grid_neighbors(12))  # type: ignore[arg-type]


def test_neighbours_are_gaussians_of_the_binding() -> None:
    """A map with a hole: the texels of a removed triangle hold no Gaussian, and numbers skip them."""
    full = grid_template()
    keep = torch.arange(len(full.faces)) != 9
    template = dataclasses.replace(full, faces=full.faces[keep], uv_faces=full.uv_faces[keep])
    binding, neighbors = bind_template(template, 24), find_uv_neighbors(template, 24)  # type: ignore[arg-type]
    assert binding.count < 24 * 24
    assert neighbors.shape == (binding.count, 2)
    places = (template.uv[template.uv_faces[binding.face_ids]] * binding.barycentrics[..., None]).sum(dim=1)
    step = torch.tensor([[1.0, 0.0], [0.0, 1.0]]) / 24
    for side in range(2):
        has_one = neighbors[:, side] != torch.arange(binding.count)
        found = places[neighbors[has_one, side]] - places[has_one]
        torch.testing.assert_close(found, step[side].expand_as(found), rtol=0, atol=1e-5)
        assert 0.85 < float(has_one.float().mean()) < 23 / 24


def test_a_cut_parts_neighbours_though_their_texels_touch() -> None:
    whole, cut = grid_template(), cut_along(grid_template(), 0.5)
    found = find_uv_neighbors(cut, 12)  # type: ignore[arg-type]
    expected = find_uv_neighbors(whole, 12).clone().view(12, 12, 2)  # type: ignore[arg-type]
    expected[:, 5, 0] = torch.arange(144).view(12, 12)[:, 5]  # the cut runs between columns 5 and 6
    assert torch.equal(found, expected.view(-1, 2))


def test_a_slit_that_ends_parts_neighbours_too() -> None:
    """Only the upper half is cut, so both sides hang together below, in one chart: that joins them there alone."""
    template, size = grid_template(), 24
    both = cut_along(template, 0.5)
    at_end = torch.isclose(template.uv[:, 0], torch.tensor(0.5)) & (template.uv[:, 1] <= 0.5)
    joined = torch.where(at_end, torch.arange(len(template.uv)), torch.arange(len(template.uv)) + len(template.uv))
    faces = torch.where(both.uv_faces >= len(template.uv), joined[both.uv_faces % len(template.uv)], both.uv_faces)
    slit = dataclasses.replace(both, uv_faces=faces)
    neighbors = find_uv_neighbors(slit, size).view(size, size, 2)  # type: ignore[arg-type]
    across = neighbors[:, size // 2 - 1, 0] != torch.arange(size * size).view(size, size)[:, size // 2 - 1]
    assert across[: size // 2].all()
    assert not across[size * 3 // 4 :].any()
