"""Corrections of frames that were not trained on: what follows from pose and code is found, noise is not."""

from __future__ import annotations

import dataclasses

import pytest
import torch
from torch import Tensor

from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.model.corrections import Corrections
from rgbavatar.model.tracking_habits import POSE_NUMBERS, frame_features, predict_corrections
from tests.helpers.tiny_subject import tiny_dataset

FRAMES, CODE = 240, 5


def random(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def features_of(frames: int, seed: int) -> Tensor:
    """Of heads that turn by some 10 degrees and move by some centimetres, each frame for itself."""
    draws = torch.randn(frames, POSE_NUMBERS + CODE, generator=random(seed), dtype=torch.float64)
    return draws * torch.tensor([0.2] * 3 + [0.02] * 3 + [0.3] * CODE)


def habit(features: Tensor) -> Tensor:
    """A tracker that nods a tenth too little, leans where the head is aside, and sinks with an expression."""
    found = torch.zeros(len(features), 6, dtype=torch.float64)
    found[:, 0] = 0.1 * features[:, 0]
    found[:, 2] = 0.5 * features[:, 3]
    found[:, 4] = 0.01 * torch.tanh(3.0 * features[:, POSE_NUMBERS])
    return found


def explained(predicted: Tensor, truth: Tensor) -> float:
    return 1.0 - float((predicted - truth).square().sum() / truth.square().sum())


def test_a_habit_is_found_in_frames_that_were_never_seen() -> None:
    known, new = features_of(FRAMES, 1), features_of(60, 2)
    noise = 1e-3 * torch.randn(FRAMES, 6, generator=random(3), dtype=torch.float64)
    predicted = predict_corrections(known, habit(known) + noise, new)
    assert explained(predicted[:, :3], habit(new)[:, :3]) > 0.8
    assert explained(predicted[:, 3:], habit(new)[:, 3:]) > 0.7


def test_noise_is_not_taken_for_a_habit() -> None:
    """Each frame's own noise, and noise that wanders slowly through a video in which the head moves quickly."""
    known, new = features_of(FRAMES, 1), features_of(60, 2)
    quick = torch.randn(FRAMES, 6, generator=random(3), dtype=torch.float64)
    slow = quick.cumsum(dim=0)
    for noise in (quick, slow - slow.mean(dim=0)):
        predicted = predict_corrections(known, 0.01 * noise / noise.std(), new)
        assert float(predicted.square().mean().sqrt()) < 2e-3


def test_far_from_all_examples_nothing_is_predicted() -> None:
    known = features_of(FRAMES, 1)
    away = known[:5].clone()
    away[:, 0] += 8.0  # forty times as far as the head turns
    assert predict_corrections(known, habit(known), away).abs().max() < 1e-6
    assert predict_corrections(known, habit(known), known[:5]).abs().max() > 1e-3


@pytest.mark.parametrize("frames", [1, 2, 5, 7, 2_000])
def test_few_frames_and_many(frames: int) -> None:
    known = features_of(frames, 1)
    predicted = predict_corrections(known, habit(known) - habit(known).mean(dim=0), features_of(3, 2))
    assert predicted.shape == (3, 6)
    assert bool(torch.isfinite(predicted).all())


def test_without_corrections_and_without_motion_nothing_is_predicted() -> None:
    known = features_of(FRAMES, 1)
    assert not predict_corrections(known, torch.zeros(FRAMES, 6), known).any()
    assert bool(torch.isfinite(predict_corrections(torch.zeros(FRAMES, 11), habit(known), known)).all())


def test_features_tell_how_the_head_is_turned_and_where_it_is() -> None:
    mesh = torch.randn(40, 3, generator=random(0)) * 0.1
    turns = torch.tensor([[0.0, 0.0, 0.0], [0.3, 0.0, 0.0], [0.0, -0.5, 0.2]])
    places = torch.tensor([[0.0, 0.0, 1.0], [0.1, 0.0, 1.0], [0.0, 0.2, 0.9]])
    middle = mesh.mean(dim=0)
    posed = (mesh - middle) @ axis_angle_to_rotation(turns).mT + places[:, None]
    codes = torch.rand(3, CODE, generator=random(1))
    found = frame_features(posed, codes, mesh)
    angles = turns.norm(dim=1, keepdim=True).clamp_min(1e-9)
    assert torch.allclose(found[:, :3], (turns / angles * angles.sin()).double(), atol=1e-5)
    assert torch.allclose(found[:, 3:6], places.double(), atol=1e-6)
    assert torch.equal(found[:, 6:], codes.double())


def test_frames_that_were_trained_on_keep_their_own_corrections_and_others_get_the_predicted_ones() -> None:
    dataset = tiny_dataset(24)
    trained = torch.arange(0, 24, 2)
    reference = dataset.vertices[0]
    features = frame_features(dataset.vertices[trained], dataset.codes[trained], reference)
    shifts = torch.zeros(12, 3)
    shifts[:, 2] = 0.3 * (features[:, 3] - features[:, 3].mean()).float()  # the farther right, the farther away
    none = Corrections(dataset.numbers[trained], torch.zeros(12, 3), shifts, torch.zeros(12, 3), torch.zeros(()))
    corrections = dataclasses.replace(none, features=features.float(), reference=reference)
    moved, still = (
        which.apply(dataset).vertices.mean(dim=1) - dataset.vertices.mean(dim=1) for which in (corrections, none)
    )
    assert torch.allclose(moved[trained], shifts, atol=1e-6)
    others = torch.arange(1, 24, 2)
    assert not still[others].any()
    middles = dataset.vertices.mean(dim=1)[:, 0]
    expected = 0.3 * (middles[others] - middles[trained].mean())
    assert explained(moved[others][:, 2], expected) > 0.7
