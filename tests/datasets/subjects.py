"""Small subjects to break: a template of a few vertices, images of noise, and `.frame` files of any container."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.errors import DataError
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.templates.flame_data import FlameData

WIDTH, HEIGHT = 12, 10
PROBE = Path(__file__).resolve().parents[3] / "shared" / "probe"
needs_probe = pytest.mark.skipif(not PROBE.is_dir(), reason="no subject made by another program beside the repository")


def small_template(vertices: int = 9) -> FlameTemplate:
    """A random mesh in FLAME's schema; only its widths and its linearity matter."""
    rng = np.random.default_rng(0)
    weights = rng.random((vertices, 5))
    regressor = rng.random((5, vertices))
    return FlameTemplate(
        FlameData(
            v_template=rng.normal(size=(vertices, 3)) * 0.1,
            faces=np.array([[0, 1, 2], [2, 3, 4]]),
            shapedirs=rng.normal(size=(vertices, 3, 400)) * 1e-3,
            posedirs=np.zeros((vertices, 3, 36)),
            joint_regressor=regressor / regressor.sum(1, keepdims=True),
            weights=weights / weights.sum(1, keepdims=True),
            uv=rng.random((vertices, 2)),
            uv_faces=np.array([[0, 1, 2], [2, 3, 4]]),
            eyelids=np.zeros((vertices, 3, 2)),
        )
    )


def frame_content(number: int) -> dict[str, Any]:
    """What metrical-tracker writes for a frame, with a motion that depends on the number."""
    rng = np.random.default_rng(number)
    angle = 0.1 * number
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, -1, 0], [np.sin(angle), 0, -np.cos(angle)]])
    rot6d = np.eye(3)[:2].reshape(1, 6)
    single = {
        "flame": {
            "exp": rng.normal(size=(1, 100)),
            "shape": np.linspace(-1, 1, 300)[None],
            "tex": np.zeros((1, 140)),
            "sh": np.zeros((1, 9, 3)),
            "eyes": np.concatenate((rot6d, rot6d), 1),
            "eyelids": np.array([[0.25, 0.5]]),
            "jaw": rot6d,
        },
        "opencv": {
            "R": turn[None],
            "t": np.array([[0.01 * number, 0, 1]]),
            "K": np.array([[[20, 0, 6], [0, 20, 5], [0, 0, 1]]]),
        },
        "camera": {"R": rot6d, "t": np.zeros((1, 3)), "fl": np.ones((1, 1)), "pp": np.zeros((1, 2))},
    }
    content: dict[str, Any] = {k: {n: a.astype(np.float32) for n, a in part.items()} for k, part in single.items()}
    return content | {"img_size": np.array([HEIGHT, WIDTH]), "frame_id": f"{number:05d}", "global_step": number}


def write_frame(path: Path, content: object, zipped: bool = True) -> None:
    torch.save(content, path, _use_new_zipfile_serialization=zipped)


def write_png(path: Path, pixels: np.ndarray) -> None:
    assert cv2.imwrite(str(path), pixels)


def noise(number: int) -> np.ndarray:
    """RGBA pixels [HEIGHT, WIDTH, 4] of a frame."""
    return np.random.default_rng(number).integers(0, 256, (HEIGHT, WIDTH, 4), dtype=np.uint8)


def write_subject(folder: Path, numbers: range = range(3)) -> Path:
    """A sound subject whose images are `noise` of their number."""
    for part in ("images", "checkpoint"):
        (folder / part).mkdir(parents=True)
    for number in numbers:
        write_png(folder / "images" / f"{number:05d}.png", cv2.cvtColor(noise(number), cv2.COLOR_RGBA2BGRA))
        write_frame(folder / "checkpoint" / f"{number:05d}.frame", frame_content(number), zipped=number % 2 == 0)
    return folder


def change_frame(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Rewrite a `.frame` file after `change` has been applied to its content."""
    content = copy.deepcopy(frame_content(int(path.stem)))
    change(content)
    write_frame(path, content)


@contextmanager
def one_line_error(*parts: str) -> Iterator[None]:
    """Expect a DataError of one line that has all `parts` in it."""
    with pytest.raises(DataError) as caught:
        yield
    message = str(caught.value)
    assert "\n" not in message
    assert "expected" in message
    missing = [part for part in parts if part not in message]
    assert not missing, f"{message!r} lacks {missing}"


def executable_pickle(marker: Path) -> object:
    """An object whose pickle makes a folder `marker` when it is executed."""

    class Hostile:
        def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
            return os.mkdir, (str(marker),)

    return Hostile()
