"""Ways in which a good subject in the INSTA layout is made wrong: what exporters and trackers get wrong in real life."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

Change = Callable[[Path], None]
"""Makes the subject in a folder wrong, in place."""

OPENGL = np.diag([1.0, -1.0, -1.0]).astype(np.float32)
PYTORCH3D = np.diag([-1.0, -1.0, 1.0]).astype(np.float32)


def change_frames(folder: Path, change: Callable[[dict[str, Any], int], object]) -> None:
    """Rewrite all `.frame` files. change: of a file's content and its position."""
    for place, path in enumerate(sorted((folder / "checkpoint").iterdir())):
        content = torch.load(path, weights_only=False)
        change(content, place)
        torch.save(content, path)


def change_images(folder: Path, change: Callable[[np.ndarray, int], np.ndarray]) -> None:
    """Rewrite all images. change: of BGRA pixels [H, W, 4] and their position."""
    for place, path in enumerate(sorted((folder / "images").iterdir())):
        pixels = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(str(path), np.ascontiguousarray(change(pixels, place)))


def pad(folder: Path, left: int, top: int, right: int, bottom: int) -> None:
    """Widen the pictures; the intrinsics follow, so the subject stays good."""

    def widen(content: dict[str, Any], _: int) -> None:
        height, width = content["img_size"].tolist()
        content["img_size"] = np.array([height + top + bottom, width + left + right])
        content["opencv"]["K"][0, :2, 2] += (left, top)

    change_frames(folder, widen)
    change_images(folder, lambda p, _: cv2.copyMakeBorder(p, top, bottom, left, right, cv2.BORDER_CONSTANT, value=0))


def copy_subject(source: Path, target: Path, change: Change) -> Path:
    """A subject made wrong, beside the good one."""
    shutil.copytree(source, target)
    change(target)
    return target


def of_pose(change: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Change:
    """change: from R [3, 3] and t [3] as they should be to what is stored."""

    def rewrite(content: dict[str, Any], _: int) -> None:
        rotation, translation = change(content["opencv"]["R"][0], content["opencv"]["t"][0])
        content["opencv"] |= {"R": np.ascontiguousarray(rotation)[None], "t": translation[None]}

    return lambda folder: change_frames(folder, rewrite)


def of_intrinsics(change: Callable[[np.ndarray, int, int], np.ndarray]) -> Change:
    """change: from fx, fy, cx, cy as they should be, width and height, to what is stored."""

    def rewrite(content: dict[str, Any], _: int) -> None:
        height, width = content["img_size"].tolist()
        k = content["opencv"]["K"][0].astype(np.float64)
        fx, fy, cx, cy = change(np.array([k[0, 0], k[1, 1], k[0, 2], k[1, 2]]), width, height)
        content["opencv"]["K"] = np.array([[[fx, 0, cx], [0, fy, cy], [0, 0, 1]]], np.float32)

    return lambda folder: change_frames(folder, rewrite)


def of_images(change: Callable[[np.ndarray], np.ndarray]) -> Change:
    return lambda folder: change_images(folder, lambda pixels, _: change(pixels))


def both(*changes: Change) -> Change:
    def apply(folder: Path) -> None:
        for change in changes:
            change(folder)

    return apply


def shifted(frames: int) -> Change:
    """What was tracked `frames` later stands with each image; what has no partner is gone."""

    def apply(folder: Path) -> None:
        paths = sorted((folder / "checkpoint").iterdir())
        contents = [path.read_bytes() for path in paths]
        for place, path in enumerate(paths):
            if 0 <= place + frames < len(paths):
                path.write_bytes(contents[place + frames])
            else:
                path.unlink()
                (folder / "images" / f"{path.stem}.png").unlink()

    return apply


def resized(factor: float) -> Change:
    """Images of another size, said to be tracked at that size, but with the intrinsics of the original."""

    def apply(folder: Path) -> None:
        change_images(folder, lambda p, _: cv2.resize(p, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA))
        height, width = cv2.imread(str(next((folder / "images").iterdir()))).shape[:2]
        change_frames(folder, lambda content, _: content.update(img_size=np.array([height, width])))

    return apply


def cropped(left: int, top: int) -> Change:
    """Columns and rows cut off, with the principal point of the original."""

    def apply(folder: Path) -> None:
        change_images(folder, lambda p, _: p[top:, left:])
        change_frames(folder, lambda c, _: c.update(img_size=c["img_size"] - np.array([top, left])))

    return apply


TWELVE: dict[str, tuple[Change, str]] = {
    "opengl-axes": (of_pose(lambda r, t: (OPENGL @ r, OPENGL @ t)), "negate the second and the third row"),
    "images-mirrored": (of_images(lambda p: p[:, ::-1]), "mirror the images back"),
    "images-upside-down": (of_images(lambda p: p[::-1]), "flip the images top to bottom"),
    "camera-to-world": (of_pose(lambda r, t: (r.T, -r.T @ t)), "invert it"),
    "rotation-transposed": (of_pose(lambda r, t: (r.T, t)), "transpose R"),
    "units-millimetres": (of_pose(lambda r, t: (r, 1000 * t)), "divide the translation by 1000"),
    "focal-normalised": (of_intrinsics(lambda k, w, h: k / [w, w, 1, 1]), "multiply fx by 120 and fy by 120"),
    "centre-normalised": (of_intrinsics(lambda k, w, h: k / [1, 1, w, h]), "multiply cx by 120 and cy by 84"),
    "size-swapped": (of_intrinsics(lambda k, w, h: k[[0, 1, 3, 2]]), "exchange cx and cy"),
    "other-resolution": (resized(0.5), "multiply fx, fy, cx and cy by 0.5"),
    "frames-shifted": (shifted(4), "number the tracked frames up by 4"),
    "mask-inverted": (of_images(lambda p: np.dstack([p[..., :3], 255 - p[..., 3]])), "store 255 - alpha"),
}
"""The right name of each wrong convention: how it comes about, and what the fix must say."""

VARIANTS: dict[str, tuple[list[str], Change]] = {
    "PyTorch3D's axes": (["pytorch3d-axes"], of_pose(lambda r, t: (PYTORCH3D @ r, PYTORCH3D @ t))),
    "NeRF's camera to world": (["camera-to-world-opengl"], of_pose(lambda r, t: (r.T @ OPENGL, -r.T @ t))),
    "decimetres": (["units-decimetres"], of_pose(lambda r, t: (r, 10 * t))),
    "focal length in half sides": (["focal-normalised"], of_intrinsics(lambda k, w, h: k / [w / 2, h / 2, 1, 1])),
    "everything in sides": (["intrinsics-normalised"], of_intrinsics(lambda k, w, h: k / [w, h, w, h])),
    "centre from the middle": (["centre-from-middle"], of_intrinsics(lambda k, w, h: k - [0, 0, w / 2, h / 2])),
    "img_size as (width, height)": (
        ["size-swapped"],
        lambda folder: change_frames(folder, lambda c, _: c.update(img_size=c["img_size"][::-1].copy())),
    ),
    "cropped": (["centre-moved"], cropped(24, 8)),
    "OpenGL and millimetres": (
        ["opengl-axes", "units-millimetres"],
        of_pose(lambda r, t: (OPENGL @ r, 1000 * OPENGL @ t)),
    ),
    "mirrored and OpenGL": (
        ["opengl-axes", "images-mirrored"],
        both(of_pose(lambda r, t: (OPENGL @ r, OPENGL @ t)), of_images(lambda p: p[:, ::-1])),
    ),
}
"""Other ways to get them wrong, and pairs: the names that must be found."""
