"""One tracked subject written in other trackers' layouts, from the schemas that the readers document.

Each writer takes the frames as metrical-tracker has them, and pictures (RGBA files) to go with them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.features import WORLD_TO_OPENCV, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame, read_frame_file
from rgbavatar.templates.base import ROOT
from rgbavatar.templates.flame import FlameTemplate

FLIP = np.diag([1.0, -1.0, -1.0])


def read_insta(folder: Path) -> tuple[list[TrackedFrame], list[Path]]:
    """Frames and pictures of a subject in the INSTA layout."""
    files = sorted((folder / "checkpoint").glob("*.frame"))
    return [read_frame_file(path) for path in files], [folder / "images" / f"{path.stem}.png" for path in files]


def copy_pictures(folder: Path, pictures: Sequence[Path]) -> None:
    (folder / "images").mkdir(parents=True)
    for number, picture in enumerate(pictures):
        shutil.copy(picture, folder / "images" / f"{number:05d}.png")


def axis_angle(rotation: np.ndarray) -> np.ndarray:
    """Axis times angle of a rotation [3, 3], radians (OpenCV's, for a second opinion)."""
    vector, _ = cv2.Rodrigues(rotation)
    return vector[:, 0]


def matrix_of(rot6d: Tensor) -> np.ndarray:
    """A rotation from its first two rows, by the cross product."""
    first, second = rot6d.numpy().reshape(2, 3)
    return np.stack([first, second, np.cross(first, second)])


def write_pixel3dmm(folder: Path, frames: Sequence[TrackedFrame], pictures: Sequence[Path]) -> Path:
    """A base camera that is turned and one metre away, in OpenGL's axes."""
    copy_pictures(folder, pictures)
    (folder / "checkpoint").mkdir()
    base = cv2.Rodrigues(np.array([0.1, -0.2, 0.05]))[0]
    away = np.array([0.01, 0.02, -0.5])
    for number, frame in enumerate(frames):
        rotation, translation = FLIP @ frame.rotation.numpy(), FLIP @ frame.translation.numpy()
        head, moved = base.T @ rotation, base.T @ (translation - away)
        fx, _, cx, cy = frame.intrinsics.tolist()
        flame = {
            "exp": frame.expression,
            "shape": frame.shape,
            "jaw": frame.jaw,
            "eyes": frame.eyes,
            "eyelids": frame.eyelids,
            "neck": frame.neck,
            "R": head[:2].ravel(),
            "R_rotation_matrix": head,
            "t": moved,
        }
        camera = {
            "R_base_0": base,
            "t_base_0": away,
            "fl": np.array([fx / frame.width]),
            "pp": np.array([2 * cx / frame.width - 1, 2 * cy / frame.height - 1]),
        }
        content = {
            name: {key: np.asarray(value, np.float32)[None] for key, value in part.items()}
            for name, part in (("flame", flame), ("camera", camera))
        }
        content["img_size"] = np.array([frame.height, frame.width])  # type: ignore[assignment]
        torch.save(content, folder / "checkpoint" / f"{number:05d}.frame")
    return folder


def camera_to_world(rotation: np.ndarray, translation: np.ndarray) -> list[list[float]]:
    """The NeRF matrix of x_opencv = R x + t."""
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.T @ FLIP
    matrix[:3, 3] = -rotation.T @ translation
    return matrix.tolist()


def write_insta_transforms(
    folder: Path, frames: Sequence[TrackedFrame], pictures: Sequence[Path], test_frames: int = 0
) -> Path:
    """With transforms_train.json and transforms_test.json where there are test frames, else transforms.json."""
    copy_pictures(folder, pictures)
    entries = []
    for number, frame in enumerate(frames):
        parts = {"exp": frame.expression, "shape": frame.shape, "jaw": frame.jaw, "eyes": frame.eyes}
        for name, values in (parts | {"eyelids": frame.eyelids}).items():
            (folder / "flame" / name).mkdir(parents=True, exist_ok=True)
            np.savetxt(folder / "flame" / name / f"{number:05d}.txt", values.numpy())
        entries.append(
            {
                "file_path": f"images/{number:05d}.png",
                "exp_path": f"flame/exp/{number:05d}.txt",
                "transform_matrix": camera_to_world(frame.rotation.numpy(), frame.translation.numpy()),
            }
        )
    fx, fy, cx, cy = frames[0].intrinsics.tolist()
    common = {"fl_x": fx, "fl_y": fy, "cx": cx, "cy": cy, "w": frames[0].width, "h": frames[0].height}
    write_splits(folder, common, entries, test_frames)
    return folder


def write_splits(folder: Path, common: dict[str, Any], entries: list[dict[str, Any]], test_frames: int) -> None:
    """The last frames as the test split; one file for all where there are none."""
    if not test_frames:
        (folder / "transforms.json").write_text(json.dumps(common | {"frames": entries}))
        return
    for name, part in (("train", entries[:-test_frames]), ("test", entries[-test_frames:])):
        (folder / f"transforms_{name}.json").write_text(json.dumps(common | {"frames": part}))


@dataclass(frozen=True)
class View:
    """A camera of a rig: x_opencv = R x_world + t. name: of its pictures' folder. split: train, val, test."""

    rotation: np.ndarray
    translation: np.ndarray
    intrinsics: tuple[float, float, float, float]
    split: str = "train"


MONO = View(cv2.Rodrigues(np.array([np.pi - 0.2, 0.0, 0.0]))[0], np.array([0.05, 0.1, 0.9]), (0.0, 0.0, 0.0, 0.0))
"""A camera that looks down on its world by 0.2 radians."""


def write_vhap(
    folder: Path,
    frames: Sequence[TrackedFrame],
    pictures: Sequence[Path],
    template: FlameTemplate,
    test_frames: int = 0,
    world: View = MONO,
) -> Path:
    """One camera; masks apart from the colours, eyelids dropped."""
    for part in ("images", "fg_masks"):
        (folder / part).mkdir(parents=True)
    entries = []
    for number, (frame, picture) in enumerate(zip(frames, pictures, strict=True)):
        rgba = cv2.imread(str(picture), cv2.IMREAD_UNCHANGED)
        cv2.imwrite(str(folder / "images" / f"{number:05d}_00.png"), rgba[..., :3])
        cv2.imwrite(str(folder / "fg_masks" / f"{number:05d}_00.png"), rgba[..., 3])
        fx, fy, cx, cy = frame.intrinsics.tolist()
        entries.append(
            {
                "timestep_index": number,
                "camera_index": 0,
                "file_path": f"images/{number:05d}_00.png",
                "fg_mask_path": f"fg_masks/{number:05d}_00.png",
                "flame_param_path": f"flame_param/{number:05d}.npz",
                "transform_matrix": camera_to_world(world.rotation, world.translation),
                "fl_x": fx,
                "fl_y": fy,
                "cx": cx,
                "cy": cy,
                "w": frame.width,
                "h": frame.height,
            }
        )
    write_vhap_params(folder, frames, template, world)
    write_splits(folder, {}, entries, test_frames)
    return folder


def write_vhap_params(folder: Path, frames: Sequence[TrackedFrame], template: FlameTemplate, world: View) -> None:
    """FLAME's own pose of heads that a camera of `world` saw as the frames say."""
    (folder / "flame_param").mkdir()
    parameters = join_frames(frames)
    joint = template.joints(parameters)[ROOT].numpy()
    for number, frame in enumerate(frames):
        root = world.rotation.T @ frame.rotation.numpy()
        moved = world.rotation.T @ (frame.translation.numpy() - world.translation)
        eyes = frame.eyes.reshape(2, 6)
        arrays = {
            "translation": (moved - joint + root @ joint)[None],
            "rotation": axis_angle(root)[None],
            "neck_pose": axis_angle(matrix_of(frame.neck))[None],
            "jaw_pose": axis_angle(matrix_of(frame.jaw))[None],
            "eyes_pose": np.concatenate([axis_angle(matrix_of(eye)) for eye in eyes])[None],
            "shape": frame.shape.numpy(),
            "expr": frame.expression.numpy()[None],
        }
        np.savez(folder / "flame_param" / f"{number:05d}.npz", **{k: v.astype(np.float32) for k, v in arrays.items()})  # type: ignore[arg-type]


def project(vertices: Tensor, world_to_camera: Tensor, intrinsics: Tensor) -> Tensor:
    """Pixels of vertices [V, 3]. Returns [V, 2]."""
    seen = vertices.double() @ world_to_camera[:, :3].double().T + world_to_camera[:, 3].double()
    return seen[:, :2] / seen[:, 2:] * intrinsics[:2].double() + intrinsics[2:].double()


def world_rotation() -> np.ndarray:
    """From the world of a monocular subject to OpenCV's axes."""
    return WORLD_TO_OPENCV.numpy()
