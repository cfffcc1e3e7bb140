"""A person's own template poses the same meshes as the template with the person's identity."""

from __future__ import annotations

from dataclasses import replace

import torch

from rgbavatar.datasets.features import compute_features, join_frames
from rgbavatar.live.head import PersonHead
from tests.helpers.live_camera import template, true_frames


def test_identity_baked_into_the_mesh_moves_no_vertex_and_no_code() -> None:
    frames = true_frames()[:40:8]
    head = PersonHead(template(), frames[0].shape)
    assert frames[0].shape.abs().max() > 0.3
    vertices, codes = compute_features(template(), join_frames(frames))
    own_vertices, own_codes = compute_features(head.template, head.motion(frames))
    assert (vertices - own_vertices).abs().max() < 1e-6
    assert torch.equal(codes, own_codes)
    other = replace(frames[0], shape=frames[0].shape + 1)
    assert (compute_features(template(), join_frames([other]))[0] - own_vertices[:1]).abs().max() > 1e-3
