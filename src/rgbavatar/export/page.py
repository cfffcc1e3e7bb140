"""An avatar as one HTML file, which any browser plays without a server or a network.

The page is web/dist/page.html, built from web/src, with the title and the *payload* put in: a binary blob, compressed by gzip,
as base64. The blob, little-endian:

    uint32                   bytes of the header
    header                   JSON, UTF-8, padded with blanks so that the arrays begin at a multiple of 8 bytes of the blob
    arrays                   one after the other, each at a multiple of 8 bytes

The header:

    format, version          "rgbavatar page", 1
    subject                  name
    width, height            pixels of the recorded frames
    images_seen, uses_bases  of training: how many images, and whether it got as far as the bases
    center [3]               metres: the point that the viewer circles, the middle of the first frame's mesh
    motion_error             metres: how far the packed motion moves a vertex at most
    arrays                   name: {type, shape, at}; type as numpy names it, at: bytes from the first array

N Gaussians, K bases, F triangles, V vertices, n frames, R components, C code entries. The arrays:

    all of an avatar's bundle but meta (rgbavatar.export.bundle)
    numbers [n] int32                            the frames' numbers
    codes [n, C] float32                         what the network takes, within its limits
    mesh_mean [V, 3] float32   mesh_components [R, V, 3] int16   mesh_steps [R] float32
    mesh_coefficients [n, R] int16   mesh_rigid [n, 3, 4] float32          posed meshes (rgbavatar.export.page_motion)
    world_to_camera [1 or n, 3, 4] float32   intrinsics [1 or n, 4] float32     (rgbavatar.geometry.camera)

The template itself is not in the page, nor any path of the machine that made it.
"""

from __future__ import annotations

import base64
import gzip
import html
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.base import HeadDataset
from rgbavatar.export.bundle import bundle_arrays
from rgbavatar.export.page_motion import pack_motion
from rgbavatar.io.files import write_text
from rgbavatar.trained import TrainedAvatar

FORMAT, VERSION = "rgbavatar page", 1
SHELL = Path(__file__).parent / "web" / "dist" / "page.html"
_TITLE_MARK, _PAYLOAD_MARK = "{{title}}", "{{payload}}"
_ALIGNMENT = 8  # bytes: a browser reads float32 only where it is aligned


@dataclass(frozen=True)
class PageReport:
    """What a page took. bytes: of the file. frames, components: n, R. motion_error: metres."""

    bytes: int
    frames: int
    components: int
    motion_error: float


def write_page(path: Path, avatar: TrainedAvatar, dataset: HeadDataset, positions: list[int]) -> PageReport:
    """Write the page of an avatar that plays the frames at `positions` of a dataset, aside.

    Raises CheckpointError where the dataset's mesh is not the avatar's, OutputError.
    """
    avatar.check_template(dataset.template)
    header, arrays = _content(avatar, dataset, torch.tensor(positions))
    payload = base64.b64encode(gzip.compress(pack_blob(header, arrays), mtime=0)).decode()
    title = html.escape(f"{dataset.subject} - RGBAvatar")
    page = SHELL.read_text(encoding="utf-8").replace(_TITLE_MARK, title).replace(_PAYLOAD_MARK, payload)
    write_text(path, page)
    return PageReport(
        bytes=path.stat().st_size,
        frames=len(positions),
        components=len(arrays["mesh_steps"]),
        motion_error=float(header["motion_error"]),
    )


def pack_blob(header: dict[str, Any], arrays: dict[str, np.ndarray]) -> bytes:
    """The blob of the module's head; `arrays` is added to the header."""
    places, at = {}, 0
    for name, array in arrays.items():
        places[name] = {"type": array.dtype.name, "shape": list(array.shape), "at": at}
        at += _padded(array.nbytes)
    text = json.dumps(header | {"arrays": places}).encode()
    text = text.ljust(_padded(len(text) + 4) - 4)
    parts = [len(text).to_bytes(4, "little"), text]
    for array in arrays.values():
        content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
        parts.append(content.ljust(_padded(len(content)), b"\0"))
    return b"".join(parts)


def unpack_blob(blob: bytes) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The header and the arrays of a blob; inverse of pack_blob."""
    begin = 4 + int.from_bytes(blob[:4], "little")
    header = json.loads(blob[4:begin])
    arrays = {}
    for name, place in header.pop("arrays").items():
        kind = np.dtype(place["type"]).newbyteorder("<")
        count = int(np.prod(place["shape"]))
        arrays[name] = np.frombuffer(blob, kind, count, begin + place["at"]).reshape(place["shape"])
    return header, arrays


def _padded(size: int) -> int:
    return -(-size // _ALIGNMENT) * _ALIGNMENT


def _content(
    avatar: TrainedAvatar, dataset: HeadDataset, positions: Tensor
) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    vertices, camera = dataset.vertices[positions].cpu(), dataset.camera.select(positions)
    motion = pack_motion(vertices)
    header = {
        "format": FORMAT,
        "version": VERSION,
        "subject": dataset.subject,
        "width": camera.width,
        "height": camera.height,
        "images_seen": avatar.images_seen,
        "uses_bases": avatar.uses_bases,
        "center": (0.5 * (vertices[0].amin(dim=0) + vertices[0].amax(dim=0))).tolist(),
        "motion_error": motion.error,
    }
    arrays = bundle_arrays(avatar)
    del arrays["meta"]  # names folders of this machine
    arrays |= {
        "numbers": dataset.numbers[positions].numpy().astype(np.int32),
        "codes": avatar.model.network.limited(dataset.codes[positions].to(avatar.binding.faces.device)).cpu().numpy(),
        "mesh_mean": motion.mean,
        "mesh_components": motion.components,
        "mesh_steps": motion.steps,
        "mesh_coefficients": motion.coefficients,
        "mesh_rigid": motion.rigid,
        "world_to_camera": camera.world_to_camera.cpu().float().numpy(),
        "intrinsics": camera.intrinsics.cpu().float().numpy(),
    }
    return header, arrays
