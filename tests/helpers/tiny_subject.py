"""A subject small enough to train in a second: a patterned square that drifts before the camera, held in memory.

Its mesh is a grid in the plane z = 1 metre; its code is what moves it, so that there is something to learn from.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import torch
from torch import Tensor

from rgbavatar.binding.mesh_binding import bind_template
from rgbavatar.config import Config, ModelConfig, TrainingConfig
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.images import PreloadedImages
from rgbavatar.geometry.camera import Camera
from rgbavatar.model.avatar import AvatarModel, AvatarShape
from rgbavatar.training.processes import ALONE, Processes
from rgbavatar.training.randomness import Generators
from rgbavatar.training.trainer import Trainer

CELLS = 4  # of the grid, on a side
HALF_WIDTH = 0.05  # metres
SIZE = 24  # pixels on a side
FOCAL = 200.0  # pixels: the square is 20 pixels wide
CODE_WIDTH = 3
CPU = torch.device("cpu")


@dataclass(frozen=True)
class GridTemplate:
    """The parts of a HeadTemplate that training looks at."""

    faces: Tensor
    uv: Tensor
    uv_faces: Tensor
    code_width: int = CODE_WIDTH

    @property
    def code_layout(self) -> dict[str, slice]:
        """Two coefficients of an expression, and something of the head's place."""
        return {"expression": slice(0, 2), "translation": slice(2, CODE_WIDTH)}


def grid_template() -> GridTemplate:
    ticks = torch.linspace(0.0, 1.0, CELLS + 1)
    v, u = torch.meshgrid(ticks, ticks, indexing="ij")
    uv = torch.stack([u.flatten(), v.flatten()], dim=1)
    corner = torch.arange(CELLS * (CELLS + 1)).reshape(CELLS, CELLS + 1)[:, :CELLS].flatten()
    right, below, across = corner + 1, corner + CELLS + 1, corner + CELLS + 2
    faces = torch.cat([torch.stack([corner, right, across], 1), torch.stack([corner, across, below], 1)])
    return GridTemplate(faces, uv, faces)


def grid_vertices(template: GridTemplate, shift: Tensor) -> Tensor:
    """shift [n, 2] metres. Returns [n, V, 3]; v grows upwards, against the camera's y."""
    flat = (template.uv - 0.5) * 2.0 * HALF_WIDTH * torch.tensor([1.0, -1.0])
    moved = flat[None] + shift[:, None]
    return torch.cat([moved, torch.ones_like(moved[..., :1])], dim=2)


def tiny_dataset(frames: int = 12, seed: int = 0) -> HeadDataset:
    generator = torch.Generator().manual_seed(seed)
    template = grid_template()
    shift = (torch.rand(frames, 2, generator=generator) - 0.5) * 0.01
    phase = torch.rand(frames, generator=generator)
    codes = torch.cat([shift * 100.0, phase[:, None]], dim=1)
    images = torch.stack([_paint(move, float(glow)) for move, glow in zip(shift, phase, strict=True)])
    camera = Camera(torch.eye(3, 4)[None], torch.tensor([[FOCAL, FOCAL, SIZE / 2, SIZE / 2]]), SIZE, SIZE)
    vertices = grid_vertices(template, shift)
    numbers = torch.arange(frames)
    return HeadDataset("tiny", numbers, PreloadedImages(images), vertices, codes, camera, template)  # type: ignore[arg-type]


def tiny_config(**training: object) -> Config:
    settings = {"images": 40, "batch_size": 4, "bases_after": 12, "log_every": 4, **training}
    return Config(
        model=ModelConfig(tex_size=12, num_bases=3, hidden_width=8, initial_scale=0.004),
        training=dataclasses.replace(TrainingConfig(), **settings),  # type: ignore[arg-type]
    )


def tiny_trainer(
    config: Config, dataset: HeadDataset, device: torch.device = CPU, processes: Processes = ALONE
) -> Trainer:
    binding = bind_template(dataset.template, config.model.tex_size).to(device)
    generators = Generators(config.seed)
    shape = AvatarShape(binding.count, config.model.num_bases, CODE_WIDTH, config.model.hidden_width)
    model = AvatarModel(shape, generators["network"], scale=config.model.initial_scale)
    return Trainer(model.to(device), binding, config, generators, processes=processes)


def _paint(shift: Tensor, glow: float) -> Tensor:
    """A square with a red and green ramp and a blue level that the code tells; [SIZE, SIZE, 4] uint8."""
    pixel = (torch.arange(SIZE) + 0.5 - SIZE / 2) / FOCAL
    y, x = torch.meshgrid(pixel - shift[1], pixel - shift[0], indexing="ij")
    inside = ((x.abs() < HALF_WIDTH) & (y.abs() < HALF_WIDTH)).float()
    planes = [0.5 + 5.0 * x, 0.5 + 5.0 * y, torch.full_like(x, glow), inside]
    return (torch.stack(planes, dim=2).clamp(0.0, 1.0) * 255.0).round().to(torch.uint8)
