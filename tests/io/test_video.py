"""Videos, judged by decoding them."""

from __future__ import annotations

from pathlib import Path

import imageio.v3 as imageio
import imageio_ffmpeg
import numpy as np
import pytest

from rgbavatar.errors import OutputError
from rgbavatar.io import video
from rgbavatar.io.video import VideoWriter, write_video


def make_frames(count: int, height: int = 48, width: int = 64) -> list[np.ndarray]:
    """A red square that moves right over a grey ramp, eight pixels a frame."""
    ramp = np.linspace(40, 200, height).astype(np.uint8)[:, None, None]
    frames = [np.broadcast_to(ramp, (height, width, 3)).copy() for _ in range(count)]
    for index, frame in enumerate(frames):
        frame[8:24, 8 * index : 8 * index + 16] = (220, 30, 30)
    return frames


def read_frames(path: Path) -> np.ndarray:
    plugin = "pillow" if path.suffix == ".gif" else "FFMPEG"
    return np.stack(list(imageio.imiter(path, plugin=plugin)))


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_the_frames_come_back_in_order_and_look_the_same(tmp_path: Path, suffix: str) -> None:
    frames = make_frames(6)
    write_video(tmp_path / f"a{suffix}", frames, 25)
    decoded = read_frames(tmp_path / f"a{suffix}")
    assert decoded.shape == (6, 48, 64, 3)
    for ours, theirs in zip(frames, decoded, strict=True):
        # 4:2:0 colour and lossy coding smear the square's edge; a shift by a frame would differ by about 10 levels
        assert np.abs(ours.astype(int) - theirs.astype(int)).mean() < 5
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_mp4_is_h264_with_420_colour_at_the_given_rate(tmp_path: Path) -> None:
    write_video(tmp_path / "a.mp4", make_frames(6), 29.97)
    reader = imageio_ffmpeg.read_frames(str(tmp_path / "a.mp4"))
    about = next(reader)
    reader.close()
    assert about["codec"] == "h264"
    assert about["pix_fmt"].startswith("yuv420p")
    assert about["fps"] == pytest.approx(29.97, abs=0.005)
    assert about["size"] == (64, 48)


@pytest.mark.parametrize("suffix", [".mp4", ".webm", ".gif"])
def test_equal_frames_are_not_dropped(tmp_path: Path, suffix: str) -> None:
    write_video(tmp_path / f"a{suffix}", make_frames(1) * 7, 10)
    assert imageio_ffmpeg.count_frames_and_secs(tmp_path / f"a{suffix}")[0] == 7


def test_odd_sizes_are_padded_by_repeating_the_border(tmp_path: Path) -> None:
    frames = [frame[:47, :63] for frame in make_frames(3)]
    write_video(tmp_path / "a.mp4", frames, 25)
    decoded = read_frames(tmp_path / "a.mp4").astype(int)
    assert decoded.shape == (3, 48, 64, 3)
    assert np.abs(decoded[:, -1, :62] - decoded[:, -2, :62]).mean() < 3
    assert np.abs(decoded[:, :47, :63] - np.stack(frames)).mean() < 5


def test_a_name_with_a_colon_or_a_percent_sign_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(Path("a:b %03d.mp4"), make_frames(2), 25)
    assert [path.name for path in tmp_path.iterdir()] == ["a:b %03d.mp4"]


@pytest.mark.parametrize("error", [ValueError("mine"), FileNotFoundError("theirs"), KeyboardInterrupt()])
def test_an_error_in_the_body_passes_through_and_keeps_the_old_video(tmp_path: Path, error: BaseException) -> None:
    (tmp_path / "a.mp4").write_text("old")

    def write_and_fail() -> None:
        with VideoWriter(tmp_path / "a.mp4", 25) as writer:
            for frame in make_frames(3):
                writer.write(frame)
            raise error

    with pytest.raises(type(error)) as caught:
        write_and_fail()
    assert caught.value is error
    assert (tmp_path / "a.mp4").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_full_disk_is_one_line_and_leaves_nothing(run_on_tiny_disk) -> None:
    printed = run_on_tiny_disk("""
import os, sys
import numpy as np
from pathlib import Path
from rgbavatar.errors import OutputError
from rgbavatar.io.video import write_video
folder = Path(sys.argv[1])
(folder / "a.mp4").write_text("old")
noise = np.random.default_rng(0).integers(0, 256, (10, 256, 256, 3)).astype(np.uint8)
for suffix in (".mp4", ".gif"):
    try:
        write_video(folder / f"a{suffix}", noise, 25)
    except OutputError as error:
        print(error)
print((folder / "a.mp4").read_text(), os.listdir(folder))
""")
    lines = printed.splitlines()
    assert len(lines) == 3
    assert lines[2] == "old ['a.mp4']"
    for line, suffix in zip(lines, (".mp4", ".gif"), strict=False):
        assert f"a{suffix}: cannot be written: No space left on device; free some disk space" in line


def test_ffmpeg_ended_by_a_limit_on_file_sizes_is_an_output_error(tmp_path: Path, limited_file_size) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (20, 256, 256, 3)).astype(np.uint8)
    with limited_file_size(50_000), pytest.raises(OutputError, match=r"a\.mp4: ffmpeg cannot write it"):
        write_video(tmp_path / "a.mp4", list(noise), 25)
    assert list(tmp_path.iterdir()) == []


def test_a_frame_that_ffmpeg_lost_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "_last_frame_number", lambda _: 5)
    with pytest.raises(OutputError, match="ffmpeg wrote 5 of 6 frames"):
        write_video(tmp_path / "a.mp4", make_frames(6), 25)
    assert list(tmp_path.iterdir()) == []


def test_a_video_needs_frames_of_one_shape_a_rate_and_a_known_suffix(tmp_path: Path) -> None:
    frame = make_frames(1)[0]
    for frames in ([frame, frame[:, 2:]], [frame[..., 0]], [frame / 255]):
        with pytest.raises(ValueError, match="frame is"):
            write_video(tmp_path / "a.mp4", frames, 25)
    with pytest.raises(ValueError, match="frames_per_second"):
        VideoWriter(tmp_path / "a.mp4", 0)
    with pytest.raises(OutputError, match=r"\.mp4, \.webm, \.gif"):
        VideoWriter(tmp_path / "a.avi", 25)
    with pytest.raises(OutputError, match="no frame was given"):
        write_video(tmp_path / "a.mp4", [], 25)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_ffmpeg_is_an_output_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail() -> str:
        raise RuntimeError("No ffmpeg exe could be found.\nInstall it")

    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", fail)
    with pytest.raises(OutputError, match="pip install imageio-ffmpeg"):
        write_video(tmp_path / "a.mp4", make_frames(1), 25)
