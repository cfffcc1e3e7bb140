"""Pictures of one avatar under the changes that a page's controls ask for.

The changes are put into the parameters that the renderers read anyway: offsets to the weights of the K bases into the last
bias of the network, a factor of the Gaussians' size into their log scales. So every renderer draws them, and no change at all
leaves every bit as it was.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from rgbavatar.geometry.camera import Camera
from rgbavatar.inference import PictureRenderer, View
from rgbavatar.io.images import to_picture
from rgbavatar.renderer import render
from rgbavatar.trained import TrainedAvatar
from rgbavatar.viewer.frames import Pose
from rgbavatar.viewer.overlay import Overlay, draw_overlay

_MOST_SIZES = 8  # sizes of pictures that a fast renderer keeps memory for

Brush = Callable[[View], np.ndarray]
"""Draws the one picture of a view: uint8 [H, W, 3]."""


@dataclass(frozen=True)
class Look:
    """How the avatar is shown. weights: added to those of the network, or to `frozen` in their place; K numbers, or none.

    scale: factor of the Gaussians' size. background: RGB in [0, 1].
    """

    weights: tuple[float, ...] = ()
    frozen: tuple[float, ...] | None = None
    scale: float = 1.0
    background: tuple[float, float, float] = (0.0, 0.0, 0.0)
    overlay: Overlay = Overlay.NONE


class Painter:
    """Paints one avatar, which it changes: the avatar must be nobody else's. For one thread."""

    def __init__(self, avatar: TrainedAvatar, make_brush: Callable[[TrainedAvatar], Brush]) -> None:
        self._avatar = avatar
        self._faces = avatar.binding.faces.cpu()
        self._device = avatar.binding.faces.device
        last = avatar.model.network.layers[-1]
        assert isinstance(last, nn.Linear)
        self._last = last
        self._weight, self._bias = last.weight.detach().clone(), last.bias.detach().clone()
        self._log_scale = avatar.model.base.log_scale.detach().clone()
        self._shown = Look()
        self._brush = make_brush(avatar)

    @property
    def bases(self) -> int:
        """K."""
        return self._avatar.model.shape.bases

    def paint(self, pose: Pose, look: Look, camera: Camera) -> np.ndarray:
        """A picture, uint8 [H, W, 3]. camera [1]."""
        self._adjust(look)
        background = torch.tensor([look.background], device=self._device)
        code, vertices = pose.code.to(self._device), pose.vertices.to(self._device)
        picture = self._brush(View(code, vertices, camera.to(self._device), background))
        return draw_overlay(picture, look.overlay, pose.vertices[0], self._faces, camera)

    @torch.no_grad()
    def weights(self, codes: Tensor) -> Tensor:
        """What the network says, whatever was painted last. codes [B, C]. Returns [B, K] on the CPU."""
        self._adjust(Look())
        return self._avatar.model.weights(codes.to(self._device)).cpu()

    @torch.no_grad()
    def _adjust(self, look: Look) -> None:
        before, self._shown = self._shown, look
        if (look.weights, look.frozen) != (before.weights, before.frozen):
            base = self._bias if look.frozen is None else self._bias.new_tensor(look.frozen)
            self._last.weight.copy_(self._weight if look.frozen is None else torch.zeros_like(self._weight))
            self._last.bias.copy_(base + self._bias.new_tensor(look.weights) if look.weights else base)
        if look.scale != before.scale:
            self._avatar.model.base.log_scale.copy_(self._log_scale + math.log(look.scale))


def plain_brush(avatar: TrainedAvatar) -> Brush:
    """Draws by the operators that training uses, on any device."""

    def draw(view: View) -> np.ndarray:
        with torch.no_grad():
            rendering = render(avatar.pose(view.codes, view.vertices), view.camera, view.background)
        return to_picture(rendering.color[0])

    return draw


def fast_brush(avatar: TrainedAvatar) -> Brush:
    """Draws by the inference path, on CUDA."""
    renderer, sizes = PictureRenderer(avatar), set[tuple[int, int]]()

    def draw(view: View) -> np.ndarray:
        nonlocal renderer
        size = (view.camera.width, view.camera.height)
        if size not in sizes and len(sizes) == _MOST_SIZES:
            renderer = PictureRenderer(avatar)
            sizes.clear()
        sizes.add(size)
        picture: np.ndarray = renderer.render(view)[0, ..., :3].contiguous().cpu().numpy()
        return picture

    return draw


def best_painter(avatar: TrainedAvatar) -> Painter:
    """The fastest painter of an avatar that does not change, on the device where it lies."""
    on_cpu = avatar.binding.faces.device.type == "cpu"
    return Painter(avatar, plain_brush if on_cpu else fast_brush)
