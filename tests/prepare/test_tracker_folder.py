"""Finding what belongs together in a tracker's folder, however it is numbered."""

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbavatar.errors import DataError
from rgbavatar.io.video import write_video
from rgbavatar.prepare.tracker_folder import VideoPicture, find_raw, find_shift, read_video
from tests.prepare.conftest import FRAMES, SIZE, Demo, before_background, make_raw, save


def numbers(*ranges: range) -> dict[int, None]:
    return dict.fromkeys(number for part in ranges for number in part)


@pytest.mark.parametrize(
    ("frames", "files", "shift"),
    [
        (range(10), range(10), 0),
        (range(10), range(1, 11), 1),
        (range(1, 11), range(10), -1),
        (range(1, 11), range(1, 11), 0),
        (range(2, 8), range(10), 0),  # the tracker left out both ends
        (range(5, 15), range(10), 0),  # not one numbered from 0 and one from 1: the user has to say
    ],
)
def test_numberings_from_0_and_from_1_are_told_apart(frames: range, files: range, shift: int) -> None:
    assert find_shift(numbers(frames), numbers(files)) == shift


def test_a_file_that_is_missing_does_not_shift_the_others() -> None:
    assert find_shift(numbers(range(10)), numbers(range(1, 10))) == 0
    assert find_shift(numbers(range(10)), numbers(range(1, 4), range(5, 11))) == 1


def names_of(folder: Path, **options: int) -> list[tuple[str, str, str]]:
    raw = find_raw(folder, None, None, options.get("shift"))
    return [(s.frame.stem, s.picture.stem, s.mask.stem) for s in raw.sources]  # type: ignore[union-attr]


def test_gaps_and_another_first_number(demo: Demo, tmp_path: Path) -> None:
    folder = make_raw(tmp_path / "raw", demo, first=0, picture_first=1, left_out=[2])
    found = names_of(folder)
    assert found == [(f"{n:05d}", f"{n + 1:05d}", f"{n + 1:05d}") for n in (0, 1, 3, 4, 5)]
    assert names_of(folder, shift=0)[0] == ("00001", "00001", "00001")  # there is no 00000.png


def test_masks_may_be_numbered_as_the_frames_are(demo: Demo, tmp_path: Path) -> None:
    folder = make_raw(tmp_path / "raw", demo, picture_first=1)
    for number in range(FRAMES):
        (folder / "masks" / f"{number + 1:05d}.png").rename(folder / "masks" / f"{number:05d}.png")
    assert names_of(folder)[0] == ("00000", "00001", "00000")


def test_what_is_missing_is_kept_apart(raw: Path) -> None:
    (raw / "input" / "00002.png").unlink()
    (raw / "masks" / "00004.png").unlink()
    found = find_raw(raw, None, None, None)
    assert [source.number for source in found.sources] == [0, 1, 3, 5]
    assert "input/00002.png: found no such picture" in found.missing[2]
    assert "masks/00004.png: found no such mask" in found.missing[4]
    assert all("--skip" in why for why in found.missing.values())


def test_pictures_of_another_size_are_not_taken(raw: Path) -> None:
    (raw / "input").rename(raw / "source")
    save(raw / "input" / "00000.png", np.zeros((50, 70, 3), np.uint8))
    assert find_raw(raw, None, None, None).pictures == raw / "source"
    shutil.rmtree(raw / "source")
    with pytest.raises(DataError, match=r"found input of 70x50, expected .* 128x128 pixels .*--images"):
        find_raw(raw, None, None, None)


def test_jpegs_are_found(raw: Path) -> None:
    for path in sorted((raw / "input").iterdir()):
        cv2.imwrite(str(path.with_suffix(".jpg")), cv2.imread(str(path)))
        path.unlink()
    assert find_raw(raw, None, None, None).sources[0].picture == raw / "input" / "00000.jpg"


def test_a_folder_that_is_none_of_a_tracker_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such folder, expected the output folder of metrical-tracker"):
        find_raw(tmp_path / "nowhere", None, None, None)
    with pytest.raises(DataError, match="found nothing, expected"):
        find_raw(tmp_path, None, None, None)


@pytest.fixture
def video(demo: Demo, raw: Path) -> Path:
    """A raw folder whose pictures are a video's."""
    frames = [np.uint8(np.rint(before_background(demo.picture(n)) * 255)) for n in range(FRAMES)]
    write_video(raw / "talk.mp4", frames, 25)
    shutil.rmtree(raw / "input")
    return raw


def test_a_video_is_numbered_as_the_frames_are(demo: Demo, video: Path, tmp_path: Path) -> None:
    found = find_raw(video, None, None, None)
    assert [source.picture for source in found.sources] == [VideoPicture(video / "talk.mp4", n) for n in range(FRAMES)]
    from_1 = make_raw(tmp_path / "other", demo, first=1, picture_first=1)
    found = find_raw(from_1, video / "talk.mp4", None, None)
    assert found.sources[0].picture == VideoPicture(video / "talk.mp4", 0)
    assert not found.missing


def test_the_pictures_of_a_video_are_the_asked_ones(demo: Demo, video: Path) -> None:
    for index, picture in zip([1, 4], read_video(video / "talk.mp4", [1, 4]), strict=True):
        assert picture.shape == (SIZE, SIZE, 3)
        errors = [np.abs(picture / 255 - before_background(demo.picture(number))).mean() for number in range(FRAMES)]
        assert np.argmin(errors) == index
    with pytest.raises(DataError, match="found 6 pictures that can be decoded"):
        list(read_video(video / "talk.mp4", [5, 6]))


def test_a_video_that_is_too_short_or_none_is_told(demo: Demo, video: Path, tmp_path: Path) -> None:
    longer = make_raw(tmp_path / "longer", demo, repeat=2)
    missing = find_raw(longer, video / "talk.mp4", None, None).missing
    assert sorted(missing) == list(range(FRAMES, 2 * FRAMES))
    assert "talk.mp4: found 6 pictures, expected one for 00006.frame" in missing[6]
    (video / "talk.mp4").write_bytes(b"no video")
    with pytest.raises(DataError, match=r"talk\.mp4: found no video"):
        find_raw(video, video / "talk.mp4", None, None)
