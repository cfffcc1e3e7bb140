"""Pictures and videos of a trained avatar, in the ways of render.py."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from rgbavatar.cli import say
from rgbavatar.datasets.base import HeadDataset, Split
from rgbavatar.errors import ConfigError
from rgbavatar.evaluation import BLACK, EVALUATION_BATCH, Color, backgrounds, render_dataset
from rgbavatar.inference import PictureRenderer, View
from rgbavatar.io.images import error_heat_map, side_by_side, to_picture
from rgbavatar.io.picture_writer import write_pictures
from rgbavatar.io.run_dir import RunDir, refuse_existing
from rgbavatar.io.video import write_video
from rgbavatar.losses import composite
from rgbavatar.metrics import psnr
from rgbavatar.renderer import render
from rgbavatar.shots import (
    FULL_TURN,
    Drive,
    Orbit,
    Shots,
    frame_shots,
    interpolated_shots,
    reenact_shots,
    turntable_shots,
)
from rgbavatar.subject import load_template
from rgbavatar.trained import TrainedAvatar, open_frames
from rgbavatar.types import Rendering

_SMALLEST_ALPHA = 1.0 / 255.0  # below one 8-bit level the colour of a pixel is of no account

Pictures = Iterator[tuple[int, np.ndarray]]
"""Each picture, uint8 [H, W, 3 or 4], with its number."""


@dataclass(frozen=True)
class RenderOptions:
    """What render.py was asked for.

    mode: frames, compare, turntable, reenact or interpolate. drive: for reenact. between: numbers of frames, with leg_frames
    pictures from one to the next, for interpolate. background: RGB in [0, 1]. alpha: RGBA pictures. size: pixels of the longer
    side, the tracked ones if None. video: a suffix; None for pictures.
    """

    mode: str = "frames"
    split: Split = Split.ALL
    orbit: Orbit = FULL_TURN
    drive: Drive | None = None
    between: Sequence[int] = ()
    leg_frames: int = 25
    background: Color = BLACK
    alpha: bool = False
    size: int | None = None
    video: str | None = None
    frames_per_second: float = 25.0
    overwrite: bool = False


def render_run(run: RunDir, avatar: TrainedAvatar, subject: str, options: RenderOptions, device: torch.device) -> None:
    """Render the avatar of a run and say where the result lies. Raises OutputError where one lies there already."""
    _check_options(options)
    target = run.video(options.mode, f".{options.video}") if options.video else run.pictures_of(options.mode)
    refuse_existing(target, options.overwrite)
    with ExitStack() as stack:
        pictures = _pictures(stack, avatar, subject, options, device)
        if options.video:
            count = write_video(target, (picture for _, picture in pictures), options.frames_per_second)
        else:
            count = write_pictures(target, pictures)
    say(f"{count} pictures: {target}")


def _check_options(options: RenderOptions) -> None:
    if options.alpha and (options.background != BLACK or options.video or options.mode == "compare"):
        raise ConfigError("--alpha gives RGBA pictures: leave out --white_bg, --bg, --video and --mode compare")
    if options.mode == "compare" and options.size is not None:
        raise ConfigError("--size does not go with --mode compare, which shows the frames' own pixels")
    if options.mode == "reenact" and options.drive is None:
        raise ConfigError(
            "--mode reenact needs --driver: a subject below dataset.data_dir, or a folder with checkpoint/"
        )
    if options.mode == "interpolate" and len(options.between) < 2:
        raise ConfigError("--mode interpolate needs --between with the numbers of two frames or more")


def _pictures(
    stack: ExitStack, avatar: TrainedAvatar, subject: str, options: RenderOptions, device: torch.device
) -> Pictures:
    """What the options ask for; what was opened for it is closed with the stack."""
    if options.mode in ("reenact", "interpolate"):
        template, config = load_template(avatar.config), avatar.config
        if options.drive is not None and options.mode == "reenact":
            shots = reenact_shots(config, subject, options.drive, template)
        else:
            shots = interpolated_shots(config, subject, options.between, options.leg_frames, template)
        return shot_pictures(avatar, _resized(shots, options.size), options.background, options.alpha, device)
    dataset = open_frames(avatar, subject, options.split, device)
    stack.callback(dataset.close)
    if options.mode == "compare":
        return compare_pictures(avatar, dataset, options.background, device)
    shots = turntable_shots(dataset, options.orbit) if options.mode == "turntable" else frame_shots(dataset)
    return shot_pictures(avatar, _resized(shots, options.size), options.background, options.alpha, device)


def _resized(shots: Shots, size: int | None) -> Shots:
    if size is None:
        return shots
    return replace(shots, camera=shots.camera.resized(size))


def shot_pictures(
    avatar: TrainedAvatar, shots: Shots, background: Color, alpha: bool, device: torch.device
) -> Pictures:
    """Render shots over a colour; with `alpha`, straight RGBA, for which the background must be black."""
    avatar.check_template(shots.template)
    views = _views(shots, background, device)
    rendered = _plain_pictures(avatar, views, alpha) if alpha or device.type == "cpu" else _fast_pictures(avatar, views)
    with tqdm(total=len(shots), unit="image", desc="render") as bar:
        for number, picture in zip(shots.numbers, rendered, strict=True):
            yield number, picture
            bar.update()


def _views(shots: Shots, background: Color, device: torch.device) -> Iterator[View]:
    """Slices of the shots, which are no copies: copying would take all cores, which are encoding what came before."""
    for start in range(0, len(shots), EVALUATION_BATCH):
        some = slice(start, min(start + EVALUATION_BATCH, len(shots)))
        codes, vertices = shots.codes[some].to(device), shots.vertices[some].to(device)
        camera = shots.camera.select(torch.arange(some.start, some.stop)).to(device)
        yield View(codes, vertices, camera, backgrounds(background, len(codes), device))


def _plain_pictures(avatar: TrainedAvatar, views: Iterator[View], alpha: bool) -> Iterator[np.ndarray]:
    for view in views:
        with torch.no_grad():
            rendering = render(avatar.pose(view.codes, view.vertices), view.camera, view.background)
        for image in _straight_rgba(rendering) if alpha else rendering.color:
            yield to_picture(image)


def _fast_pictures(avatar: TrainedAvatar, views: Iterator[View]) -> Iterator[np.ndarray]:
    """On a GPU, where a batch is rendered while the one before is copied and looked at."""
    for pictures in PictureRenderer(avatar).stream(views):
        yield from pictures[..., :3].contiguous().cpu().numpy()


def compare_pictures(avatar: TrainedAvatar, dataset: HeadDataset, background: Color, device: torch.device) -> Pictures:
    """Truth, avatar and error side by side, with the frame's PSNR."""
    for batch, rendering in render_dataset(avatar, dataset, background, device, "compare"):
        target = composite(batch.images, backgrounds(background, len(batch), device))
        color = rendering.color.clamp(0.0, 1.0)
        quality = psnr(color, target).tolist()
        for i, position in enumerate(batch.indices.tolist()):
            pictures = [to_picture(target[i]), to_picture(color[i]), error_heat_map(color[i], target[i])]
            labels = ["truth", f"avatar {quality[i]:.1f} dB", "error, brightest 0.2"]
            yield int(dataset.numbers[position]), side_by_side(pictures, labels)


def _straight_rgba(rendering: Rendering) -> Tensor:
    """Undo the premultiplication of a rendering over black. Returns [B, 4, H, W]."""
    color = rendering.color / rendering.alpha.clamp_min(_SMALLEST_ALPHA)
    return torch.cat([color, rendering.alpha], dim=1)
