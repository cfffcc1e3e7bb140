"""RGBA images of a subject: checked from their headers, decoded by threads, held in memory or streamed from the disk.

Straight alpha: colours are not multiplied by it. Threads rather than processes: the decoder releases the
interpreter's lock, and an interrupted run leaves nothing behind.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import torch
from torch import Tensor

from rgbavatar.errors import DataError

Progress = Callable[[int, int], None]
"""Told (images done, images in all) after each image."""

ImageFile: TypeAlias = "Path | MaskedImage"
"""Where an image lies: an RGBA PNG, or colour and mask apart."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER_BYTES = 26  # signature 8, chunk length 4 and name 4, then width 4, height 4, bit depth 1, colour type 1
PNG_END = b"IEND\xaeB`\x82"  # name and checksum of the empty last chunk
JPEG_END = b"\xff\xd9"  # the marker that ends a JPEG
PNG_TAIL_BYTES = 1024  # some writers leave a few bytes after the last chunk
RGBA_COLOR_TYPE = 6
COLOR_TYPES = {0: "grey", 2: "RGB without alpha", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
LOCKED_BYTES = 5 * 1024  # zlib gives the interpreter's lock away for more
EXPORT_HINT = "export it again as 8-bit RGBA with the head's mask as alpha"


@dataclass(frozen=True)
class MaskedImage:
    """A colour picture (PNG or JPEG, 8 bits) and the head's coverage apart: a grey picture, or one whose first channel it is."""

    color: Path
    mask: Path


def default_workers() -> int:
    """Decoding threads: one a core that this process may use, at most 16 (beyond that the memory bus is the limit)."""
    return min(16, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)


def read_ends(path: Path) -> tuple[bytes, bytes, int]:
    """The first and the last bytes of a file and its size in bytes. Raises DataError where it cannot be opened."""
    try:
        with path.open("rb") as file:
            head = file.read(PNG_HEADER_BYTES)
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - PNG_TAIL_BYTES))
            return head, file.read(), size
    except OSError as error:
        raise unreadable(path, error) from error


def unreadable(path: Path, error: OSError) -> DataError:
    """The error for an image that the system does not hand out."""
    return DataError(
        f"{path}: found {error.strerror}, expected a file that can be read; check its place and permissions"
    )


def read_png_size(path: Path) -> tuple[int, int]:
    """Check a PNG from its first and last bytes and return (width, height) in pixels.

    Raises DataError where it is no PNG, is truncated, or is not 8-bit RGBA; the pixels are checked when they are
    decoded.
    """
    head, tail, size = read_ends(path)
    if head[:8] != PNG_SIGNATURE:
        raise DataError(f"{path}: found no PNG signature in {size} bytes, expected a PNG file; {EXPORT_HINT}")
    if len(head) < PNG_HEADER_BYTES or PNG_END not in tail:
        raise DataError(f"{path}: found a PNG truncated at {size} bytes, expected a complete file; copy it again")
    width, height, bits, color_type = struct.unpack(">IIBB", head[16:26])
    if (bits, color_type) != (8, RGBA_COLOR_TYPE):
        found = f"{bits}-bit {COLOR_TYPES.get(color_type, f'colour type {color_type}')}"
        raise DataError(f"{path}: found {found}, expected 8-bit RGBA; {EXPORT_HINT}")
    return width, height


def read_common_size(files: Sequence[ImageFile]) -> tuple[int, int]:
    """Check the headers of all `files` and return their common (width, height). Raises DataError naming the odd one.

    Of colour and mask apart, the first pair is decoded; that the others have its size shows when they are.
    """
    first = _size_of(files[0])
    for file in files[1:]:
        size = read_png_size(file) if isinstance(file, Path) else first
        if size != first:
            raise DataError(
                f"{file}: found {size[0]}x{size[1]} pixels (width x height), expected {first[0]}x{first[1]} as in "
                f"{_name_of(files[0])}; all images of a subject need one size"
            )
    return first


def _size_of(file: ImageFile) -> tuple[int, int]:
    if isinstance(file, Path):
        return read_png_size(file)
    height, width = decode_picture(file.color, cv2.IMREAD_COLOR).shape[:2]
    return width, height


