"""Checkpoints: everything that training needs to go on, in one file.

The file is what `torch.save` writes for a dict of plain containers, numbers, strings and tensors, so that it loads with
`weights_only=True` and runs no code. All tensors are stored on the CPU.
"""

from __future__ import annotations

import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from rgbavatar.errors import CheckpointError
from rgbavatar.io.files import write_aside

CHECKPOINT_VERSION = 1  # raised whenever a reader of the previous version would misread the file

_FORMAT = "rgbavatar checkpoint"
_PLAIN = (bool, int, float, str, type(None))


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """The state of a training run after `images_seen` images.

    config: the resolved configuration. model: the avatar's tensors by name. optimizer: its state dict. generators: the state
    of each named random generator, uint8 on the CPU. extra: whatever else a trainer keeps.
    """

    config: dict[str, Any]
    model: dict[str, Tensor]
    optimizer: dict[str, Any]
    generators: dict[str, Tensor]
    images_seen: int
    extra: dict[str, Any] = field(default_factory=dict)
    version: int = CHECKPOINT_VERSION


_TYPES: dict[str, type] = {
    "config": dict, "model": dict, "optimizer": dict, "generators": dict, "images_seen": int, "extra": dict, "version": int,
}  # fmt: skip


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> None:
    """Write `checkpoint` to `path` aside, so that a failure leaves the previous file. Raises OutputError.

    Raises TypeError, naming the entry, for a value that is neither a tensor nor plain.
    """
    content = {"format": _FORMAT, **_entries(checkpoint, _to_storage)}
    with write_aside(path) as partial, partial.open("wb") as file:
        _write_content(content, file)


def copy_checkpoint(checkpoint: Checkpoint) -> Checkpoint:
    """The same state on the CPU, in memory of its own: training may go on. Raises TypeError like save_checkpoint."""
    return Checkpoint(**_entries(checkpoint, _copy))


def move_to_cpu(checkpoint: Checkpoint) -> Checkpoint:
    """The same state on the CPU; what lies there already is shared. Raises TypeError like save_checkpoint."""
    return Checkpoint(**_entries(checkpoint, _to_storage))


def load_checkpoint(path: Path, map_location: torch.device | str = "cpu") -> Checkpoint:
    """Read a checkpoint, with the tensors of `model`, `optimizer` and `extra` on `map_location`.

    Raises CheckpointError when the file is missing, broken, not one of ours, or of another version.
    """
    content = _check_content(path, _read_content(path))
    for name in ("model", "optimizer", "extra"):
        content[name] = _map_tensors(content[name], lambda tensor: tensor.to(map_location), name)
    return Checkpoint(**content)


class _Output:
    """A file for torch.save that remembers why a write failed: torch's own error does not say it."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.failure: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self._file.write(content)
        except OSError as error:
            self.failure = error
            raise

    def flush(self) -> None:
        self._file.flush()


def _write_content(content: dict[str, Any], file: BinaryIO) -> None:
    """Write a dict with torch.save. Raises OSError where the file cannot take it."""
    output = _Output(file)
    try:
        torch.save(content, output)  # type: ignore[arg-type]  # it asks for no more than `write` and `flush`
    except RuntimeError:
        if output.failure is None:
            raise
        raise output.failure from None


def _entries(checkpoint: Checkpoint, function: Callable[[Tensor], Tensor]) -> dict[str, Any]:
    """The entries of a checkpoint by name, with `function` applied to their tensors."""
    content = {item.name: getattr(checkpoint, item.name) for item in fields(checkpoint)}
    entries: dict[str, Any] = _map_tensors(content, function, "checkpoint")
    return entries


def _to_storage(tensor: Tensor) -> Tensor:
    """Cut from the graph, on the CPU, owning no more memory than it shows."""
    shares = tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size()
    return _copy(tensor) if shares or not tensor.is_cpu else tensor.detach()


def _copy(tensor: Tensor) -> Tensor:
    """A copy on the CPU, cut from the graph. What a GPU has goes to page-locked memory: several times as fast, and torch keeps
    that memory for the next copy."""
    return torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=tensor.is_cuda).copy_(tensor.detach())


def _map_tensors(value: Any, function: Callable[[Tensor], Tensor], name: str) -> Any:
    """`value` with `function` applied to its tensors; TypeError for what is neither plain nor a tensor."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {_plain_key(key, name): _map_tensors(item, function, f"{name}.{key}") for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_map_tensors(item, function, f"{name}[{i}]") for i, item in enumerate(value))
    if type(value) in _PLAIN:
        return value
    raise TypeError(f"{name} is a {type(value).__name__}, which a checkpoint cannot hold")


def _plain_key(key: Any, name: str) -> Any:
    if type(key) in (str, int):
        return key
    raise TypeError(f"a key of {name} is a {type(key).__name__}, expected str or int")


def _read_content(path: Path) -> object:
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint; train first, or check the path")
    try:
        return _unpack(path)
    except PermissionError as error:
        raise CheckpointError(f"{path}: cannot be read: {error.strerror}; change its permissions") from error
    except MemoryError:
        raise
    except Exception as error:  # damaged bytes can raise anything at all
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CheckpointError(
            f"{path}: broken, or not a checkpoint ({reason}); train again or restore a copy"
        ) from error


def _unpack(path: Path) -> object:
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()  # torch itself does not look at the check sums
    if damaged is not None:
        raise zipfile.BadZipFile(f"{damaged} is damaged")
    return torch.load(path, map_location="cpu", weights_only=True)


def _check_content(path: Path, content: object) -> dict[str, Any]:
    """The entries of a Checkpoint, each of its type."""
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise CheckpointError(f"{path}: not a checkpoint of this program; train again, or give another file")
    found = content.get("version")
    if found != CHECKPOINT_VERSION:
        raise CheckpointError(f"{path}: version {found}, expected {CHECKPOINT_VERSION}; use the release that wrote it")
    for name, expected in _TYPES.items():
        if not isinstance(content.get(name), expected):
            raise CheckpointError(f"{path}: entry {name!r} is missing or not a {expected.__name__}; train again")
    _check_tensors(path, content)
    return {name: content[name] for name in _TYPES}


def _check_tensors(path: Path, content: dict[str, Any]) -> None:
    for group in ("model", "generators"):
        wrong = [name for name, value in content[group].items() if not isinstance(value, Tensor)]
        if wrong:
            raise CheckpointError(f"{path}: {group}.{wrong[0]} is not a tensor; train again")
