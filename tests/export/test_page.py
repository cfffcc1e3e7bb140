"""The page's data: what is packed comes back, the motion within its bound, and nothing of the machine that made it."""

from __future__ import annotations

import base64
import dataclasses
import gzip
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rgbavatar.errors import CheckpointError, OutputError
from rgbavatar.export.bundle import bundle_arrays
from rgbavatar.export.page import SHELL, pack_blob, unpack_blob, write_page
from rgbavatar.export.page_motion import MAX_ERROR, pack_motion, unpack_motion
from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.model.coefficients import code_limits
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from tests.helpers.tiny_subject import tiny_config, tiny_dataset, tiny_trainer

DATASET = tiny_dataset()


@pytest.fixture(scope="module")
def avatar() -> TrainedAvatar:
    return trained_from_checkpoint(tiny_trainer(tiny_config(bases_after=0), DATASET).checkpoint(), "tiny")


def payload_of(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    [payload] = re.findall(r'id="payload">([^<]*)<', path.read_text())
    return unpack_blob(gzip.decompress(base64.b64decode(payload)))


def random_motion(frames: int, vertices: int, modes: int, size: float) -> torch.Tensor:
    """A mesh of 20 cm, half of which changes by `modes` of `size` metres, and which is turned and moved as a whole."""
    random = torch.Generator().manual_seed(0)
    mesh = 0.1 * torch.randn(vertices, 3, generator=random)
    shapes = size * torch.randn(modes, vertices, 3, generator=random)
    shapes[:, : vertices // 2] = 0.0
    aligned = mesh + torch.einsum("fk,kvc->fvc", torch.randn(frames, modes, generator=random), shapes)
    turns = axis_angle_to_rotation(torch.randn(frames, 3, generator=random))
    return aligned @ turns.mT + torch.randn(frames, 1, 3, generator=random)


def test_a_blob_gives_back_its_arrays_at_aligned_places() -> None:
    arrays = {
        "odd": np.arange(3, dtype=np.int8),
        "none": np.zeros((0, 4, 3), np.int16),
        "table": np.random.default_rng(0).normal(size=(2, 5)).astype(np.float32),
        "halves": np.array([1.5, -2.0], np.float16),
    }
    blob = pack_blob({"subject": "Zoë"}, arrays)
    header, again = unpack_blob(blob)
    assert header == {"subject": "Zoë"}
    assert list(again) == list(arrays)
    for name, array in arrays.items():
        assert again[name].dtype == array.dtype
        assert np.array_equal(again[name], array)
    assert len(blob) % 8 == 0


@pytest.mark.parametrize(("modes", "size"), [(0, 0.0), (3, 0.004), (12, 0.02)])
def test_motion_of_few_modes_takes_few_components_and_keeps_its_bound(modes: int, size: float) -> None:
    vertices = random_motion(60, 200, modes, size)
    motion = pack_motion(vertices)
    error = np.linalg.norm(unpack_motion(motion) - vertices.double().numpy(), axis=2).max()
    assert error <= MAX_ERROR
    assert abs(error - motion.error) < 1e-6
    assert modes <= len(motion.components) <= modes + 1  # the part that stays leads, so what is left is linear


def test_motion_that_no_components_tell_takes_all_of_them() -> None:
    vertices = 0.05 * torch.randn(12, 25, 3, generator=torch.Generator().manual_seed(1))
    motion = pack_motion(vertices)
    assert len(motion.components) in (11, 12)
    assert np.abs(unpack_motion(motion) - vertices.numpy()).max() <= MAX_ERROR


def test_one_frame_needs_no_component() -> None:
    vertices = random_motion(1, 30, 0, 0.0)
    motion = pack_motion(vertices)
    assert motion.components.shape == (0, 30, 3)
    assert np.abs(unpack_motion(motion) - vertices.numpy()).max() < 1e-6


def test_a_page_holds_the_bundle_and_the_chosen_frames(tmp_path: Path, avatar: TrainedAvatar) -> None:
    positions = [7, 2, 11]
    report = write_page(tmp_path / "page.html", avatar, DATASET, positions)
    header, arrays = payload_of(tmp_path / "page.html")
    assert (header["format"], header["version"], header["width"], header["uses_bases"]) == (
        "rgbavatar page",
        1,
        24,
        avatar.uses_bases,
    )
    for name, array in bundle_arrays(avatar).items():
        if name != "meta":
            assert np.array_equal(arrays[name], array), name
    assert arrays["numbers"].tolist() == positions
    assert np.array_equal(arrays["codes"], DATASET.codes[positions].numpy())
    assert np.array_equal(arrays["intrinsics"], DATASET.camera.intrinsics.numpy())
    assert (report.frames, report.components) == (3, len(arrays["mesh_steps"]))
    assert report.bytes == (tmp_path / "page.html").stat().st_size
    assert header["motion_error"] == report.motion_error <= MAX_ERROR


def test_codes_are_within_the_limits_that_the_network_has(tmp_path: Path, avatar: TrainedAvatar) -> None:
    model = avatar.model.select(torch.arange(avatar.binding.count))
    model.network.limits = code_limits(DATASET.codes[:4])
    write_page(tmp_path / "page.html", dataclasses.replace(avatar, model=model), DATASET, list(range(len(DATASET))))
    _, arrays = payload_of(tmp_path / "page.html")
    low, high = (part.numpy() for part in DATASET.codes[:4].aminmax(dim=0))
    np.testing.assert_array_equal(arrays["codes"], DATASET.codes.numpy().clip(low, high))
    assert not np.array_equal(arrays["codes"], DATASET.codes.numpy())


def test_a_camera_for_each_frame_is_that_of_the_frame(tmp_path: Path, avatar: TrainedAvatar) -> None:
    still = DATASET.camera
    many = torch.arange(12.0)[:, None, None] * 0.01 + still.world_to_camera
    moving = Camera(many, still.intrinsics.repeat(12, 1), still.width, still.height)
    write_page(tmp_path / "page.html", avatar, dataclasses.replace(DATASET, camera=moving), [3, 9])
    _, arrays = payload_of(tmp_path / "page.html")
    assert np.array_equal(arrays["world_to_camera"], many[[3, 9]].numpy())
    assert arrays["intrinsics"].shape == (2, 4)


def test_a_page_names_no_folder_and_loads_nothing(tmp_path: Path, avatar: TrainedAvatar) -> None:
    config = dataclasses.replace(
        avatar.config, dataset=dataclasses.replace(avatar.config.dataset, data_dir="/home/somebody/data")
    )
    named = dataclasses.replace(DATASET, subject="<b>&amp;")
    write_page(tmp_path / "page.html", dataclasses.replace(avatar, config=config), named, [0])
    page = (tmp_path / "page.html").read_text()
    header, _ = payload_of(tmp_path / "page.html")
    assert "somebody" not in page + str(header)
    assert "<title>&lt;b&gt;&amp;amp; - RGBAvatar</title>" in page
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["']?(?!data:)\w""", page.split('id="payload"')[0])
    assert "{{" not in page.split('id="payload"')[0].split("<style>")[0]


def test_the_same_avatar_gives_the_same_bytes(tmp_path: Path, avatar: TrainedAvatar) -> None:
    for name in ("a.html", "b.html"):
        write_page(tmp_path / name, avatar, DATASET, [0, 1])
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()


def test_another_mesh_and_a_bad_target_are_errors(tmp_path: Path, avatar: TrainedAvatar) -> None:
    other = dataclasses.replace(DATASET.template, faces=DATASET.template.faces[1:])
    with pytest.raises(CheckpointError, match=r"template\.path"):
        write_page(tmp_path / "page.html", avatar, dataclasses.replace(DATASET, template=other), [0])
    with pytest.raises(OutputError, match="regular file"):
        write_page(tmp_path, avatar, DATASET, [0])
    assert list(tmp_path.iterdir()) == []


def test_the_front_end_is_small_and_comes_with_the_package() -> None:
    assert SHELL.stat().st_size < 100_000
