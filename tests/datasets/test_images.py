"""Image stores: what they read, that both agree, and each way in which an image can be wrong."""

from __future__ import annotations

import threading
import zlib
from contextlib import closing
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from rgbavatar.datasets import images
from rgbavatar.datasets.images import preload_images, stream_images
from rgbavatar.io.images import save_png
from tests.datasets.subjects import HEIGHT, WIDTH, noise, one_line_error, write_png


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    files = [tmp_path / f"{number:05d}.png" for number in range(6)]
    for number, path in enumerate(files):
        save_png(path, noise(number))
    return files


def test_reading_gives_straight_rgba_in_the_order_asked_for(paths: list[Path]) -> None:
    store = stream_images(paths, pin_memory=False)
    found = store.read(torch.tensor([4, 1, 1]))
    store.close()
    assert (store.width, store.height, len(store)) == (WIDTH, HEIGHT, 6)
    np.testing.assert_array_equal(found, np.stack([noise(4), noise(1), noise(1)]))


def test_streaming_equals_preloading(paths: list[Path]) -> None:
    loaded, streamed = preload_images(paths, pin_memory=False), stream_images(paths, pin_memory=False, workers=3)
    indices = torch.tensor([5, 0, 3])
    assert torch.equal(loaded.read(indices), streamed.read(indices))
    assert (loaded.width, loaded.height, len(loaded)) == (streamed.width, streamed.height, len(streamed))
    streamed.close()


def test_a_read_shares_no_memory_with_the_store(paths: list[Path]) -> None:
    store = preload_images(paths, pin_memory=False)
    store.read(torch.arange(6)).zero_()
    np.testing.assert_array_equal(store.read(torch.tensor([2]))[0], noise(2))


def test_a_moved_store_reads_the_same(paths: list[Path]) -> None:
    store = preload_images(paths, pin_memory=False).to(torch.device("cpu"))
    np.testing.assert_array_equal(store.read(torch.tensor([3]))[0], noise(3))


def test_progress_counts_up_to_all_images(paths: list[Path]) -> None:
    told: list[tuple[int, int]] = []
    preload_images(paths, pin_memory=False, progress=lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(1, 7)]


def test_threads_end_when_a_store_is_closed_or_loading_is_interrupted(paths: list[Path]) -> None:
    before = threading.active_count()
    store = stream_images(paths, pin_memory=False)
    store.read(torch.arange(6))
    store.close()
    store.close()

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        preload_images(paths, pin_memory=False, progress=interrupt)
    assert threading.active_count() == before


