"""A whole tracking, from a folder of pictures to a subject, with a landmarker that knows the truth.

A picture's first pixel tells its number, and so what the landmarker has to say.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.config import Config, DatasetConfig, TemplateConfig
from rgbavatar.datasets.base import Split
from rgbavatar.datasets.features import join_frames
from rgbavatar.datasets.parameter_file import read_parameter_file
from rgbavatar.errors import ConfigError, DataError, OutputError, Stopped
from rgbavatar.io.images import save_png
from rgbavatar.prepare.options import Framing
from rgbavatar.prepare.pictures import read_picture
from rgbavatar.subject import load_subject
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.track import appearance, work
from rgbavatar.track.fit import Fit
from rgbavatar.track.frames import tracked_frames
from rgbavatar.track.landmarks import Face
from rgbavatar.track.options import Options
from rgbavatar.track.pose import project
from rgbavatar.track.record import RECORDED, TRACKED, WORK
from rgbavatar.track.video import CAMERA, VideoFrame
from rgbavatar.track.work import Done, track
from rgbavatar.track.zones import ZoneFinder
from tests.helpers.tracked_face import (
    Clip,
    face_model,
    head_data,
    make_clip,
    turned_by,
    write_head,
)

FRAMES, SIZE, FOCAL = 24, (160, 144), 190.0


@dataclass
class TrueFinder:
    """Says what it is told to of each picture. looked: how many pictures it saw."""

    told: dict[int, list[Face]]
    looked: int = 0
    fails_at: int | None = None

    def _at(self, picture: np.ndarray) -> Sequence[Face]:
        self.looked += 1
        if self.looked == self.fails_at:
            raise KeyboardInterrupt
        return self.told.get(int(picture[0, 0, 0]), [])

    def census(self, picture: np.ndarray) -> Sequence[Face]:
        return self.told.get(int(picture[0, 0, 0]), [])

    def follow_one(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        return self._at(picture)[:1]

    def follow_all(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
        return self._at(picture)


@dataclass(frozen=True)
class Place:
    """A folder with pictures, the head's files, and what the pictures show."""

    folder: Path
    clip: Clip
    template: Path
    landmarks: Path
    told: dict[int, list[Face]] = field(default_factory=dict)

    @property
    def pictures(self) -> Path:
        return self.folder / "pictures"

    @property
    def options(self) -> Options:
        return Options(
            source=str(self.pictures),
            subject=self.folder / "subjects" / "one",
            template=self.template,
            landmarks=self.landmarks,
            model=self.folder / "none.task",
            frames_per_second=30.0,
            focal=FOCAL,
        )

    def track(self, options: Options, finder: TrueFinder | None = None) -> Done:
        return track(options, lambda: contextlib.nullcontext(finder or TrueFinder(self.told)), workers=2)


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Place:
    """Skin where the template is, on a wall with a pattern."""
    folder = tmp_path_factory.mktemp("painted")
    clip = make_clip(FRAMES, noise=0.004, outliers=0.0, focal=FOCAL, size=SIZE)
    template, landmarks = write_head(folder)
    place = Place(folder, clip, template, landmarks, {i: [face] for i, face in enumerate(clip.faces)})
    finder, generator = ZoneFinder(BlendshapeTemplate(head_data())), np.random.default_rng(0)
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    wall = np.stack([170 + 30 * np.sin(columns / 7), 160 + 20 * np.cos(rows / 9), 150 + 0 * rows], 2)
    for i, frame in enumerate(tracked_frames(face_model(), Fit(clip.person, clip.motion), SIZE)):
        core = finder.find(frame, *SIZE).core[..., None]
        picture = np.where(core, (205, 150, 120), wall) + generator.normal(0, 2, (*wall.shape[:2], 3))
        picture = picture.clip(0, 255).astype(np.uint8)
        picture[0, 0] = i
        save_png(place.pictures / f"{i:05d}.png", picture)
    return place


