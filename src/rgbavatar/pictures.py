"""Pictures and videos of a trained avatar: all frames, frames beside the truth, a turntable."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rgbavatar.cli import say
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.errors import ConfigError
from rgbavatar.evaluation import BLACK, EVALUATION_BATCH, WHITE, render_dataset
from rgbavatar.geometry.orbit import orbit
from rgbavatar.inference import PictureRenderer, View
from rgbavatar.io.images import error_heat_map, save_png, side_by_side, to_picture
from rgbavatar.io.run_dir import RunDir, refuse_existing
from rgbavatar.io.video import write_video
from rgbavatar.losses import composite
from rgbavatar.metrics import psnr
from rgbavatar.renderer import render
from rgbavatar.subject import load_subject
from rgbavatar.trained import TrainedAvatar
from rgbavatar.types import Rendering

_SMALLEST_ALPHA = 1.0 / 255.0  # below one 8-bit level the colour of a pixel is of no account


@dataclass(frozen=True)
class RenderOptions:
    """What render.py was asked for. mode: frames, compare or turntable; video: mode.mp4 instead of pictures."""

    mode: str = "frames"
    split: Split = Split.ALL
    white: bool = False
    alpha: bool = False
    video: bool = False
    frames_per_second: float = 25.0
    turntable_frames: int = 120
    overwrite: bool = False


def render_run(run: RunDir, avatar: TrainedAvatar, subject: str, options: RenderOptions, device: torch.device) -> None:
    """Render the avatar of a run and say where the result lies. Raises OutputError where one lies there already."""
    if options.alpha and (options.white or options.video or options.mode != "frames"):
        raise ConfigError("--alpha gives RGBA pictures of frames: leave out --white_bg, --video and --mode")
    target = run.video(options.mode) if options.video else run.pictures_of(options.mode)
    refuse_existing(target, options.overwrite)
    with closing(load_subject(avatar.config, subject, options.split, device, preload=False)) as dataset:
        pictures = _pictures(avatar, dataset, options, device)
        if options.video:
            count = write_video(target, (picture for _, picture in pictures), options.frames_per_second)
        else:
            count = save_pictures(target, pictures)
    say(f"{count} pictures: {target}")


def _pictures(
    avatar: TrainedAvatar, dataset: HeadDataset, options: RenderOptions, device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    background = WHITE if options.white else BLACK
    if options.mode == "compare":
        return compare_pictures(avatar, dataset, background, device)
    if options.mode == "turntable":
        return turntable_pictures(avatar, dataset, 0, options.turntable_frames, background, device)
    return frame_pictures(avatar, dataset, background, options.alpha, device)


def frame_pictures(
    avatar: TrainedAvatar, dataset: HeadDataset, background: float, alpha: bool, device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    """Each frame's number and its picture; with `alpha`, straight RGBA, for which the background must be 0."""
    if device.type != "cpu" and not alpha:
        yield from _fast_frame_pictures(avatar, dataset, background, device)
        return
    for batch, rendering in render_dataset(avatar, dataset, background, device, "render"):
        images = _straight_rgba(rendering) if alpha else rendering.color
        for position, image in zip(batch.indices.tolist(), images, strict=True):
            yield int(dataset.numbers[position]), to_picture(image)


def _fast_frame_pictures(
    avatar: TrainedAvatar, dataset: HeadDataset, background: float, device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    """As above on a GPU, where a batch is rendered while the one before is looked at. The frames' own images are not read."""
    avatar.check_template(dataset.template)
    parts = torch.arange(len(dataset)).split(EVALUATION_BATCH)

    def show(positions: Tensor) -> View:
        color = torch.full((len(positions), 3), background, device=device)
        codes, vertices = dataset.codes[positions].to(device), dataset.vertices[positions].to(device)
        return View(codes, vertices, dataset.camera.select(positions).to(device), color)

    with tqdm(total=len(dataset), unit="image", desc="render") as bar:
        rendered = PictureRenderer(avatar).stream(show(positions) for positions in parts)
        for positions, pictures in zip(parts, rendered, strict=True):
            colors = pictures[..., :3].contiguous().cpu().numpy()
            yield from zip(dataset.numbers[positions].tolist(), colors, strict=True)
            bar.update(len(positions))


def compare_pictures(
    avatar: TrainedAvatar, dataset: HeadDataset, background: float, device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    """Each frame's number and a picture: truth, avatar and error side by side, with the frame's PSNR."""
    for batch, rendering in render_dataset(avatar, dataset, background, device, "compare"):
        target = composite(batch.images, torch.full((len(batch), 3), background, device=device))
        color = rendering.color.clamp(0.0, 1.0)
        quality = psnr(color, target).tolist()
        for i, position in enumerate(batch.indices.tolist()):
            pictures = [to_picture(target[i]), to_picture(color[i]), error_heat_map(color[i], target[i])]
            labels = ["truth", f"avatar {quality[i]:.1f} dB", "error, brightest 0.2"]
            yield int(dataset.numbers[position]), side_by_side(pictures, labels)


def turntable_pictures(
    avatar: TrainedAvatar, dataset: HeadDataset, position: int, frames: int, background: float, device: torch.device
) -> Iterator[tuple[int, np.ndarray]]:
    """The head of one frame from `frames` directions around it, in equal steps, the first as the camera sees it."""
    avatar.check_template(dataset.template)
    batch = dataset.batch(torch.tensor([position]), device)
    gaussians = avatar.pose(batch.codes, batch.vertices)
    vertices = batch.vertices[0]
    center = 0.5 * (vertices.amin(dim=0) + vertices.amax(dim=0))
    cameras = orbit(batch.camera, center, _up_axis(batch.camera.world_to_camera[0]), frames)
    color = torch.full((1, 3), background, device=device)
    for frame in range(frames):
        with torch.no_grad():
            rendering = render(gaussians, cameras.at(frame), color)
        yield frame, to_picture(rendering.color[0])


def save_pictures(folder: Path, pictures: Iterable[tuple[int, np.ndarray]]) -> int:
    """Write each picture as folder/%05d.png. Returns how many. Raises OutputError."""
    count = 0
    for number, picture in pictures:
        save_png(folder / f"{number:05d}.png", picture)
        count += 1
    return count


def _straight_rgba(rendering: Rendering) -> Tensor:
    """Undo the premultiplication of a rendering over black. Returns [B, 4, H, W]."""
    color = rendering.color / rendering.alpha.clamp_min(_SMALLEST_ALPHA)
    return torch.cat([color, rendering.alpha], dim=1)


def _up_axis(world_to_camera: Tensor) -> Tensor:
    """Up in the picture (-y of the camera) as a direction of the world [3]."""
    return -world_to_camera[1, :3]
