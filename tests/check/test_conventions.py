"""Wrong conventions put into a good subject are named, each with what to do."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest
import torch

from rgbavatar.check.conventions import find_conventions
from rgbavatar.check.findings import Severity
from rgbavatar.check.opening import open_subject
from rgbavatar.check.scene import read_small, scene_of_tracking, spread
from tests.check.conftest import Good
from tests.check.wrongs import TWELVE, VARIANTS, copy_subject, of_images, shifted


@pytest.mark.parametrize("name", TWELVE)
def test_each_of_twelve_wrong_conventions_is_named(name: str, good: Good, tmp_path: Path) -> None:
    change, fix = TWELVE[name]
    inspection = good.check(copy_subject(good.folder, tmp_path / "wrong", change))
    assert [finding.name for finding in inspection.problems] == [name], inspection.verdict
    assert fix in inspection.problems[0].fix
    assert inspection.verdict == f"verdict: not ready: {inspection.problems[0].line.removeprefix('problem: ')}"
    assert inspection.steps[-1].after.overlap > 0.9  # as the good one has


def names_of_conventions(good: Good, folder: Path) -> list[str]:
    with closing(open_subject(folder, good.template, "auto")) as subject:
        frames = spread(len(subject.numbers), 16)
        size = (subject.images.width, subject.images.height)
        pictures = read_small(subject.images, frames)
        steps, _ = find_conventions(scene_of_tracking(subject.tracking, good.template, frames, pictures, size))
        return [*(finding.name for finding in subject.findings), *(step.guess.name for step in steps)]


@pytest.mark.parametrize("what", VARIANTS)
def test_variants_and_pairs_of_wrongs_are_named(what: str, good: Good, tmp_path: Path) -> None:
    names, change = VARIANTS[what]
    assert names_of_conventions(good, copy_subject(good.folder, tmp_path / "wrong", change)) == names


def test_a_good_one_has_no_name(good: Good) -> None:
    assert names_of_conventions(good, good.folder) == []


def test_frames_shifted_the_other_way_and_exchanged_colours_are_named(good: Good, tmp_path: Path) -> None:
    def change(folder: Path) -> None:
        shifted(-3)(folder)
        of_images(lambda pixels: pixels[..., [2, 1, 0, 3]])(folder)

    inspection = good.check(copy_subject(good.folder, tmp_path / "wrong", change))
    assert [finding.name for finding in inspection.problems] == ["frames-shifted"]
    assert "N+3" in inspection.problems[0].found
    warnings = [finding.name for finding in inspection.findings if finding.severity is Severity.WARNING]
    assert warnings == ["colors-bgr"]


def test_a_guess_leaves_the_scene_as_it_was(good: Good) -> None:
    with closing(open_subject(good.folder, good.template, "auto")) as subject:
        frames = spread(len(subject.numbers), 4)
        size = (subject.images.width, subject.images.height)
        scene = scene_of_tracking(subject.tracking, good.template, frames, read_small(subject.images, frames), size)
    kept = [scene.local.clone(), scene.intrinsics.clone(), scene.pictures.clone(), scene.seen.rotation.clone()]
    find_conventions(scene)
    for before, now in zip(kept, (scene.local, scene.intrinsics, scene.pictures, scene.seen.rotation), strict=True):
        assert torch.equal(before, now)