@pytest.fixture
def place(painted: Place, tmp_path: Path) -> Place:
    """The same pictures, and an empty folder for subjects."""
    (tmp_path / "pictures").symlink_to(painted.pictures)
    return replace(painted, folder=tmp_path, told=dict(painted.told))


def frames_of(subject: Path) -> list[Path]:
    return sorted((subject / "parameters").iterdir())


def test_a_video_becomes_a_subject_that_training_reads(place: Place) -> None:
    done = place.track(place.options)
    assert done.record.complete
    assert list(done.record.frames) == list(range(FRAMES))
    assert done.record.numbers["error_percent"] < 2
    config = Config(
        dataset=DatasetConfig(data_dir=str(place.folder / "subjects"), test_frames=4),
        template=TemplateConfig(path=str(place.template)),
    )
    dataset = load_subject(config, "one", Split.ALL, torch.device("cpu"), preload=True)
    assert len(dataset) == FRAMES
    alpha = dataset.images.read(torch.arange(FRAMES))[..., 3].double() / 255
    assert ((alpha > 0.9).double().mean((1, 2)) > 0.1).all()
    assert ((alpha < 0.1).double().mean((1, 2)) > 0.1).all()
    dataset.close()


def test_what_is_written_is_the_truth(place: Place) -> None:
    place.track(place.options)
    found = join_frames([read_parameter_file(path) for path in frames_of(place.options.subject)])
    truth = place.clip.motion
    rotation = np.diag((1.0, -1.0, -1.0)) @ found.root.numpy()
    assert turned_by(replace(truth, rotation=rotation), truth).max() < 1.0
    assert np.corrcoef(found.expression.numpy().ravel(), truth.expression.ravel())[0, 1] > 0.9


