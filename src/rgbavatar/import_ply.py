"""Avatars of the published code, as runs of this one: `python -m rgbavatar.import_ply model.ply --work_name theirs`.

A published `model.ply` (see rgbavatar.io.avatar_ply) holds Gaussians, bases, network and binding, but no mesh: the template that
it was trained on is that of the configuration. The run can be measured, rendered and exported. It cannot be trained further: the
file lacks Adam's averages, and the Gaussians that no image showed.
"""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import MeshBinding, uv_tangents
from rgbavatar.cli import make_parser, run_script, say
from rgbavatar.config import Config, config_from_dict, config_to_dict, config_to_yaml, load_config
from rgbavatar.errors import CheckpointError
from rgbavatar.io.avatar_ply import AvatarTable, export_avatar_ply, read_avatar_ply
from rgbavatar.io.checkpoint import Checkpoint, save_checkpoint
from rgbavatar.io.files import write_text
from rgbavatar.io.run_dir import create_run_dir
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.model.coefficients import limits_state
from rgbavatar.subject import load_template
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.trained import BASE_ARRAYS, BASIS_ARRAYS, checkpoint_table, pack_avatar
from rgbavatar.training.randomness import Generators


def import_avatar(path: Path, template: HeadTemplate, config: Config) -> Checkpoint:
    """The avatar in a published file, as if training had just ended. Raises DataError, CheckpointError naming the file."""
    table = read_avatar_ply(path)
    bases, count, _ = table.basis_mean.shape
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, num_bases=bases))
    model = AvatarModel(AvatarShape(count, bases, template.code_width, config.model.hidden_width), torch.Generator())
    try:
        model.take(_state_of(path, table, model))
    except RuntimeError as error:  # the limits alone can be of another shape
        raise CheckpointError(f"{path}: its {error}; set template.path") from error
    faces = len(template.faces)
    if count and int(table.face.max()) >= faces:
        raise CheckpointError(
            f"{path}: names triangle {int(table.face.max())}, expected less than the {faces} of the template; set template.path"
        )
    binding = MeshBinding(
        faces=template.faces,
        tangents=uv_tangents(template.uv, template.uv_faces).float(),
        face_ids=torch.from_numpy(table.face).long(),
        barycentrics=torch.from_numpy(table.barycentric),
    )
    return Checkpoint(
        config=config_to_dict(config),
        model=pack_avatar(model, binding, torch.ones(count, dtype=torch.bool)),
        optimizer={},
        generators=Generators(config.seed).state(),
        images_seen=max(config.training.images, config.training.bases_after + 1),
    )


def _state_of(path: Path, table: AvatarTable, model: AvatarModel) -> dict[str, Tensor]:
    """The model's tensors by name. The network's weights are cut from the flat list, which zeros may follow."""
    state = {f"base.{name}": torch.from_numpy(getattr(table, name)) for name in BASE_ARRAYS}
    state |= {f"basis.{name}": torch.from_numpy(getattr(table, f"basis_{name}")) for name in BASIS_ARRAYS}
    if table.code_limits is not None:
        state |= limits_state(*torch.from_numpy(table.code_limits))
    flat, at = torch.from_numpy(table.network), 0
    for name, parameter in model.network.named_parameters():
        part = flat[at : at + parameter.numel()]
        at += parameter.numel()
        state[f"network.{name}"] = part.view(parameter.shape) if len(part) == parameter.numel() else part
    if at > len(flat) or flat[at:].any():
        shape = model.shape
        raise CheckpointError(
            f"{path}: holds a network of {int(flat.count_nonzero())} or more weights, expected {at} for codes of "
            f"{shape.code_width}, {shape.hidden_width} hidden units and {shape.bases} bases; set model.hidden_width or "
            f"template.path"
        )
    return state


def main() -> None:
    """Parse, import, say where it lies."""
    parser: argparse.ArgumentParser = make_parser("Make a run of a published avatar.")
    parser.add_argument("ply", type=Path, help="the published model.ply")
    parser.add_argument("--config", type=Path, default=Path("config/offline.yaml"), help="names template and subjects")
    arguments = parser.parse_args()
    config = load_config(arguments.config, arguments.set)
    checkpoint = import_avatar(arguments.ply, load_template(config), config)
    run = create_run_dir(
        Path(arguments.output_dir), arguments.work_name, arguments.subject, arguments.overwrite, resume=False
    )
    save_checkpoint(run.checkpoint, checkpoint)
    export_avatar_ply(run.ply, checkpoint_table(checkpoint, str(run.checkpoint)))
    write_text(run.config, config_to_yaml(config_from_dict(checkpoint.config, str(run.checkpoint))))
    say(f"{len(checkpoint.model['seen'])} Gaussians; the avatar is in {run.path}")


if __name__ == "__main__":
    run_script(main)
