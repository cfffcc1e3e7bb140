"""Checkpoints come back as they were, and a broken one says so in one line."""

from __future__ import annotations

import pickle
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch

from rgbavatar.errors import CheckpointError, OutputError
from rgbavatar.io.checkpoint import (
    CHECKPOINT_VERSION,
    Checkpoint,
    copy_checkpoint,
    load_checkpoint,
    move_to_cpu,
    save_checkpoint,
)


def make_checkpoint(seed: int = 0) -> Checkpoint:
    generator = torch.Generator().manual_seed(seed)
    layer = torch.nn.Linear(3, 4)
    optimizer = torch.optim.Adam(layer.parameters(), lr=1e-3)
    layer(torch.rand(2, 3, generator=generator)).sum().backward()
    optimizer.step()
    return Checkpoint(
        config={"seed": 3, "loss": {"l1": 1.0}, "name": "x", "on": True, "none": None},
        model=dict(layer.state_dict()),
        optimizer=optimizer.state_dict(),
        generators={"batches": generator.get_state()},
        images_seen=1234,
        extra={"seen": torch.rand(5) > 0.5, "list": [1, (2.5, "a")]},
    )


def flatten(value: Any, name: str = "") -> dict[str, Any]:
    if isinstance(value, dict):
        return {key: item for k, v in value.items() for key, item in flatten(v, f"{name}/{k!r}").items()}
    if isinstance(value, list | tuple):
        return {key: item for k, v in enumerate(value) for key, item in flatten(v, f"{name}/{type(value)}{k}").items()}
    return {name: value}


def assert_same(first: Checkpoint, second: Checkpoint) -> None:
    ours, theirs = flatten(vars(first)), flatten(vars(second))
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        if isinstance(value, torch.Tensor):
            assert value.dtype == theirs[name].dtype, name
            assert torch.equal(value, theirs[name]), name
        else:
            assert type(value) is type(theirs[name]), name
            assert value == theirs[name], name


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "checkpoint.pt"


def test_what_is_saved_comes_back(path: Path) -> None:
    checkpoint = make_checkpoint()
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    assert_same(checkpoint, loaded)
    assert loaded.version == CHECKPOINT_VERSION
    assert loaded.images_seen == 1234


def test_a_restored_generator_and_optimizer_go_on_as_the_originals(path: Path) -> None:
    checkpoint = make_checkpoint()
    save_checkpoint(path, checkpoint)
    loaded = load_checkpoint(path)
    ours, theirs = torch.Generator(), torch.Generator()
    ours.set_state(checkpoint.generators["batches"])
    theirs.set_state(loaded.generators["batches"])
    assert torch.equal(torch.rand(9, generator=ours), torch.rand(9, generator=theirs))
    layer = torch.nn.Linear(3, 4)
    torch.optim.Adam(layer.parameters()).load_state_dict(loaded.optimizer)


def test_a_plain_torch_load_without_pickled_code_reads_it(path: Path) -> None:
    save_checkpoint(path, make_checkpoint())
    assert torch.load(path, weights_only=True)["images_seen"] == 1234


def tensors(checkpoint: Checkpoint) -> list[torch.Tensor]:
    return [value for value in flatten(vars(checkpoint)).values() if isinstance(value, torch.Tensor)]


def test_a_copy_shares_nothing_with_the_original() -> None:
    checkpoint, fresh = make_checkpoint(), make_checkpoint()
    copied = copy_checkpoint(checkpoint)
    before = copy_checkpoint(copied)
    for tensor in tensors(checkpoint):
        tensor.zero_()
    checkpoint.extra["list"][1] = "changed"
    checkpoint.optimizer["param_groups"][0]["lr"] = 9.0
    assert_same(copied, before)
    assert copied.optimizer["param_groups"] == fresh.optimizer["param_groups"]
    assert copied.extra["list"] == fresh.extra["list"]


def test_moving_to_the_cpu_shares_what_is_there() -> None:
    checkpoint = make_checkpoint()
    moved = move_to_cpu(checkpoint)
    assert_same(checkpoint, moved)
    assert [a.data_ptr() for a in tensors(checkpoint)] == [b.data_ptr() for b in tensors(moved)]


def test_a_copy_is_cut_from_the_graph_and_takes_no_more_memory_than_it_shows() -> None:
    view = torch.zeros(1_000_000)[::1000].requires_grad_() * 2
    copied = copy_checkpoint(Checkpoint(config={}, model={"v": view}, optimizer={}, generators={}, images_seen=0))
    assert not copied.model["v"].requires_grad
    assert copied.model["v"].untyped_storage().nbytes() == 4000


def test_generators_stay_on_the_cpu_when_the_model_moves(path: Path) -> None:
    save_checkpoint(path, make_checkpoint())
    loaded = load_checkpoint(path, "meta")
    assert loaded.model["weight"].device.type == "meta"
    assert loaded.extra["seen"].device.type == "meta"
    assert loaded.generators["batches"].device.type == "cpu"