def test_pictures_correct_the_poses_unless_they_shall_not(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Plain skin tells no pose, so it is taken for a face that does."""
    monkeypatch.setattr(appearance, "TELLING", 0.0)
    aligned = place.track(place.options)
    assert 0 < aligned.record.numbers["aligned_degrees"] < 2
    assert 0 < aligned.record.numbers["aligned_expression"] < 0.2
    plain = place.track(replace(place.options, subject=place.folder / "subjects" / "two", align=False))
    assert {plain.record.numbers[f"aligned_{what}"] for what in ("degrees", "millimetres", "expression")} == {0.0}


def test_the_camera_goes_with_the_crop(place: Place) -> None:
    """A landmark is where it was in the source, less the window's corner, times the size."""
    done = place.track(replace(place.options, size=64))
    record = done.record
    assert record.window is not None
    assert record.size == (64, 64)
    frame = read_parameter_file(frames_of(place.options.subject)[5])
    scale = 64 / record.window.width
    expected = [FOCAL * scale, FOCAL * scale, (80 - record.window.left) * scale, (72 - record.window.top) * scale]
    np.testing.assert_allclose(frame.intrinsics.numpy(), expected, rtol=1e-6)
    assert (frame.width, frame.height) == (64, 64)


def test_the_whole_picture_can_be_kept(place: Place) -> None:
    done = place.track(replace(place.options, framing=Framing.WHOLE))
    assert done.record.size == SIZE


def test_lost_frames_leave_no_gap_and_are_told(place: Place) -> None:
    for number in (0, 7, 8, 9):
        place.told[number] = []
    scattered = place.clip.faces[15]
    points = scattered.points.copy()
    points[:, :2] = np.random.default_rng(0).uniform(20, 120, (478, 2))
    place.told[15] = [replace(scattered, points=points)]
    done = place.track(place.options)
    assert set(done.record.lost) == {0, 7, 8, 9, 15}
    assert "no face" in done.record.lost[7]
    assert "could not be fitted" in done.record.lost[15]
    names = [path.stem for path in frames_of(place.options.subject)]
    assert names == [f"{i:05d}" for i in range(FRAMES - 5)]
    kept = json.loads((place.options.subject / TRACKED).read_text())
    assert kept["frames"] == [i for i in range(FRAMES) if i not in {0, 7, 8, 9, 15}]
    assert kept["seconds"][:2] == pytest.approx([1 / 30, 2 / 30], abs=1e-5)


def test_two_faces_are_told_and_one_followed(place: Place) -> None:
    for number in range(10, 14):
        face = place.clip.faces[number]
        small = replace(face, points=face.points * (0.3, 0.3, 0.3) + (10, 10, 0))
        place.told[number] = [small, face]
    done = place.track(place.options)
    assert not done.record.lost
    assert set(done.record.crowded) <= set(range(10, 14))


def test_a_cut_is_told_and_tracking_begins_anew(place: Place) -> None:
    told = dict(place.told)
    for number in range(12, FRAMES):
        told[number] = [replace(face, points=face.points + np.array((60.0, 0, 0))) for face in place.told[number]]
    done = place.track(place.options, TrueFinder(told))
    assert list(done.record.cuts) == [12]
    assert len(done.record.frames) == FRAMES


def test_a_stopped_tracking_goes_on_without_looking_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    finder, written = TrueFinder(place.told), []

    def write_some(*arguments: object) -> None:
        if len(written) == 6:
            raise KeyboardInterrupt
        written.append(arguments)
        work_write(*arguments)  # type: ignore[arg-type]

    work_write = work._write_result
    monkeypatch.setattr(work, "_write_result", write_some)
    with pytest.raises(Stopped, match="the same command goes on from here"):
        place.track(place.options, finder)
    monkeypatch.setattr(work, "_write_result", work_write)
    looked = finder.looked
    before = {path: path.stat().st_mtime_ns for path in frames_of(place.options.subject)}
    done = place.track(place.options, finder)
    assert finder.looked == looked
    assert done.kept == len(before) > 0
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert len(frames_of(place.options.subject)) == FRAMES
    assert not list((place.options.subject / WORK).iterdir())
    assert place.track(place.options, finder).kept == FRAMES  # a complete one is left as it is


def test_a_stopped_tracking_is_not_aligned_again(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def counted(*arguments: object) -> Fit:
        calls.append(1)
        return real(*arguments)  # type: ignore[arg-type]

    def stop(*arguments: object) -> None:
        raise KeyboardInterrupt

    real = work.align_clip
    monkeypatch.setattr(work, "align_clip", counted)
    monkeypatch.setattr(appearance, "TELLING", 0.0)
    with monkeypatch.context() as patched:
        patched.setattr(work, "_write_subject", stop)
        with pytest.raises(Stopped):
            place.track(place.options)
    kept = place.track(place.options)
    assert len(calls) == 1
    assert kept.record.numbers["aligned_degrees"] > 0
    assert not list((place.options.subject / WORK).iterdir())


def test_stopped_while_looking_leaves_nothing_that_is_in_the_way(place: Place) -> None:
    with pytest.raises(Stopped):
        place.track(place.options, TrueFinder(place.told, fails_at=9))
    assert len(place.track(place.options).record.frames) == FRAMES


def test_other_settings_or_another_source_need_overwrite(place: Place, tmp_path: Path) -> None:
    place.track(place.options)
    with pytest.raises(OutputError, match="was tracked with size None, not 64; pass --overwrite"):
        place.track(replace(place.options, size=64))
    other = tmp_path / "other"
    other.mkdir()
    for number in range(8):
        content = (place.pictures / f"{number:05d}.png").read_bytes()
        (other / f"{number:05d}.png").write_bytes(content)
    with pytest.raises(OutputError, match=r"was tracked from .*pictures, not .*other"):
        place.track(replace(place.options, source=str(other)))
    place.track(replace(place.options, source=str(other), overwrite=True))
    assert len(frames_of(place.options.subject)) == 8  # no frame of the longer one is left


def test_a_folder_that_holds_anything_else_is_not_touched(place: Place) -> None:
    place.options.subject.mkdir(parents=True)
    (place.options.subject / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(OutputError, match=r"did not make, expected nothing"):
            place.track(replace(place.options, overwrite=overwrite))
    assert (place.options.subject / "thesis.txt").read_text() == "mine"


def test_a_video_without_a_face_is_told_in_one_line(place: Place) -> None:
    with pytest.raises(DataError, match=r"pictures: no face found in all 24 pictures"):
        place.track(place.options, TrueFinder({}))


def test_the_first_pictures_alone_can_be_taken(place: Place) -> None:
    assert len(place.track(replace(place.options, most_frames=7)).record.frames) == 7


def test_one_frame_is_enough(place: Place) -> None:
    assert len(place.track(replace(place.options, most_frames=1)).record.frames) == 1


def test_masks_can_be_given(place: Place, tmp_path: Path) -> None:
    for number in range(FRAMES):
        mask = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
        mask[40:100, 50:110] = 255
        save_png(tmp_path / "masks" / f"{number:05d}.png", mask)
    options = replace(place.options, masks=tmp_path / "masks", framing=Framing.WHOLE)
    done = place.track(options)
    assert done.record.complete
    (tmp_path / "masks" / "00023.png").unlink()
    with pytest.raises(DataError, match=r"00023\.png: found no such mask"):
        place.track(replace(options, subject=place.folder / "subjects" / "two"))


def test_settings_that_cannot_be_are_told(place: Place) -> None:
    for change, message in (
        ({"size": 4}, "--size 4"),
        ({"margin": 3.0}, "--margin 3"),
        ({"classes": "bisenet"}, "no --masks DIR"),
        ({"masks": Path("m"), "segmenter": Path("s")}, "give one of them"),
    ):
        with pytest.raises(ConfigError, match=message):
            replace(place.options, **change)
    with pytest.raises(ConfigError, match=r"--focal 5: is 0\.031 times"):
        place.track(replace(place.options, focal=5.0))


class PlayedCamera:
    """Gives the pictures of a folder as a camera would."""

    name, count = "camera:0", None

    def __init__(self, frames: Sequence[VideoFrame]) -> None:
        self._frames = frames

    def __iter__(self) -> Iterator[VideoFrame]:
        return iter(self._frames)


def test_what_a_camera_gives_is_kept_and_tracked(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    frames = list(work.open_frames(str(place.pictures), 30.0))
    dull = [replace(f, picture=np.maximum(f.picture, f.picture[:1, :1])) for f in frames]  # JPEG keeps flat numbers
    told = {id(frame.picture): place.told[frame.number] for frame in dull}

    class Knows(TrueFinder):
        def census(self, picture: np.ndarray) -> Sequence[Face]:
            return told[id(picture)]

        def follow_one(self, picture: np.ndarray, milliseconds: int) -> Sequence[Face]:
            return told[id(picture)]

    def opened(source: str, rate: float):  # type: ignore[no-untyped-def]
        return PlayedCamera(dull) if source.startswith(CAMERA) else real(source, rate)

    real = work.open_frames
    monkeypatch.setattr(work, "open_frames", opened)
    options = replace(place.options, source="camera:0")
    done = place.track(options, Knows({}))
    assert len(done.record.frames) == FRAMES
    assert len(list((options.subject / RECORDED).iterdir())) == FRAMES
    assert len(frames_of(options.subject)) == FRAMES


def test_the_landmarks_of_the_truth_are_in_the_pictures(painted: Place) -> None:
    """Of this file's own pictures: the skin is where the landmarks are."""
    points = project(face_model(), painted.clip.person, painted.clip.motion)[3]
    picture = read_picture(painted.pictures / "00003.png")
    inside = [picture[int(y), int(x)] for x, y in points if 0 <= x < SIZE[0] and 0 <= y < SIZE[1]]
    skin = np.mean(np.abs(np.array(inside, float) - (205, 150, 120)).max(1) < 15)
    assert skin > 0.8