def _name_of(file: ImageFile) -> str:
    return file.name if isinstance(file, Path) else file.color.name


def decode_image(file: ImageFile, width: int, height: int) -> np.ndarray:
    """Decode an image into [height, width, 4] uint8 straight RGBA. Raises DataError where damaged or of another size."""
    if isinstance(file, Path):
        return decode_rgba(file, width, height)
    color, mask = decode_picture(file.color, cv2.IMREAD_COLOR), decode_picture(file.mask, cv2.IMREAD_UNCHANGED)
    for path, picture in ((file.color, color), (file.mask, mask)):
        if picture.shape[:2] != (height, width):
            raise DataError(
                f"{path}: found {picture.shape[1]}x{picture.shape[0]} pixels (width x height), expected {width}x{height}; "
                f"all images and masks of a subject need one size"
            )
    alpha = mask if mask.ndim == 2 else mask[..., 0]
    return np.dstack([cv2.cvtColor(color, cv2.COLOR_BGR2RGB), alpha])


def decode_picture(path: Path, flags: int) -> np.ndarray:
    """A picture in OpenCV's order of channels, 8 bits. Raises DataError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    if data[:8] == PNG_SIGNATURE:
        check_png_chunks(path, data)
    elif not data.rstrip(b"\0").endswith(JPEG_END):
        raise DataError(
            f"{path}: found neither a PNG nor a whole JPEG in {len(data)} bytes, expected one; copy it again"
        )
    picture = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if picture is None or picture.dtype != np.uint8:
        raise DataError(f"{path}: found pixels that cannot be decoded, expected an 8-bit picture; export it again")
    return picture


def decode_rgba(path: Path, width: int, height: int) -> np.ndarray:
    """Decode a PNG into [height, width, 4] uint8 straight RGBA. Raises DataError where damaged or of another size."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise unreadable(path, error) from error
    check_png_chunks(path, data)
    bgra = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if bgra is None:
        raise DataError(f"{path}: found a PNG whose pixels cannot be decoded, expected a sound file; copy it again")
    if bgra.shape != (height, width, 4) or bgra.dtype != np.uint8:
        raise DataError(
            f"{path}: found {bgra.shape} {bgra.dtype}, expected ({height}, {width}, 4) uint8; did it change?"
        )
    return cv2.cvtColor(bgra, cv2.COLOR_BGRA2RGBA)


def check_png_chunks(path: Path, data: bytes) -> None:
    """Raise DataError unless all chunks up to the last one are whole and fit their checksums (decoders differ here)."""
    view, at, name = memoryview(data), len(PNG_SIGNATURE), b""
    while name != b"IEND":
        start, end = at + 4, at + 8 + int.from_bytes(view[at : at + 4], "big")
        if end + 4 > len(data) or _checksum(view[start:end]) != int.from_bytes(view[end : end + 4], "big"):
            raise DataError(f"{path}: found a damaged PNG at byte {at}, expected a sound file; copy it again")
        name, at = data[start : start + 4], end + 4


def _checksum(body: memoryview) -> int:
    """CRC-32 of a chunk's name and content.

    In pieces for which zlib keeps the interpreter's lock: chunks of a few KiB are common, and threads that hand the lock over
    twice for each of them do little else.
    """
    crc = 0
    for start in range(0, len(body), LOCKED_BYTES):
        crc = zlib.crc32(body[start : start + LOCKED_BYTES], crc)
    return crc


def finish_all(jobs: Iterable[Future[None]], total: int, progress: Progress | None) -> None:
    """Wait for all jobs; the first that fails, or an interrupt, cancels those not started and is raised."""
    pending = list(jobs)
    try:
        for done, job in enumerate(as_completed(pending), start=1):
            job.result()
            if progress is not None:
                progress(done, total)
    except BaseException:
        for job in pending:
            job.cancel()
        raise


