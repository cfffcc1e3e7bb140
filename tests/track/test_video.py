"""Pictures of videos, folders and cameras: upright, with their times, and in one line what is wrong with a source."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import pytest

from rgbavatar.errors import ConfigError, DataError
from rgbavatar.io.images import save_png
from rgbavatar.io.video import write_video
from rgbavatar.track.video import FileFrames, PacedFrames, VideoFrame, is_camera, open_frames

RATE, FRAMES = 30.0, 12


def pictures() -> list[np.ndarray]:
    """Grey that rises, red in the top left quarter."""
    made = [np.full((48, 64, 3), 20 * i, np.uint8) for i in range(FRAMES)]
    for picture in made:
        picture[:24, :32] = (255, 0, 0)
    return made


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.mp4"
    write_video(path, pictures(), RATE)
    return path


def convert(*arguments: object) -> None:
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-y", "-v", "error", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True)


def is_red(pixel: np.ndarray) -> bool:
    return bool(pixel[0] > 150 and pixel[1] < 100)


def test_a_video_gives_all_its_pictures_in_rgb_with_their_times(video: Path) -> None:
    frames = open_frames(str(video), 25.0)
    found = list(frames)
    assert frames.count == FRAMES
    assert [frame.number for frame in found] == list(range(FRAMES))
    np.testing.assert_allclose([frame.seconds for frame in found], np.arange(FRAMES) / RATE, atol=2e-3)
    assert is_red(found[0].picture[5, 5])
    assert not is_red(found[0].picture[40, 60])
    assert len(list(frames)) == FRAMES  # from the first one on again


def test_a_rotated_phone_video_is_upright(video: Path, tmp_path: Path) -> None:
    rotated = tmp_path / "rotated.mp4"
    convert("-display_rotation", 90, "-i", video, "-c", "copy", rotated)
    first = next(iter(FileFrames(rotated))).picture
    assert first.shape == (64, 48, 3)
    assert is_red(first[60, 5])  # the top left corner, turned against the clock


def test_a_variable_rate_is_told_by_the_time_stamps(video: Path, tmp_path: Path) -> None:
    varied = tmp_path / "varied.mp4"
    slow = "setpts='if(lt(N,6),N,6+(N-6)*3)/30/TB'"
    convert("-i", video, "-vf", slow, "-fps_mode", "vfr", varied)
    seconds = np.array([frame.seconds for frame in FileFrames(varied)])
    expected = np.where(np.arange(FRAMES) < 6, np.arange(FRAMES), 6 + (np.arange(FRAMES) - 6) * 3) / 30
    np.testing.assert_allclose(seconds, expected, atol=2e-3)


def test_a_folder_gives_its_pictures_by_number_and_a_gap_is_time(tmp_path: Path) -> None:
    for number in (3, 4, 7):
        save_png(tmp_path / f"{number:05d}.png", np.full((8, 8, 3), number, np.uint8))
    found = list(open_frames(str(tmp_path), 10.0))
    assert [frame.number for frame in found] == [3, 4, 7]
    np.testing.assert_allclose([frame.seconds for frame in found], (0, 0.1, 0.4))
    assert found[2].picture[0, 0].tolist() == [7, 7, 7]


def test_pictures_of_two_sizes_are_refused(tmp_path: Path) -> None:
    save_png(tmp_path / "00000.png", np.zeros((8, 8, 3), np.uint8))
    save_png(tmp_path / "00001.png", np.zeros((8, 9, 3), np.uint8))
    with pytest.raises(DataError, match=r"00001\.png: found 9x8 pixels .* expected the 8x8"):
        list(open_frames(str(tmp_path), 25.0))


def test_what_cannot_be_read_is_told_in_one_line(tmp_path: Path, video: Path) -> None:
    with pytest.raises(DataError, match="found no such file"):
        open_frames(str(tmp_path / "missing.mp4"), 25.0)
    text = tmp_path / "text.mp4"
    text.write_text("no video")
    with pytest.raises(DataError, match="found no video that can be decoded"):
        open_frames(str(text), 25.0)
    torn = tmp_path / "torn.mp4"
    torn.write_bytes(video.read_bytes()[:200])
    with pytest.raises(DataError, match=r"torn\.mp4: found no"):
        open_frames(str(torn), 25.0)
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(DataError, match="expected files named"):
        open_frames(str(empty), 25.0)
    for wrong in ("camera:", "camera:left", "camera:-1", f"camera:{video}"):
        with pytest.raises(ConfigError, match="expected camera:0 for the first camera, or video:FILE"):
            open_frames(wrong, 25.0)
    for wrong in ("video:", "video:camera:0", f"video:video:{video}"):
        with pytest.raises(ConfigError, match="expected video: and a file"):
            open_frames(wrong, 25.0)
    with pytest.raises(DataError, match=r"missing\.mp4: found no such file"):
        open_frames(f"video:{tmp_path / 'missing.mp4'}", 25.0)


def test_a_camera_that_is_not_there_is_told_in_one_line() -> None:
    with pytest.raises(DataError, match="camera:97: found no camera"):
        list(open_frames("camera:97", 25.0))


class Clock:
    """Time that passes where it is told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


class TenFrames:
    name, count = "ten", 10

    def __iter__(self):  # type: ignore[no-untyped-def]
        return (VideoFrame(i, i / 10, np.zeros((2, 2, 3), np.uint8)) for i in range(10))


def test_a_paced_recording_waits_for_each_picture() -> None:
    clock = Clock()
    times = [(frame.number, round(clock.now - 100, 3)) for frame in PacedFrames(TenFrames(), clock, clock.sleep)]
    assert times == [(i, i / 10) for i in range(10)]


def test_who_is_slow_misses_pictures_of_a_paced_recording_but_the_last() -> None:
    clock, seen = Clock(), []
    for frame in PacedFrames(TenFrames(), clock, clock.sleep):
        seen.append(frame.number)
        clock.sleep(0.25)
    assert seen == [0, 2, 5, 7, 9]


def test_a_recording_can_play_as_a_camera(video: Path) -> None:
    source = f"video:{video}"
    assert is_camera(source)
    numbers = [frame.number for frame in open_frames(source, 25.0)]
    assert numbers[-1] == FRAMES - 1
    assert numbers == sorted(set(numbers))
