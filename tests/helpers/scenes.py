"""Scenes for the rasterizer's tests and benchmarks.

All values are drawn from a named generator in float64 on the CPU, then moved: one seed is one scene, whatever the type
and the device.
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor


@dataclass(frozen=True)
class Scene:
    """The arguments of `rasterize`. B images, N Gaussians, C cameras (1 or B)."""

    means: Tensor  # [B, N, 3]
    rotations: Tensor  # [B, N, 4]
    scales: Tensor  # [N, 3] or [B, N, 3]
    opacities: Tensor  # [N] or [B, N]
    colors: Tensor  # [B, N, 3]
    world_to_camera: Tensor  # [C, 3, 4]
    intrinsics: Tensor  # [C, 4]
    background: Tensor  # [B, 3]
    width: int
    height: int

    @property
    def images(self) -> int:
        return self.means.shape[0]

    @property
    def gaussians(self) -> int:
        return self.means.shape[1]

    def arguments(self) -> tuple:
        """In the order `rasterize` takes them."""
        return tuple(getattr(self, field.name) for field in fields(self))

    def differentiable(self) -> list[Tensor]:
        return [self.means, self.rotations, self.scales, self.opacities, self.colors]

    def to(self, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float64) -> Scene:
        return self._map(lambda x: x.to(device=device, dtype=dtype))

    def requiring_grad(self) -> Scene:
        """Fresh leaves; the camera and the background stay constants."""
        names = ("means", "rotations", "scales", "opacities", "colors")
        return replace(self, **{name: getattr(self, name).detach().clone().requires_grad_() for name in names})

    def image(self, index: int) -> Scene:
        """The scene of one image alone."""
        at = slice(index, index + 1)
        camera = at if self.world_to_camera.shape[0] > 1 else slice(0, 1)
        return replace(
            self,
            means=self.means[at],
            rotations=self.rotations[at],
            scales=self.scales[at] if self.scales.dim() == 3 else self.scales,
            opacities=self.opacities[at] if self.opacities.dim() == 2 else self.opacities,
            colors=self.colors[at],
            world_to_camera=self.world_to_camera[camera],
            intrinsics=self.intrinsics[camera],
            background=self.background[at],
        )

    def _map(self, f) -> Scene:
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: f(x) for name, x in values.items() if isinstance(x, Tensor)})


def generator_of(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def uniform(generator: torch.Generator, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
    return low + (high - low) * torch.rand(*shape, generator=generator, dtype=torch.float64)


def normal(generator: torch.Generator, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def camera_at_origin(width: int, height: int, focal: float) -> tuple[Tensor, Tensor]:
    """One camera that looks along z: world_to_camera [1, 3, 4], intrinsics [1, 4]; the optical axis meets the middle of
    the image."""
    pose = torch.eye(4, dtype=torch.float64)[None, :3]
    return pose, torch.tensor([[focal, focal, width / 2, height / 2]], dtype=torch.float64)


def turned_cameras(
    generator: torch.Generator, count: int, width: int, height: int, focal: float
) -> tuple[Tensor, Tensor]:
    """Cameras [C] near the origin, each turned a little and with its own focal lengths and centre."""
    axis_angle = 0.1 * normal(generator, count, 3)
    zero = torch.zeros(count, dtype=torch.float64)
    x, y, z = axis_angle.unbind(-1)
    skew = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], -1).reshape(count, 3, 3)
    pose = torch.cat([torch.linalg.matrix_exp(skew), 0.05 * normal(generator, count, 3, 1)], -1)
    focals = focal * uniform(generator, count, 2, low=0.8, high=1.2)
    centres = torch.tensor([width / 2, height / 2], dtype=torch.float64) + normal(generator, count, 2)
    return pose, torch.cat([focals, centres], -1)


def cloud(
    seed: int = 0,
    images: int = 2,
    gaussians: int = 40,
    width: int = 37,
    height: int = 29,
    cameras: int = 1,
    shared: bool = True,
    max_opacity: float = 0.9,
) -> Scene:
    """Gaussians of mixed shape around (0, 0, 2); most are seen. shared: scales and opacities are common to the batch."""
    g = generator_of(seed)
    focal = 0.9 * max(width, height)
    pose, intrinsics = camera_at_origin(width, height, focal)
    if cameras > 1:
        pose, intrinsics = turned_cameras(g, cameras, width, height, focal)
    batch = () if shared else (images,)
    return Scene(
        means=torch.tensor([0.0, 0.0, 2.0], dtype=torch.float64) + 0.4 * normal(g, images, gaussians, 3),
        rotations=normal(g, images, gaussians, 4),
        scales=torch.exp(uniform(g, *batch, gaussians, 3, low=-4.5, high=-2.0)),
        opacities=uniform(g, *batch, gaussians, low=0.1, high=max_opacity),
        colors=uniform(g, images, gaussians, 3),
        world_to_camera=pose,
        intrinsics=intrinsics,
        background=uniform(g, images, 3),
        width=width,
        height=height,
    )


def head(images: int = 10, gaussians: int = 58_500, size: int = 512, seed: int = 0) -> Scene:
    """The workload "standard": a head-sized ellipsoid of flat little Gaussians, each 45 to 75 pixels large.

    An ellipsoid 0.19 x 0.25 x 0.21 m one metre in front of the camera, opacity 0.5, scale 0.8 mm, as at the start of
    training.
    """
    g = generator_of(seed)
    direction = torch.nn.functional.normalize(normal(g, gaussians, 3), dim=-1)
    surface = direction * torch.tensor([0.095, 0.125, 0.105], dtype=torch.float64)
    pose, intrinsics = camera_at_origin(size, size, 3.125 * size)
    return Scene(
        means=surface + torch.tensor([0.0, 0.0, 1.0], dtype=torch.float64) + 0.002 * normal(g, images, 1, 3),
        rotations=normal(g, 1, gaussians, 4).expand(images, -1, -1).clone(),
        scales=torch.exp(uniform(g, gaussians, 3, low=-0.2, high=0.2)) * 0.0008,
        opacities=torch.full((gaussians,), 0.5, dtype=torch.float64),
        colors=(0.5 + 0.5 * direction).expand(images, -1, -1).clone(),
        world_to_camera=pose,
        intrinsics=intrinsics,
        background=uniform(g, images, 3),
        width=size,
        height=size,
    )


# Arguments of `cloud` that between them cover the shapes of an image and of a batch.
CLOUDS: dict[str, dict[str, Any]] = {
    "one camera, shared attributes": {},
    "a camera and attributes for each image": {"images": 3, "cameras": 3, "shared": False},
    "one pixel": {"width": 1, "height": 1},
    "one tile exactly": {"width": 16, "height": 16},
    "one column more than a tile": {"width": 17, "height": 15},
    "one tall column": {"width": 1, "height": 70},
    "one image": {"images": 1, "width": 50, "height": 34},
    "many layers": {"images": 1, "gaussians": 150, "max_opacity": 0.999},
    "one Gaussian": {"gaussians": 1},
}


def ball(
    x: float = 0.0, y: float = 0.0, z: float = 2.0, scale: float = 0.05, opacity: float = 0.8, size: int = 33
) -> Scene:
    """A white ball over black; at x = y = 0 its centre is the middle pixel's centre."""
    pose, intrinsics = camera_at_origin(size, size, 40.0)
    like = {"dtype": torch.float64}
    return Scene(
        means=torch.tensor([[[x, y, z]]], **like),
        rotations=torch.tensor([[[1.0, 0, 0, 0]]], **like),
        scales=torch.full((1, 3), scale, **like),
        opacities=torch.tensor([opacity], **like),
        colors=torch.ones(1, 1, 3, **like),
        world_to_camera=pose,
        intrinsics=intrinsics,
        background=torch.zeros(1, 3, **like),
        width=size,
        height=size,
    )


def stacked(scene: Scene, *others: Scene) -> Scene:
    """The Gaussians of several one-image scenes in one."""
    everyone = [scene, *others]
    return replace(
        scene,
        means=torch.cat([s.means for s in everyone], 1),
        rotations=torch.cat([s.rotations for s in everyone], 1),
        scales=torch.cat([s.scales for s in everyone], 0),
        opacities=torch.cat([s.opacities for s in everyone], 0),
        colors=torch.cat([s.colors for s in everyone], 1),
    )


def tinted(scene: Scene, *rgb: float) -> Scene:
    return replace(scene, colors=torch.tensor(rgb, dtype=torch.float64).expand_as(scene.colors))
