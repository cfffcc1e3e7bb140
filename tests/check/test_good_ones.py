"""No false alarm: other people, other layouts and templates, other programs' subjects, and what real data are like."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

from rgbavatar.check.inspection import Inspection, inspect
from rgbavatar.check.opening import open_subject
from rgbavatar.datasets.synthetic import DemoSettings
from rgbavatar.templates.base import HeadTemplate
from rgbavatar.templates.blendshape import load_blendshape
from rgbavatar.templates.flame import load_flame
from tests.check.conftest import FRAMES, SIZE, Good, make_subject
from tests.check.wrongs import change_frames, change_images, copy_subject
from tests.datasets.subjects import PROBE, needs_probe
from tests.helpers.blendshape_head import write_blendshape_subject
from tests.helpers.layouts import read_insta, write_insta_transforms, write_pixel3dmm
from tests.helpers.multi_camera import write_rig


def check(folder: Path, template: HeadTemplate, frames: int = 20) -> Inspection:
    with closing(open_subject(folder, template, "auto")) as subject:
        return inspect(subject, template, frames)


def assert_good(inspection: Inspection) -> None:
    assert not inspection.problems, inspection.verdict
    assert not inspection.steps
    assert inspection.verdict.startswith("verdict: good")


def test_another_person_is_good(good: Good, tmp_path: Path) -> None:
    assert_good(good.check(make_subject(tmp_path / "other", good.template, seed=2)))


def test_the_good_one_has_nothing_to_warn_of(good: Good) -> None:
    inspection = good.check(good.folder)
    assert_good(inspection)
    assert {finding.name for finding in inspection.findings} == {"overlap", "expression-range"}
    assert inspection.fit.overlap > 0.9
    assert inspection.fit.steadiness > 0.8


@needs_probe
def test_a_subject_made_by_another_program_is_good() -> None:
    assert_good(check(PROBE / "INSTA" / "probe", load_flame(PROBE / "FLAME2020" / "generic_model.pkl")))


def test_hair_shoulders_and_shaky_tracking_are_no_alarm(good: Good, tmp_path: Path) -> None:
    """The mask is much larger than the mesh, and the tracker trembles by a millimetre and a third of a degree."""

    def clothe(pixels: np.ndarray, place: int) -> np.ndarray:
        height, width = pixels.shape[:2]
        mask = (pixels[..., 3] > 127).astype(np.uint8)
        column = int(np.nonzero(mask)[1].mean())
        body = cv2.dilate(mask, np.ones((9, 9), np.uint8))
        cv2.ellipse(body, (column, height), (width // 4, height // 5), 0, 0, 360, 1, -1)
        alpha = cv2.GaussianBlur(body * 255, (0, 0), 0.7)
        color = np.where(mask[..., None] > 0, pixels[..., :3], (40, 60, 30)).astype(np.uint8)
        return np.dstack([color, alpha])

    def tremble(content: dict[str, Any], place: int) -> None:
        random = np.random.default_rng(place)
        turn = cv2.Rodrigues(random.normal(size=3) * 0.006)[0].astype(np.float32)
        content["opencv"]["R"] = content["opencv"]["R"] @ turn
        content["opencv"]["t"] = content["opencv"]["t"] + (random.normal(size=3) * 0.001).astype(np.float32)

    def change(folder: Path) -> None:
        change_images(folder, clothe)
        change_frames(folder, tremble)

    inspection = good.check(copy_subject(good.folder, tmp_path / "clothed", change))
    assert_good(inspection)
    assert inspection.fit.overlap < 0.75


def test_a_head_that_keeps_still_is_no_alarm_but_a_warning(good: Good, tmp_path: Path) -> None:
    """One frame over and over, with the noise of a camera: nothing can be told from motion."""
    first_image = cv2.imread(str(good.folder / "images" / "00000.png"), cv2.IMREAD_UNCHANGED)
    first = torch.load(good.folder / "checkpoint" / "00000.frame", weights_only=False)

    def noisy(pixels: np.ndarray, place: int) -> np.ndarray:
        noise = np.random.default_rng(place).normal(size=first_image.shape) * [4, 4, 4, 0]
        return np.clip(first_image + noise, 0, 255).astype(np.uint8)

    def freeze(content: dict[str, Any], place: int) -> None:
        trembling = np.random.default_rng(place).normal(size=(1, 100)).astype(np.float32)
        content.update(opencv=first["opencv"], flame=first["flame"] | {"exp": first["flame"]["exp"] + 0.02 * trembling})

    def change(folder: Path) -> None:
        change_images(folder, noisy)
        change_frames(folder, freeze)

    inspection = good.check(copy_subject(good.folder, tmp_path / "still", change))
    assert_good(inspection)
    assert "head-still" in {finding.name for finding in inspection.findings}


def test_other_layouts_of_a_good_subject_are_good(good: Good, tmp_path: Path) -> None:
    frames, pictures = read_insta(good.folder)
    assert_good(check(write_pixel3dmm(tmp_path / "pixel3dmm", frames, pictures), good.template))
    assert_good(check(write_insta_transforms(tmp_path / "transforms", frames, pictures, 4), good.template))


def test_a_blendshape_template_is_good(good: Good, tmp_path: Path) -> None:
    write_blendshape_subject(good.folder, good.template, tmp_path / "subject", tmp_path / "template.npz")
    assert_good(check(tmp_path / "subject", load_blendshape(tmp_path / "template.npz")))


def test_several_cameras_are_good(good: Good, tmp_path: Path) -> None:
    settings = DemoSettings(FRAMES // 3, SIZE, 1, samples=1)
    folder = write_rig(tmp_path / "rig", good.template, settings, cameras=3, held_out=1, test_frames=2)
    assert_good(check(folder, good.template))
