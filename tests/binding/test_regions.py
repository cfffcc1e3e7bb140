from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.binding.regions import expressive_regions, shares_of_gaussians
from rgbavatar.templates.base import LEFT_EYE, RIGHT_EYE, HeadTemplate
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.templates.flame_data import NUM_SHAPE
from rgbavatar.templates.mouth import boundary_loops
from rgbavatar.templates.procedural_head import make_open_head
from tests.helpers.blendshape_head import make_blendshape_head

FLAME = FlameTemplate(make_open_head(40))
BLENDSHAPES = make_blendshape_head(FLAME, torch.zeros(NUM_SHAPE, dtype=torch.float64))
HEADS = {"flame": FLAME, "blendshapes": BlendshapeTemplate(BLENDSHAPES)}


def lips() -> Tensor:
    """The vertices about the hole of the mouth: of the mesh's boundaries, the one that lies foremost but for the eyes'."""
    eyes = FLAME.data.weights[:, [LEFT_EYE, RIGHT_EYE]].any(axis=1)
    loops = [loop for loop in boundary_loops(FLAME.data.faces) if not eyes[loop].any()]
    below_eyes = [loop for loop in loops if abs(FLAME.data.v_template[loop, 0].mean()) < 0.005]
    return torch.from_numpy(max(below_eyes, key=lambda loop: FLAME.data.v_template[loop, 2].mean()))


@pytest.mark.parametrize("name", HEADS)
def test_eyes_and_lips_belong_to_the_region_and_the_back_of_the_head_does_not(name: str) -> None:
    template: HeadTemplate = HEADS[name]
    shares = expressive_regions(template)
    assert shares.shape == (template.num_vertices,)
    assert float(shares.min()) >= 0.0
    assert float(shares.max()) == 1.0
    eyes = torch.from_numpy(np.flatnonzero(FLAME.data.weights[:, [LEFT_EYE, RIGHT_EYE]].any(axis=1)))
    assert float(shares[eyes].min()) == 1.0
    assert float(shares[lips()].mean()) > 0.9
    behind = torch.from_numpy(FLAME.data.v_template[:, 2] < FLAME.data.v_template[:, 2].mean() - 0.03)
    assert behind.any()
    assert float(shares[behind].max()) == 0.0


def test_a_template_without_eyes_keeps_what_expressions_move() -> None:
    shares = expressive_regions(BlendshapeTemplate(dataclasses.replace(BLENDSHAPES, eyes=None)))
    assert float(shares[lips()].mean()) > 0.9
    assert bool((shares <= expressive_regions(HEADS["blendshapes"])).all())


def test_a_gaussian_has_its_share_from_the_corners_of_its_triangle() -> None:
    binding = bind_template(FLAME, 64)
    heights = torch.from_numpy(FLAME.data.v_template[:, 1])
    found = shares_of_gaussians(heights.float(), binding)
    corners = heights.float()[binding.faces[binding.face_ids]]
    assert found.shape == (binding.count,)
    assert bool((found >= corners.min(dim=1).values - 1e-6).all())
    assert bool((found <= corners.max(dim=1).values + 1e-6).all())
    at_corner = binding.barycentrics.max(dim=1)
    near = at_corner.values > 0.98
    expected = corners[near].gather(1, at_corner.indices[near][:, None])[:, 0]
    torch.testing.assert_close(found[near], expected, rtol=0, atol=5e-4)
