"""Splits and batches."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from rgbavatar.datasets.base import Split, split_indices
from rgbavatar.datasets.recorded import load_recorded
from tests.datasets.subjects import noise, one_line_error, small_template, write_subject

CPU = torch.device("cpu")


def test_the_test_split_is_the_last_frames_and_the_splits_share_none() -> None:
    assert split_indices(10, Split.TRAIN, 3).tolist() == list(range(7))
    assert split_indices(10, Split.TEST, 3).tolist() == [7, 8, 9]
    assert split_indices(10, Split.ALL, 3).tolist() == list(range(10))
    assert split_indices(10, Split.TEST, 0).tolist() == []


@pytest.mark.parametrize("test_frames", [10, 350, -1])
def test_a_split_that_leaves_nothing_to_train_on_is_refused(test_frames: int) -> None:
    with one_line_error(f"dataset.test_frames is {test_frames}", "10 frames", "0 to 9"):
        split_indices(10, Split.TRAIN, test_frames)


def test_a_batch_holds_the_frames_asked_for(tmp_path: Path) -> None:
    dataset = load_recorded(write_subject(tmp_path / "s", range(4)), small_template(), preload=False, pin_memory=False)
    batch = dataset.batch(torch.tensor([3, 1]), CPU)
    np.testing.assert_array_equal(batch.images, np.stack([noise(3), noise(1)]))
    assert torch.equal(batch.vertices, dataset.vertices[[3, 1]])
    assert torch.equal(batch.codes, dataset.codes[[3, 1]])
    assert batch.indices.tolist() == [3, 1]
    assert len(batch.camera) == 1
    dataset.close()


def test_a_moved_dataset_gives_the_same_batches(tmp_path: Path) -> None:
    dataset = load_recorded(write_subject(tmp_path / "s"), small_template(), preload=True, pin_memory=False)
    here, there = (d.batch(torch.tensor([2, 0]), CPU) for d in (dataset, dataset.to(CPU)))
    assert torch.equal(here.images, there.images)
    assert torch.equal(here.vertices, there.vertices)
    dataset.close()
