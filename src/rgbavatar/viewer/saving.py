"""Pictures that a user keeps: `pictures/00000.png` and so on in the run's folder. None is ever overwritten."""

from __future__ import annotations

from pathlib import Path

from rgbavatar.io.files import make_folder, output_error, write_bytes


def save_new_picture(folder: Path, content: bytes) -> Path:
    """Write a PNG under the next free number. Returns where it lies. Raises OutputError."""
    path = _reserve(make_folder(folder))
    try:
        write_bytes(path, content)
    except BaseException:
        path.unlink(missing_ok=True)
        raise
    return path


def _reserve(folder: Path) -> Path:
    """An empty file of a name that was free until now, even if another process looks for one too."""
    taken = [int(path.stem) for path in folder.glob("*.png") if path.stem.isascii() and path.stem.isdigit()]
    number = max(taken, default=-1) + 1
    while True:
        path = folder / f"{number:05d}.png"
        try:
            path.touch(exist_ok=False)
        except FileExistsError:
            number += 1
        except OSError as error:
            raise output_error(path, error) from error
        else:
            return path
