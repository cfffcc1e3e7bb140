"""A trained avatar as scripts use it: read from a checkpoint, posed, rendered, exported.

A checkpoint holds every Gaussian that training started with, so that training can go on; those that no image has shown are
left out here.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import MeshBinding
from rgbavatar.config import Config, config_from_dict, load_config, override_config
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.errors import CheckpointError
from rgbavatar.io.avatar_ply import AvatarTable
from rgbavatar.io.checkpoint import Checkpoint, load_checkpoint
from rgbavatar.io.run_dir import RunDir
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.model.coefficients import fold_scaling
from rgbavatar.model.corrections import Corrections
from rgbavatar.renderer import render
from rgbavatar.subject import load_subject
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.types import Batch, Gaussians, Rendering

BASE_ARRAYS = ("mean", "rotation", "sh", "opacity_logit", "log_scale")
BASIS_ARRAYS = ("mean", "rotation", "sh")


@dataclass(frozen=True)
class TrainedAvatar:
    """The model and its binding, without unseen Gaussians; uses_bases: whether training got as far as the bases.

    corrections: of its subject's tracking, where training has refined it (`open_frames`).
    """

    model: AvatarModel
    binding: MeshBinding
    config: Config
    images_seen: int
    uses_bases: bool
    corrections: Corrections | None = None

    @torch.no_grad()
    def pose(self, codes: Tensor, vertices: Tensor) -> Gaussians:
        """Gaussians in world space for codes [B, C] and the posed mesh vertices [B, V, 3] metres."""
        local = self.model.blended(self.model.weights(codes)) if self.uses_bases else self.model.unblended(len(codes))
        return self.binding.to_world(local, vertices)

    @torch.no_grad()
    def render(self, batch: Batch, background: Tensor) -> Rendering:
        """The avatar as the frames of a batch show it, over background [B, 3]."""
        return render(self.pose(batch.codes, batch.vertices), batch.camera, background)

    def check_template(self, template: HeadTemplate) -> None:
        """Raise CheckpointError unless the template has the mesh that the avatar was trained on."""
        faces = self.binding.faces.cpu()
        if faces.shape != template.faces.shape or not torch.equal(faces, template.faces.to(faces.dtype)):
            raise CheckpointError(
                f"template.path: found a mesh of {len(template.faces)} faces, expected the one that the avatar was trained "
                f"on, of {len(faces)} faces: point template.path at the same file"
            )


def open_trained(run: RunDir, config: Path | None, overrides: list[str], device: torch.device) -> TrainedAvatar:
    """The avatar of a run, with the run's own configuration or that of a file, changed by `key=value`.

    Raises CheckpointError, ConfigError.
    """
    avatar = load_trained(run.checkpoint, device)
    base = load_config(config) if config is not None else avatar.config
    return dataclasses.replace(avatar, config=override_config(base, overrides))


def load_trained(path: Path, device: torch.device) -> TrainedAvatar:
    """Read an avatar from a checkpoint. Raises CheckpointError."""
    return trained_from_checkpoint(load_checkpoint(path, device), str(path))


def trained_from_checkpoint(checkpoint: Checkpoint, source: str) -> TrainedAvatar:
    """The avatar in a checkpoint, on the device where its tensors lie; source names it in errors."""
    config = config_from_dict(checkpoint.config, source)
    try:
        model = _build_model(_plain_state(checkpoint.model))
        binding = MeshBinding(**strip_prefix(checkpoint.model, "binding."))
        visible = _visible(checkpoint.model["seen"], config)
        corrections = unpack_corrections(checkpoint.model)
    except (KeyError, RuntimeError, TypeError) as error:
        raise _no_avatar(source, error) from error
    uses_bases = checkpoint.images_seen > config.training.bases_after
    return TrainedAvatar(
        model.select(visible), binding.select(visible), config, checkpoint.images_seen, uses_bases, corrections
    )


def open_frames(
    avatar: TrainedAvatar, subject: str, split: Split, device: torch.device, template: HeadTemplate | None = None
) -> HeadDataset:
    """The frames of a split of a subject, their tracking as it was refined while the avatar was trained, if it was.

    Raises DataError, TemplateError.
    """
    dataset = load_subject(avatar.config, subject, split, device, preload=False, template=template)
    return dataset if avatar.corrections is None else avatar.corrections.apply(dataset)


def pack_avatar(
    model: AvatarModel, binding: MeshBinding, seen: Tensor, corrections: Corrections | None = None
) -> dict[str, Tensor]:
    """The tensors of an avatar by name, for a checkpoint. seen [N] bool."""
    tensors = {f"avatar.{name}": tensor for name, tensor in model.state_dict().items()}
    tensors |= {f"binding.{item.name}": getattr(binding, item.name) for item in dataclasses.fields(binding)}
    if corrections is not None:
        parts = {item.name: getattr(corrections, item.name) for item in dataclasses.fields(corrections)}
        tensors |= {f"tracking.{name}": tensor for name, tensor in parts.items() if tensor is not None}
    return tensors | {"seen": seen}


def unpack_corrections(tensors: dict[str, Tensor]) -> Corrections | None:
    """The corrections among the tensors of `pack_avatar`. Raises TypeError where only some of their parts are there."""
    parts = strip_prefix(tensors, "tracking.")
    return Corrections(**parts) if parts else None


def strip_prefix(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """The tensors whose names begin with prefix, without it."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def checkpoint_table(checkpoint: Checkpoint, source: str) -> AvatarTable:
    """The arrays of the avatar in a checkpoint for model.ply; the network's layers follow each other, weight before bias.

    source names the checkpoint in errors. Raises CheckpointError where it holds no avatar.
    """
    tensors = checkpoint.model
    try:
        visible = _visible(tensors["seen"], config_from_dict(checkpoint.config, source))
        network = strip_prefix(_plain_state(tensors), "network.")
        arrays = {
            "network": torch.cat([tensor.flatten() for tensor in strip_prefix(network, "layers.").values()]),
            "face": _take(tensors["binding.face_ids"], visible, 0).int(),
            "barycentric": _take(tensors["binding.barycentrics"], visible, 0),
        }
        arrays |= {name: _take(tensors[f"avatar.base.{name}"], visible, 0) for name in BASE_ARRAYS}
        arrays |= {f"basis_{name}": _take(tensors[f"avatar.basis.{name}"], visible, 1) for name in BASIS_ARRAYS}
        if limits := strip_prefix(network, "limits."):
            arrays["code_limits"] = torch.stack([limits["low"], limits["high"]])
    except (KeyError, IndexError, RuntimeError) as error:
        raise _no_avatar(source, error) from error
    return AvatarTable(**{name: tensor.detach().cpu().numpy() for name, tensor in arrays.items()})