def test_images_are_decoded_while_the_caller_does_something_else(
    paths: list[Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    decode, decoded = images.decode_rgba, threading.Semaphore(0)

    def count(path: Path, width: int, height: int) -> np.ndarray:
        pixels = decode(path, width, height)
        decoded.release()
        return pixels

    monkeypatch.setattr(images, "decode_rgba", count)
    pending = stream_images(paths, pin_memory=False).start_preload()
    for _ in paths:
        assert decoded.acquire(timeout=60)
    np.testing.assert_array_equal(pending.finish().read(torch.arange(6)), np.stack([noise(i) for i in range(6)]))


def test_threads_end_with_a_preload_that_is_finished_failed_or_given_up(paths: list[Path]) -> None:
    before = threading.active_count()
    stream_images(paths, pin_memory=False).start_preload().finish()
    store = stream_images(paths, pin_memory=False)
    store.start_preload()
    store.close()
    paths[3].write_bytes(flip_a_byte(paths[3].read_bytes()))
    pending = stream_images(paths, pin_memory=False).start_preload()
    with one_line_error("00003.png"):
        pending.finish()
    assert threading.active_count() == before


def flip_a_byte(data: bytes) -> bytes:
    return data[:120] + bytes([data[120] ^ 255]) + data[121:]


def spoil_the_stream(data: bytes) -> bytes:
    """Zeros in the compressed pixels, with a checksum that fits."""
    at = data.index(b"IDAT")
    length = int.from_bytes(data[at - 4 : at], "big")
    body = data[at : at + 14] + bytes(30) + data[at + 44 : at + 4 + length]
    return data[:at] + body + zlib.crc32(body).to_bytes(4, "big") + data[at + 8 + length :]


@pytest.mark.parametrize(("spoil", "words"), [(flip_a_byte, "damaged PNG at byte"), (spoil_the_stream, "be decoded")])
def test_a_damaged_body_is_named_when_it_is_read(paths: list[Path], spoil, words: str) -> None:  # type: ignore[no-untyped-def]
    paths[3].write_bytes(spoil(paths[3].read_bytes()))
    store = stream_images(paths, pin_memory=False)
    assert len(store.read(torch.tensor([0, 2]))) == 2
    with one_line_error("00003.png", words):
        store.read(torch.arange(6))
    store.close()
    with one_line_error("00003.png", words):
        preload_images(paths, pin_memory=False)


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_damage_anywhere_in_a_large_image_is_seen(tmp_path: Path, share: float) -> None:
    """An image of several chunks of several KiB each."""
    path = tmp_path / "00000.png"
    save_png(path, np.random.default_rng(0).integers(0, 256, (100, 120, 4), dtype=np.uint8))
    sound = path.read_bytes()
    assert sound.count(b"IDAT") > 3
    at = int(share * len(sound))
    with closing(stream_images([path], pin_memory=False)) as store:
        store.read(torch.tensor([0]))
        path.write_bytes(sound[:at] + bytes([sound[at] ^ 1]) + sound[at + 1 :])
        with one_line_error("00000.png", "damaged PNG at byte"):
            store.read(torch.tensor([0]))


@pytest.mark.parametrize("length", [0, 1, 1 << 31, (1 << 32) - 1])
def test_a_chunk_of_a_wrong_length_is_named(paths: list[Path], length: int) -> None:
    data = paths[1].read_bytes()
    at = data.index(b"IDAT") - 4
    with closing(stream_images(paths, pin_memory=False)) as store:
        paths[1].write_bytes(data[:at] + length.to_bytes(4, "big") + data[at + 4 :])
        with one_line_error("00001.png", f"damaged PNG at byte {at}"):
            store.read(torch.tensor([1]))


def test_a_truncated_image_is_named_before_anything_is_read(paths: list[Path]) -> None:
    for length in (4, 20, 200):
        paths[2].write_bytes(paths[5].read_bytes()[:length])
        with one_line_error("00002.png", f"{length} bytes"):
            stream_images(paths, pin_memory=False)


def test_another_kind_of_file_is_named(paths: list[Path]) -> None:
    paths[1].write_bytes(cv2.imencode(".jpg", noise(0)[..., :3])[1].tobytes())
    with one_line_error("00001.png", "no PNG signature"):
        stream_images(paths, pin_memory=False)


@pytest.mark.parametrize(
    ("pixels", "found"),
    [
        (noise(0)[..., :3], "8-bit RGB without alpha"),
        (noise(0)[..., 0], "8-bit grey"),
        (noise(0).astype(np.uint16), "16-bit RGBA"),
    ],
)
def test_an_image_that_is_not_8_bit_rgba_is_named(paths: list[Path], pixels: np.ndarray, found: str) -> None:
    write_png(paths[4], pixels)
    with one_line_error("00004.png", found, "8-bit RGBA"):
        stream_images(paths, pin_memory=False)


def test_images_of_two_sizes_are_named(paths: list[Path]) -> None:
    save_png(paths[2], noise(2)[:, :-1])
    with one_line_error("00002.png", "11x10", "12x10", "00000.png"):
        stream_images(paths, pin_memory=False)


def test_an_image_that_vanishes_or_changes_later_is_named(paths: list[Path]) -> None:
    store = stream_images(paths, pin_memory=False)
    paths[0].unlink()
    save_png(paths[1], noise(1)[:-1])
    with one_line_error("00000.png", "No such file"):
        store.read(torch.tensor([0]))
    with one_line_error("00001.png", "(9, 12, 4)"):
        store.read(torch.tensor([1]))
    store.close()


def test_bytes_after_the_end_of_an_image_do_no_harm(paths: list[Path]) -> None:
    paths[0].write_bytes(paths[0].read_bytes() + b"\n")
    np.testing.assert_array_equal(preload_images(paths, pin_memory=False).read(torch.tensor([0]))[0], noise(0))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="page-locked memory needs a CUDA device")
def test_pinned_stores_read_the_same_into_pinned_memory(paths: list[Path]) -> None:
    indices = torch.tensor([5, 0, 3])
    expected = preload_images(paths, pin_memory=False).read(indices)
    held, streamed = preload_images(paths, pin_memory=True), stream_images(paths, pin_memory=True)
    for store in (held, streamed):
        found = store.read(indices)
        assert found.is_pinned()
        assert torch.equal(found, expected)
    assert not held.pixels.is_pinned()  # what is read is; all of it would take long to lock
    moved = held.to(torch.device("cuda", 0))
    assert torch.equal(moved.read(indices).cpu(), expected)
    streamed.close()
