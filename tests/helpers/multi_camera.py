"""The demo's head before several cameras, in VHAP's layout: what a rig such as NeRSemble's records."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.features import WORLD_TO_OPENCV, compute_features, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame, write_frame_file
from rgbavatar.datasets.images import default_workers, finish_all
from rgbavatar.datasets.synthetic import DemoSettings, look_of, prepare_demo_head, track_motion
from rgbavatar.datasets.synthetic_motion import make_motion
from rgbavatar.datasets.synthetic_render import TO_LAMP, Head, render_head
from rgbavatar.io.images import save_png
from rgbavatar.templates.base import HeadParameters, neutral_parameters
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.templates.flame_data import NUM_EXPRESSION, NUM_SHAPE
from tests.helpers.layouts import View, camera_to_world, write_splits, write_vhap_params

FRONT = View(WORLD_TO_OPENCV.numpy(), np.zeros(3), (0.0, 0.0, 0.0, 0.0))
SPREAD = math.radians(50)  # of the rig, to either side


def demo_motion(settings: DemoSettings) -> HeadParameters:
    """The demo's motion without blinks, of which VHAP knows nothing."""
    motion = make_motion(settings.frames, settings.seed, NUM_SHAPE, NUM_EXPRESSION)
    return replace(motion, eyelids=torch.zeros_like(motion.eyelids))


def rig_views(middle: Tensor, count: int) -> list[View]:
    """Cameras side by side on an arc about a point of the world [3], the middle one (or two) before the face."""
    views = []
    for i in range(count):
        angle = SPREAD * (2 * i / (count - 1) - 1) if count > 1 else 0.0
        turn = np.array([[math.cos(angle), 0, math.sin(angle)], [0, 1, 0], [-math.sin(angle), 0, math.cos(angle)]])
        center = middle.numpy()
        rotation = FRONT.rotation @ turn
        views.append(View(rotation, FRONT.rotation @ (center - turn @ center), FRONT.intrinsics))
    return views


@dataclass(frozen=True)
class Scene:
    """The demo's head in motion. rest [V, 3]; vertices [n, V, 3] in the world; frames as the front camera sees them."""

    motion: HeadParameters
    rest: Tensor
    frames: list[TrackedFrame]
    vertices: Tensor
    head: Head


def make_scene(template: FlameTemplate, settings: DemoSettings) -> Scene:
    motion = demo_motion(settings)
    rest = template.pose(replace(neutral_parameters(1, NUM_SHAPE, NUM_EXPRESSION), shape=motion.shape))[0]
    frames = track_motion(motion, rest, settings)
    vertices = compute_features(template, join_frames(frames))[0].double()
    return Scene(motion, rest, frames, vertices, prepare_demo_head(template, rest, motion.shape, settings))


def write_insta(folder: Path, template: FlameTemplate, settings: DemoSettings) -> Path:
    """The scene before one camera, in the INSTA layout."""
    scene = make_scene(template, settings)
    for part in ("images", "checkpoint"):
        (folder / part).mkdir(parents=True)
    for number, frame in enumerate(scene.frames):
        write_frame_file(folder / "checkpoint" / f"{number:05d}.frame", frame, number)
    paint_all(folder, scene, [FRONT], settings, lambda time, _: f"images/{time:05d}.png")
    return folder


def write_rig(
    folder: Path, template: FlameTemplate, settings: DemoSettings, cameras: int, held_out: int | None, test_frames: int
) -> Path:
    """`cameras` pictures of each frame. held_out: the camera of the val split. The last frames of the others are the test."""
    scene = make_scene(template, settings)
    middle = 0.5 * (scene.vertices[0].amin(0) + scene.vertices[0].amax(0))
    views = rig_views(middle, cameras)
    (folder / "images").mkdir(parents=True)
    write_vhap_params(folder, scene.frames, template, FRONT)
    paint_all(folder, scene, views, settings, _name)
    _write_cameras(folder, scene.frames, views, held_out, test_frames)
    return folder


def paint_all(
    folder: Path, scene: Scene, views: Sequence[View], settings: DemoSettings, name: Callable[[int, int], str]
) -> None:
    """Every view of every frame; name: of the file of a time and a camera."""

    def paint(time: int, camera: int) -> None:
        picture = paint_view(scene, time, views[camera], settings)
        save_png(folder / name(time, camera), picture.numpy())

    with ThreadPoolExecutor(default_workers()) as pool:
        jobs = [pool.submit(paint, t, c) for t in range(len(scene.frames)) for c in range(len(views))]
        finish_all(jobs, len(jobs), None)


def paint_view(scene: Scene, time: int, view: View, settings: DemoSettings) -> Tensor:
    """One picture [H, W, 4] uint8; the lamp hangs in the world, where the front camera has it."""
    rotation = torch.from_numpy(view.rotation)
    seen = scene.vertices[time] @ rotation.T + torch.from_numpy(view.translation)
    lamp = (rotation @ WORLD_TO_OPENCV @ torch.tensor(TO_LAMP, dtype=torch.float64)).float().tolist()
    frame, size = scene.frames[time], settings.size
    return render_head(scene.head, seen, frame.intrinsics, size, size, look_of(frame), settings.samples, lamp)


def _name(time: int, camera: int) -> str:
    return f"images/{time:05d}_{camera:02d}.png"


def _write_cameras(
    folder: Path, frames: Sequence[TrackedFrame], views: Sequence[View], held_out: int | None, test_frames: int
) -> None:
    entries: dict[str, list[dict[str, Any]]] = {"train": [], "val": [], "test": []}
    for time, frame in enumerate(frames):
        for camera, view in enumerate(views):
            fx, fy, cx, cy = frame.intrinsics.tolist()
            entry = {
                "timestep_index": time,
                "camera_index": camera,
                "file_path": _name(time, camera),
                "flame_param_path": f"flame_param/{time:05d}.npz",
                "transform_matrix": camera_to_world(view.rotation, view.translation),
                "fl_x": fx,
                "fl_y": fy,
                "cx": cx,
                "cy": cy,
                "w": frame.width,
                "h": frame.height,
            }
            is_test = time >= len(frames) - test_frames
            split = "val" if camera == held_out and not is_test else "test" if is_test else "train"
            entries[split].append(entry)
    for split, part in entries.items():
        if part:
            write_splits(folder, {}, part, 0)
            (folder / "transforms.json").rename(folder / f"transforms_{split}.json")