def test_a_small_view_of_a_large_tensor_makes_a_small_file(path: Path) -> None:
    view = torch.zeros(1_000_000)[::1000].requires_grad_()
    save_checkpoint(path, Checkpoint(config={}, model={"v": view}, optimizer={}, generators={}, images_seen=0))
    assert path.stat().st_size < 20_000
    assert not load_checkpoint(path).model["v"].requires_grad


@pytest.mark.parametrize("value", [object(), Path("x"), {1.5: 0}, {1, 2}, len])
def test_a_value_that_is_not_plain_is_our_mistake_and_named(path: Path, value: object) -> None:
    checkpoint = Checkpoint(config={}, model={}, optimizer={}, generators={}, images_seen=0, extra={"a": [value]})
    with pytest.raises(TypeError, match=r"extra\.a\[0\]"):
        save_checkpoint(path, checkpoint)
    assert not path.exists()


def refuse(path: Path, words: str) -> None:
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    assert "\n" not in message
    assert words in message


def test_a_missing_file_is_refused(path: Path) -> None:
    refuse(path, "no such checkpoint")
    path.mkdir()
    refuse(path, "no such checkpoint")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 0.9999])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    save_checkpoint(path, make_checkpoint())
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    refuse(path, "broken, or not a checkpoint")


def test_a_flipped_bit_in_a_tensor_is_refused(path: Path) -> None:
    checkpoint = Checkpoint(config={}, model={"w": torch.full((999,), 7.5)}, optimizer={}, generators={}, images_seen=0)
    save_checkpoint(path, checkpoint)
    content = bytearray(path.read_bytes())
    content[content.index(torch.full((9,), 7.5).numpy().tobytes())] ^= 1
    path.write_bytes(content)
    refuse(path, "broken")


class Evil:
    """Unpickles by calling a function."""

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("evil-was-here"),)


def test_a_file_that_would_run_code_is_refused_and_runs_none(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"format": Evil()}, path)
    refuse(path, "broken, or not a checkpoint")
    path.write_bytes(pickle.dumps(Evil()))
    refuse(path, "broken, or not a checkpoint")
    assert not (tmp_path / "evil-was-here").exists()


def test_other_peoples_files_are_refused(path: Path) -> None:
    torch.save({"state_dict": {}}, path)
    refuse(path, "not a checkpoint of this program")
    torch.save(torch.zeros(3), path)
    refuse(path, "not a checkpoint of this program")
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a.txt", "hello")
    refuse(path, "broken, or not a checkpoint")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": CHECKPOINT_VERSION + 1}, f"version {CHECKPOINT_VERSION + 1}, expected {CHECKPOINT_VERSION}"),
        ({"version": None}, "version None"),
        ({"model": []}, "'model' is missing or not a dict"),
        ({"images_seen": "many"}, "'images_seen'"),
        ({"model": {"w": 3}}, "model.w is not a tensor"),
        ({"generators": {"g": [1]}}, "generators.g is not a tensor"),
    ],
)
def test_another_version_or_a_wrong_entry_is_refused(path: Path, change: dict[str, Any], words: str) -> None:
    save_checkpoint(path, make_checkpoint())
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    refuse(path, words)


def test_a_limit_on_file_sizes_keeps_the_previous_checkpoint(path: Path, limited_file_size) -> None:
    previous = make_checkpoint()
    save_checkpoint(path, previous)
    large = Checkpoint(config={}, model={"w": torch.zeros(100_000)}, optimizer={}, generators={}, images_seen=0)
    with limited_file_size(100_000), pytest.raises(OutputError, match="cannot be written: File too large"):
        save_checkpoint(path, large)
    assert_same(load_checkpoint(path), previous)
    assert list(path.parent.iterdir()) == [path]


def test_a_full_disk_keeps_the_previous_checkpoint(run_on_tiny_disk) -> None:
    printed = run_on_tiny_disk("""
import os, sys, torch
from pathlib import Path
from rgbavatar.errors import OutputError
from rgbavatar.io.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
path = Path(sys.argv[1]) / "checkpoint.pt"
for step in (1, 2):
    checkpoint = Checkpoint(config={}, model={"w": torch.ones(35_000)}, optimizer={}, generators={}, images_seen=step)
    try:
        save_checkpoint(path, checkpoint)
    except OutputError as error:
        print(error)
print(load_checkpoint(path).images_seen, os.listdir(path.parent))
""")
    assert "checkpoint.pt: cannot be written: No space left on device" in printed
    assert printed.endswith("1 ['checkpoint.pt']\n")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_checkpoint_of_a_gpu_loads_where_there_is_none(path: Path) -> None:
    weights = torch.arange(6.0)
    save_checkpoint(
        path, Checkpoint(config={}, model={"w": weights.cuda()}, optimizer={}, generators={}, images_seen=0)
    )
    assert torch.load(path, weights_only=True)["model"]["w"].device.type == "cpu"
    moved = load_checkpoint(path, torch.device("cuda")).model["w"]
    assert moved.is_cuda
    assert torch.equal(moved.cpu(), weights)