def _plain_state(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of the avatar among the tensors of `pack_avatar`, its network taking codes as they are."""
    return fold_scaling(strip_prefix(tensors, "avatar."))


def _take(tensor: Tensor, visible: Tensor, dim: int) -> Tensor:
    """The Gaussians at `visible` [M] of a tensor whose dimension `dim` counts them; the tensor itself where M is all."""
    return tensor if len(visible) == tensor.shape[dim] else tensor.index_select(dim, visible)


def _no_avatar(source: str, error: Exception) -> CheckpointError:
    """The one-line error for a checkpoint whose tensors do not make an avatar."""
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"{source}: holds no avatar of this version ({reason}); train again")


def _visible(seen: Tensor, config: Config) -> Tensor:
    """Positions [M] int64 of the Gaussians that some image has shown; all where none could be seen yet."""
    if not (config.training.color_init and bool(seen.any())):
        return torch.arange(len(seen), device=seen.device)
    return torch.nonzero(seen)[:, 0]


def _build_model(state: dict[str, Tensor]) -> AvatarModel:
    first = state["network.layers.0.weight"]
    bases, count = state["basis.mean"].shape[:2]
    shape = AvatarShape(count, bases, code_width=first.shape[1], hidden_width=first.shape[0])
    model = AvatarModel(shape, torch.Generator()).to(first.device)
    model.take(state)
    return model
