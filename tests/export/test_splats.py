"""Posed splats as other programs see them: read by plyfile, and rendered by the torch oracle from what stands in the file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import plyfile
import torch
from gaussian_rasterization import rasterize

from rgbavatar.export.splats import write_splats
from rgbavatar.renderer import render
from rgbavatar.types import Gaussians
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer

DATASET = tiny_dataset()


def posed() -> Gaussians:
    """Two images of an avatar with Gaussians of all shapes, turns, opacities and colours."""
    trainer, random = tiny_trainer(tiny_config(bases_after=0), DATASET), torch.Generator().manual_seed(0)
    for parameter in trainer.model.parameters():
        parameter.data += 0.3 * torch.randn(parameter.shape, generator=random)
    trainer.model.base.mean.data *= 0.01
    trainer.model.basis.mean.data *= 0.01
    batch = DATASET.batch(torch.tensor([3, 5]), CPU)
    with torch.no_grad():
        return trainer.binding.to_world(trainer.model.blended(trainer.model.weights(batch.codes)), batch.vertices)


def columns(path: Path, *names: str) -> torch.Tensor:
    vertex = plyfile.PlyData.read(str(path))["vertex"]
    return torch.from_numpy(np.stack([np.asarray(vertex[name], np.float32) for name in names], axis=1))


def test_the_file_renders_to_the_picture_of_the_avatar(tmp_path: Path) -> None:
    gaussians, camera, background = (
        posed(),
        DATASET.camera,
        torch.rand(2, 3, generator=torch.Generator().manual_seed(1)),
    )
    expected = render(gaussians, camera, background).color
    for image in range(2):
        path = tmp_path / f"{image}.ply"
        write_splats(path, gaussians, image)
        shown = rasterize(
            columns(path, "x", "y", "z")[None],
            columns(path, "rot_0", "rot_1", "rot_2", "rot_3")[None],
            columns(path, "scale_0", "scale_1", "scale_2").exp(),
            columns(path, "opacity")[:, 0].sigmoid(),
            (0.5 + 0.28209479177387814 * columns(path, "f_dc_0", "f_dc_1", "f_dc_2")).clamp_min(0.0)[None],
            camera.world_to_camera, camera.intrinsics, background[image : image + 1], camera.width, camera.height,
        ).color  # fmt: skip
        torch.testing.assert_close(shown[0], expected[image], atol=2e-5, rtol=0.0)
    assert (expected[0] - expected[1]).abs().max() > 0.05


def test_quaternions_are_unit_and_extreme_opacities_finite(tmp_path: Path) -> None:
    gaussians = posed()
    opacities = gaussians.opacities.clone()
    opacities[0], opacities[1] = 0.0, 1.0
    write_splats(tmp_path / "a.ply", Gaussians(**{**vars(gaussians), "opacities": opacities}))
    turns = columns(tmp_path / "a.ply", "rot_0", "rot_1", "rot_2", "rot_3")
    torch.testing.assert_close(turns.norm(dim=1), torch.ones(len(turns)))
    assert torch.isfinite(columns(tmp_path / "a.ply", "opacity")).all()


def test_the_properties_stand_in_the_order_that_viewers_expect(tmp_path: Path) -> None:
    write_splats(tmp_path / "a.ply", posed())
    vertex = plyfile.PlyData.read(str(tmp_path / "a.ply"))["vertex"]
    assert [item.name for item in vertex.properties] == [
        "x", "y", "z", "nx", "ny", "nz", "f_dc_0", "f_dc_1", "f_dc_2", "opacity",
        "scale_0", "scale_1", "scale_2", "rot_0", "rot_1", "rot_2", "rot_3",
    ]  # fmt: skip
