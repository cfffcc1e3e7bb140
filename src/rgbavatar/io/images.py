"""Pictures for people: 8-bit PNG files, comparisons side by side, maps of errors.

A picture is uint8 [H, W, 3 or 4], RGB(A), straight alpha. A tensor image is float [3 or 4, H, W] in [0, 1].
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from rgbavatar.checks import describe
from rgbavatar.io.files import write_bytes

_LABEL_HEIGHT = 24  # pixels of the strip above a picture
_LABEL_BASELINE = 17  # pixels from the top of the strip to the letters' base line
_LABEL_SIZE = 0.5  # of OpenCV's font, about 11 pixels high
_TEXT_COLOR = (255, 255, 255)


def to_uint8(image: Tensor) -> Tensor:
    """Round [0, 1] to 0..255, half up, clamping what lies outside; NaN becomes 0. Any shape; same device."""
    return image.detach().nan_to_num(0.0, 1.0, 0.0).mul(255.0).add_(0.5).clamp_(0.0, 255.0).to(torch.uint8)


def to_picture(image: Tensor) -> np.ndarray:
    """A tensor image [3 or 4, H, W] in [0, 1] as a picture. Raises ValueError for another shape."""
    if image.ndim != 3 or image.shape[0] not in (3, 4) or not image.is_floating_point():
        raise ValueError(f"image is {describe(image)}, expected floating-point [3 or 4, H, W]")
    return to_uint8(image).permute(1, 2, 0).contiguous().cpu().numpy()


def encode_png(image: np.ndarray | Tensor) -> bytes:
    """A picture, or a tensor image, as the bytes of a PNG file."""
    picture = to_picture(image) if isinstance(image, Tensor) else _checked_picture(image)
    order = cv2.COLOR_RGB2BGR if picture.shape[2] == 3 else cv2.COLOR_RGBA2BGRA
    _, encoded = cv2.imencode(".png", cv2.cvtColor(picture, order))
    return encoded.tobytes()


def save_png(path: Path, image: np.ndarray | Tensor) -> None:
    """Write a picture, or a tensor image, aside. Raises OutputError."""
    write_bytes(path, encode_png(image))


def side_by_side(pictures: Sequence[np.ndarray], labels: Sequence[str] = ()) -> np.ndarray:
    """Pictures of one height and one number of channels in a row, under their labels if there are any."""
    heights = {_checked_picture(picture).shape[0::2] for picture in pictures}
    if len(heights) != 1 or (labels and len(labels) != len(pictures)):
        raise ValueError(f"{len(pictures)} pictures of {sorted(heights)} (height, channels), {len(labels)} labels")
    if labels:
        pictures = [_add_label(picture, label) for picture, label in zip(pictures, labels, strict=True)]
    return np.concatenate(list(pictures), axis=1)


def error_heat_map(prediction: Tensor, target: Tensor, full_scale: float = 0.2) -> np.ndarray:
    """The error of each pixel, averaged over channels, from black (none) to bright yellow (`full_scale` and more).

    prediction, target: [3, H, W] in [0, 1]. Returns a picture [H, W, 3].
    """
    if prediction.ndim != 3 or prediction.shape != target.shape:
        raise ValueError(f"prediction is {describe(prediction)}, target {describe(target)}; expected one [3, H, W]")
    error = (prediction.detach() - target.detach()).abs().mean(dim=0) / full_scale
    colors = cv2.applyColorMap(to_uint8(error).cpu().numpy(), cv2.COLORMAP_INFERNO)
    return cv2.cvtColor(colors, cv2.COLOR_BGR2RGB)


def _add_label(picture: np.ndarray, label: str) -> np.ndarray:
    text = np.zeros((_LABEL_HEIGHT, picture.shape[1], 3), np.uint8)
    cv2.putText(text, label, (4, _LABEL_BASELINE), cv2.FONT_HERSHEY_SIMPLEX, _LABEL_SIZE, _TEXT_COLOR, 1, cv2.LINE_AA)
    strip = np.full((_LABEL_HEIGHT, *picture.shape[1:]), 255, np.uint8)
    strip[..., :3] = text
    return np.concatenate([strip, picture])


def _checked_picture(picture: np.ndarray) -> np.ndarray:
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] not in (3, 4) or picture.size == 0:
        raise ValueError(f"picture is {picture.dtype} {list(picture.shape)}, expected uint8 [H, W, 3 or 4]")
    return np.ascontiguousarray(picture)