class PreloadedImages:
    """n images held in memory. pixels [n, H, W, 4] uint8, straight RGBA; pin_memory: what is read is page-locked."""

    def __init__(self, pixels: Tensor, pin_memory: bool = False) -> None:
        self.pixels = pixels
        self._pin_memory = pin_memory

    @property
    def width(self) -> int:
        return self.pixels.shape[2]

    @property
    def height(self) -> int:
        return self.pixels.shape[1]

    def __len__(self) -> int:
        return self.pixels.shape[0]

    def read(self, indices: Tensor) -> Tensor:
        """Copies of the images at positions `indices` [B]: [B, H, W, 4] uint8, where `pixels` lies."""
        size = (len(indices), *self.pixels.shape[1:])
        out = torch.empty(size, dtype=torch.uint8, device=self.pixels.device, pin_memory=self._pin_memory)
        return torch.index_select(self.pixels, 0, indices.to(self.pixels.device), out=out)

    def to(self, device: torch.device) -> PreloadedImages:
        """The same images with `pixels` on `device`."""
        return PreloadedImages(self.pixels.to(device), self._pin_memory and device.type == "cpu")

    def close(self) -> None:
        """Nothing to end: the threads that decoded are gone."""


class StreamedImages:
    """n images decoded from the disk at each read, by a pool of threads that `close` ends."""

    def __init__(self, files: Sequence[ImageFile], width: int, height: int, pin_memory: bool, workers: int) -> None:
        self.files = tuple(files)
        self._width = width
        self._height = height
        self._pin_memory = pin_memory
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="decode-image")

    @property
    def width(self) -> int:
        return self._width

    @property
    def height(self) -> int:
        return self._height

    def __len__(self) -> int:
        return len(self.files)

    def read(self, indices: Tensor) -> Tensor:
        """Decode the images at positions `indices` [B]: [B, H, W, 4] uint8 on the CPU. Raises DataError."""
        out = torch.empty(self._size_of(len(indices)), dtype=torch.uint8, pin_memory=self._pin_memory)
        finish_all(self._decode_into(out, indices.tolist()), len(indices), None)
        return out

    def start_preload(self) -> PendingImages:
        """Begin to decode all images into memory."""
        pixels = torch.empty(self._size_of(len(self)), dtype=torch.uint8)
        return PendingImages(
            self, PreloadedImages(pixels, self._pin_memory), self._decode_into(pixels, range(len(self)))
        )

    def _size_of(self, count: int) -> tuple[int, int, int, int]:
        return (count, self._height, self._width, 4)

    def _decode_into(self, out: Tensor, indices: Iterable[int]) -> list[Future[None]]:
        """Have the threads fill out [B, H, W, 4] with the images at `indices`."""

        view = out.numpy()  # torch would copy with threads of its own for each of ours

        def decode(slot: int, index: int) -> None:
            view[slot] = decode_image(self.files[index], self._width, self._height)

        return [self._pool.submit(decode, slot, index) for slot, index in enumerate(indices)]

    def to(self, device: torch.device) -> StreamedImages:
        """The store itself: it holds no image in memory."""
        return self

    def close(self) -> None:
        """End the threads; what they had not begun is dropped."""
        self._pool.shutdown(wait=True, cancel_futures=True)


class PendingImages:
    """Images that a store's threads are decoding into memory, while the caller does something else."""

    def __init__(self, store: StreamedImages, held: PreloadedImages, jobs: Sequence[Future[None]]) -> None:
        self._store = store
        self._held = held
        self._jobs = jobs

    def finish(self, progress: Progress | None = None) -> PreloadedImages:
        """Wait for all of them, and end the threads. Raises DataError naming the file that cannot be decoded."""
        try:
            finish_all(self._jobs, len(self._jobs), progress)
        finally:
            self._store.close()
        return self._held


def stream_images(files: Sequence[ImageFile], *, pin_memory: bool, workers: int | None = None) -> StreamedImages:
    """Check the headers of `files` and make a store that decodes them at each read. Raises DataError naming a file."""
    width, height = read_common_size(files)
    return StreamedImages(files, width, height, pin_memory, workers or default_workers())


def preload_images(
    files: Sequence[ImageFile], *, pin_memory: bool, workers: int | None = None, progress: Progress | None = None
) -> PreloadedImages:
    """Decode `files` into memory (4 H W bytes each), handed out page-locked where asked. Raises DataError naming the file."""
    return stream_images(files, pin_memory=pin_memory, workers=workers).start_preload().finish(progress)
