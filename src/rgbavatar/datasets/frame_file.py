"""One `.frame` file of metrical-tracker: what the tracker found in one image.

The file is a torch container (legacy or zip) of a pickled dict of numpy arrays with a leading batch of 1. We read the
keys of `flame` and `opencv` below and `img_size` (height, width), and ignore the rest. *rot6d*: the first two rows of
a rotation, flattened. Symbols: E expression and S shape coefficients.

Nothing in the file is executed: see frame_pickle.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.frame_fields import (
    Widths,
    check_image_size,
    check_rot6d,
    check_rotation,
    find_key,
    pick_array,
    split_intrinsics,
)
from rgbavatar.datasets.frame_pickle import load_content

_WIDTHS: Mapping[str, Widths] = {
    "flame.exp": (1, None),
    "flame.shape": (1, None),
    "flame.jaw": (1, 6),
    "flame.eyes": (1, 12),
    "flame.eyelids": (1, 2),
    "opencv.R": (1, 3, 3),
    "opencv.t": (1, 3),
    "opencv.K": (1, 3, 3),
    "img_size": (2,),
}  # expected shape of each key


@dataclass(frozen=True)
class TrackedFrame:
    """One frame as tracked, float64 on the CPU.

    shape [S]; expression [E]; jaw [6] and eyes [12] (left, right) rot6d; eyelids [2] (left, right); rotation [3, 3]
    and translation [3] (metres): x_cam = R x + t in OpenCV axes; intrinsics [4]: fx, fy, cx, cy in pixels; image size
    in pixels; neck [6] rot6d, at rest for a tracker that has none.
    """

    shape: Tensor
    expression: Tensor
    jaw: Tensor
    eyes: Tensor
    eyelids: Tensor
    rotation: Tensor
    translation: Tensor
    intrinsics: Tensor
    height: int
    width: int
    neck: Tensor = field(default_factory=lambda: torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64))


def read_frame_file(path: Path) -> TrackedFrame:
    """Read and check a `.frame` file; a file without `flame.eyelids` has open eyes.

    Raises DataError naming the file and the key: no torch file, a pickle that asks for anything but arrays, a missing
    key, a wrong shape, a number that is not finite, a rotation or camera matrix that is none.
    """
    content = load_content(path)
    pick = {key: pick_array(path, content, key, widths) for key, widths in _WIDTHS.items() if key != "flame.eyelids"}
    eyelids = np.zeros((1, 2))
    if find_key(content, "flame.eyelids") is not None:
        eyelids = pick_array(path, content, "flame.eyelids", _WIDTHS["flame.eyelids"])
    check_rot6d(path, "flame.jaw", pick["flame.jaw"])
    check_rot6d(path, "flame.eyes", pick["flame.eyes"])
    check_rotation(path, "opencv.R", pick["opencv.R"][0])
    height, width = check_image_size(path, pick["img_size"])
    intrinsics = split_intrinsics(path, pick["opencv.K"][0])
    parts = {
        "shape": pick["flame.shape"][0],
        "expression": pick["flame.exp"][0],
        "jaw": pick["flame.jaw"][0],
        "eyes": pick["flame.eyes"][0],
        "eyelids": eyelids[0],
        "rotation": pick["opencv.R"][0],
        "translation": pick["opencv.t"][0],
        "intrinsics": intrinsics,
    }
    return TrackedFrame(**{name: torch.from_numpy(part) for name, part in parts.items()}, height=height, width=width)


def write_frame_file(path: Path | BinaryIO, frame: TrackedFrame, number: int) -> None:
    """Write a frame as metrical-tracker does: float32, batch of 1, with the keys that we do not read.

    `camera` says the same as `opencv` in PyTorch3D's way: row vectors, x left and y up, lengths in half image sizes.
    """
    to_pytorch3d = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
    fx, fy, cx, cy = frame.intrinsics.tolist()
    half = min(frame.height, frame.width) / 2
    flame = {
        "exp": frame.expression,
        "shape": frame.shape,
        "tex": torch.zeros(140),
        "sh": torch.zeros(9, 3),
        "eyes": frame.eyes,
        "eyelids": frame.eyelids,
        "jaw": frame.jaw,
    }
    opencv = {
        "R": frame.rotation,
        "t": frame.translation,
        "K": torch.tensor([[fx, 0, cx], [0, fy, cy], [0, 0, 1]]),
    }
    camera = {
        "R": (to_pytorch3d @ frame.rotation).T[:2].flatten(),
        "t": to_pytorch3d @ frame.translation,
        "fl": torch.tensor([fx / half]),
        "pp": torch.tensor([frame.width / 2 - cx, frame.height / 2 - cy]) / half,
    }
    parts = {"flame": flame, "opencv": opencv, "camera": camera}
    arrays = {
        name: {key: value[None].numpy().astype(np.float32) for key, value in part.items()}
        for name, part in parts.items()
    }
    size = np.array([frame.height, frame.width], np.int64)
    torch.save(arrays | {"img_size": size, "frame_id": f"{number:05d}", "global_step": number}, path)
