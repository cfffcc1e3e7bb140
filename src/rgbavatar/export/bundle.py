"""An avatar in one small file: a .npz archive of numpy arrays, which any language with a zip reader can open.

N Gaussians, K bases, F triangles. The arrays:

    meta                                  JSON text as uint8: format, version, configuration, images seen, whether bases are used
    mean [N, 3]  rotation [N, 4]  sh [N, 3]  opacity_logit [N]  log_scale [N, 3]      float16, before activation
    basis_mean [K, N, 3]  basis_rotation [K, N, 4]  basis_sh [K, N, 3]                int8
    basis_mean_step [N]  basis_rotation_step [N]  basis_sh_step [N]                   float16: a basis number is int8 times step
    network_0, network_1, ...             float32: the layers' weights and biases in turn
    code_low [C]  code_high [C]           float32: where the network has limits, what its codes are brought within
    faces [F, 3] int32  tangents [F, 2] float32  face_ids [N] int32
    barycentrics [N, 2]                                                               uint16: the first two, times 65535

Means and scales are in metres in the triangle's frame (log_scale: natural logarithm). A step is the largest number of the
Gaussian's part over all bases, divided by 127.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import MeshBinding
from rgbavatar.config import config_from_dict, config_to_dict
from rgbavatar.errors import CheckpointError
from rgbavatar.io.files import write_bytes
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.model.coefficients import limits_state
from rgbavatar.trained import BASE_ARRAYS, BASIS_ARRAYS, TrainedAvatar

FORMAT, VERSION = "rgbavatar bundle", 1
_FULL = 65535.0  # of a 16-bit number; half floats would move Gaussians by microns, which costs 0.4 dB at 48 dB
_LEVELS = 127  # of an 8-bit number on either side of 0


def write_bundle(path: Path, avatar: TrainedAvatar) -> None:
    """Write an avatar aside. Raises OutputError."""
    content = BytesIO()
    arrays: Mapping[str, Any] = bundle_arrays(avatar)
    np.savez_compressed(content, **arrays)
    write_bytes(path, content.getbuffer())


def bundle_arrays(avatar: TrainedAvatar) -> dict[str, np.ndarray]:
    """The arrays of an avatar by name, as the module's head lists them."""
    model, binding = avatar.model, avatar.binding
    meta = {
        "format": FORMAT,
        "version": VERSION,
        "config": config_to_dict(avatar.config),
        "images_seen": avatar.images_seen,
        "uses_bases": avatar.uses_bases,
    }
    arrays = {"meta": np.frombuffer(json.dumps(meta).encode(), np.uint8)}
    arrays |= {name: _to_numpy(getattr(model.base, name), np.float16) for name in BASE_ARRAYS}
    for name in BASIS_ARRAYS:
        levels, step = _quantize(getattr(model.basis, name).detach())
        arrays |= {f"basis_{name}": levels, f"basis_{name}_step": step}
    arrays |= {f"network_{i}": _to_numpy(p, np.float32) for i, p in enumerate(model.network.parameters())}
    if (limits := model.network.limits) is not None:
        arrays |= {"code_low": _to_numpy(limits.low, np.float32), "code_high": _to_numpy(limits.high, np.float32)}
    return arrays | {
        "faces": _to_numpy(binding.faces, np.int32),
        "tangents": _to_numpy(binding.tangents, np.float32),
        "face_ids": _to_numpy(binding.face_ids, np.int32),
        "barycentrics": _to_numpy((binding.barycentrics[:, :2].clamp(0.0, 1.0) * _FULL).round(), np.uint16),
    }


def read_bundle(path: Path, device: torch.device) -> TrainedAvatar:
    """The avatar in a bundle. Raises CheckpointError naming the file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        meta = json.loads(arrays["meta"].tobytes())
        if (meta["format"], meta["version"]) != (FORMAT, VERSION):
            raise CheckpointError(f"{path}: is {meta['format']} {meta['version']}, expected {FORMAT} {VERSION}")
        return _build(arrays, meta, path, device)
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror or error}; check the path") from error
    except (KeyError, ValueError, TypeError, RuntimeError, zipfile.BadZipFile) as error:
        reason = " ".join(str(error).split())[:200]
        raise CheckpointError(f"{path}: holds no avatar bundle ({reason}); export it again") from error


def _build(arrays: dict[str, np.ndarray], meta: dict[str, Any], path: Path, device: torch.device) -> TrainedAvatar:
    bases, count, _ = arrays["basis_mean"].shape
    hidden, code = arrays["network_0"].shape
    model = AvatarModel(AvatarShape(count, bases, code, hidden), torch.Generator())
    state = {f"base.{name}": _to_tensor(arrays[name]) for name in BASE_ARRAYS}
    for name in BASIS_ARRAYS:
        step = _to_tensor(arrays[f"basis_{name}_step"])
        state[f"basis.{name}"] = _to_tensor(arrays[f"basis_{name}"]) * step[None, :, None]
    names = [f"network.{name}" for name, _ in model.network.named_parameters()]
    state |= {name: _to_tensor(arrays[f"network_{i}"]) for i, name in enumerate(names)}
    if "code_low" in arrays:
        state |= limits_state(_to_tensor(arrays["code_low"]), _to_tensor(arrays["code_high"]))
    model.take(state)
    first_two = _to_tensor(arrays["barycentrics"]) / _FULL
    binding = MeshBinding(
        faces=torch.from_numpy(arrays["faces"].astype(np.int64)),
        tangents=_to_tensor(arrays["tangents"]),
        face_ids=torch.from_numpy(arrays["face_ids"].astype(np.int64)),
        barycentrics=torch.cat([first_two, 1.0 - first_two.sum(dim=1, keepdim=True)], dim=1),
    )
    config = config_from_dict(meta["config"], str(path))
    return TrainedAvatar(
        model.to(device), binding.to(device), config, int(meta["images_seen"]), bool(meta["uses_bases"])
    )


def _quantize(basis: Tensor) -> tuple[np.ndarray, np.ndarray]:
    """basis [K, N, D] as levels int8 and steps [N] float16; a step is rounded up, so that no level overflows."""
    largest = basis.abs().amax(dim=(0, 2)).double() / _LEVELS
    step = largest.half()
    step = torch.where(step.double() < largest, torch.nextafter(step, step.new_tensor(torch.inf)), step)
    levels = (basis.double() / step.double().clamp_min(torch.finfo(torch.float64).tiny)[None, :, None]).round()
    return levels.to(torch.int8).cpu().numpy(), step.cpu().numpy()


def _to_numpy(tensor: Tensor, kind: type[np.generic]) -> np.ndarray:
    return tensor.detach().cpu().numpy().astype(kind)


def _to_tensor(array: np.ndarray) -> Tensor:
    return torch.from_numpy(array.astype(np.float32))
