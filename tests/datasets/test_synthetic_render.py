"""Pictures of a plain ball: where it lies, how it is lit, what its edge looks like."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from rgbavatar.datasets.synthetic_render import Head, Look, prepare_head, render_head, vertex_normals

CALM = Look(0, 0, 0)
SIZE, FOCAL, DISTANCE, RADIUS = 96, 300.0, 1.0, 0.1
INTRINSICS = torch.tensor([FOCAL, FOCAL, SIZE / 2, SIZE / 2])


def ball(texture: Tensor) -> tuple[Head, Tensor]:
    """A ball with a chart in which u runs to the head's left and v up, and its vertices [V, 3] before the camera."""
    n = 40
    polar, turn = torch.meshgrid(
        torch.linspace(0, math.pi, n).double(), torch.linspace(-math.pi, math.pi, n).double(), indexing="ij"
    )
    rest = torch.stack((polar.sin() * turn.sin(), polar.cos(), polar.sin() * turn.cos()), -1).view(-1, 3) * RADIUS
    uv = torch.stack((turn / (2 * math.pi) + 0.5, 1 - polar / math.pi), -1).view(-1, 2)
    at = torch.arange(n * n).view(n, n)
    a, b, c, d = at[:-1, :-1].flatten(), at[1:, :-1].flatten(), at[1:, 1:].flatten(), at[:-1, 1:].flatten()
    faces = torch.cat((torch.stack((a, b, c), -1), torch.stack((a, c, d), -1)))
    eyes = torch.tensor([[0.03, 0.0, RADIUS], [-0.03, 0.0, RADIUS]])
    head = prepare_head(faces, uv, faces, rest, eyes.double(), texture, seed=0)
    return head, rest * torch.tensor([1.0, -1.0, -1.0]) + torch.tensor([0.0, 0.0, DISTANCE])


def bald(head: Head) -> Head:
    return Head(head.faces, head.uv_corners, head.rest, head.texture, head.scalp[:0], head.growth, head.strands)


def picture(head: Head, vertices: Tensor, look: Look = CALM, samples: int = 4) -> Tensor:
    return render_head(head, vertices, INTRINSICS, SIZE, SIZE, look, samples).double() / 255


def test_a_ball_covers_its_disc_and_no_more() -> None:
    head, vertices = ball(torch.full((4, 4, 3), 0.5))
    alpha = picture(bald(head), vertices)[..., 3]
    radius = FOCAL * RADIUS / math.sqrt(DISTANCE**2 - RADIUS**2)
    assert alpha.sum().item() == pytest.approx(math.pi * radius**2, rel=0.01)  # a polyhedron of 40 x 40
    rows = torch.arange(SIZE).double()
    assert (alpha.sum(1) @ rows / alpha.sum()).item() == pytest.approx(SIZE / 2 - 0.5, abs=0.05)
    assert (alpha.sum(0) @ rows / alpha.sum()).item() == pytest.approx(SIZE / 2 - 0.5, abs=0.05)


def test_the_edge_has_the_colour_of_the_ball_and_not_of_the_background() -> None:
    head, vertices = ball(torch.full((4, 4, 3), 0.9))
    image = picture(bald(head), vertices)
    edge = (image[..., 3] > 0) & (image[..., 3] < 0.3)
    assert edge.any()
    assert image[edge][:, :3].min() > 0.9 * 0.5 - 0.01  # the ambient light alone
    assert (image[image[..., 3] == 0] == 0).all()


def test_the_texture_is_the_right_way_round() -> None:
    texture = torch.zeros(64, 64, 3)
    texture[:, 32:, 0] = 1  # red on the head's left, which the camera sees on its right
    texture[32:, :, 2] = 1  # blue above
    head, vertices = ball(texture)
    image = picture(bald(head), vertices)
    middle, side = SIZE // 2, 12
    assert image[middle + side, middle + side, 0] > 0.4 > 0.2 > image[middle + side, middle - side, 0]
    assert image[middle - side, middle - side, 2] > 0.4 > 0.2 > image[middle + side, middle - side, 2]


def test_the_side_to_the_lamp_is_brighter() -> None:
    head, vertices = ball(torch.full((4, 4, 3), 0.6))
    image = picture(bald(head), vertices)[..., :3].mean(-1)
    middle, side = SIZE // 2, 18
    assert image[middle - side, middle - side] > image[middle + side, middle + side] + 0.1


def test_hair_grows_out_of_the_scalp_alone() -> None:
    head, vertices = ball(torch.full((4, 4, 3), 0.5))
    alphas = [picture(h, vertices)[..., 3] for h in (head, bald(head))]
    assert len(head.scalp) > 0
    assert (alphas[0] >= alphas[1]).all()
    assert alphas[0][: SIZE // 2].sum() > alphas[1][: SIZE // 2].sum() + 5
    around = alphas[0] - alphas[1]
    assert around[around.shape[0] // 2 + 20 :].sum() == 0


def test_a_blush_reddens_and_a_calm_skin_does_not() -> None:
    head, vertices = ball(torch.full((4, 4, 3), 0.6))
    head = bald(head)
    calm, blushing = picture(head, vertices), picture(head, vertices, Look(1, 0, 0))
    change = (calm - blushing)[..., :3]
    assert change[..., 1].max() > 0.05
    assert change[..., 1].sum() > 5 * change[..., 0].sum()


def test_a_head_out_of_sight_gives_an_empty_picture() -> None:
    head, vertices = ball(torch.full((4, 4, 3), 0.5))
    assert (picture(head, vertices + torch.tensor([5.0, 0.0, 0.0])) == 0).all()


def test_a_head_cut_by_the_border_is_the_part_of_the_whole() -> None:
    head, vertices = ball(torch.full((4, 4, 3), 0.5))
    whole = picture(head, vertices)
    shifted = INTRINSICS - torch.tensor([0.0, 0.0, 40.0, 0.0])
    cut = render_head(head, vertices, shifted, SIZE, SIZE, CALM, 4).double() / 255
    torch.testing.assert_close(cut[:, : SIZE - 40], whole[:, 40:], rtol=0, atol=1.5 / 255)  # rounding at 8 bits


def test_normals_point_outwards() -> None:
    head, vertices = ball(torch.zeros(2, 2, 3))
    outward = vertices - torch.tensor([0.0, 0.0, DISTANCE])
    assert ((vertex_normals(vertices, head.faces) * outward).sum(-1)[40:-40] > 0).all()  # the poles have flat triangles
