"""Checks at the border of a function, for mistakes in our own code: they raise ValueError and name the argument."""

from __future__ import annotations

from torch import Tensor


def check_images(name: str, images: Tensor) -> None:
    """Refuse `images` unless it is [B, 3, H, W] of a floating-point type."""
    if images.ndim != 4 or images.shape[1] != 3 or not images.is_floating_point():
        raise ValueError(f"{name} is {describe(images)}, expected floating-point [B, 3, H, W]")


def check_same_shape(first_name: str, first: Tensor, second_name: str, second: Tensor) -> None:
    """Refuse two tensors of different shapes, which would broadcast without a word."""
    if first.shape != second.shape:
        raise ValueError(f"{first_name} is {describe(first)}, {second_name} is {describe(second)}; expected one shape")


def check_image_pair(prediction: Tensor, target: Tensor) -> None:
    """Refuse `prediction` and `target` unless both are [B, 3, H, W] of one shape."""
    check_images("prediction", prediction)
    check_images("target", target)
    check_same_shape("prediction", prediction, "target", target)


def describe(tensor: Tensor) -> str:
    """Type and shape in words, such as `float32 [2, 3]`."""
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"
