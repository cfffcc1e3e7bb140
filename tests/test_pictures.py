"""Pictures of shots: the same from the GPU's own path as from the plain one, in their order."""

from __future__ import annotations

import copy
import dataclasses

import numpy as np
import pytest
import torch

from rgbavatar.pictures import shot_pictures
from rgbavatar.shots import Shots, frame_shots
from rgbavatar.trained import TrainedAvatar, trained_from_checkpoint
from rgbavatar.training.frame_bank import RecordedFrames
from rgbavatar.training.samplers import EpochSampler
from rgbavatar.training.steps import run_steps
from tests.helpers.tiny_subject import CPU, tiny_config, tiny_dataset, tiny_trainer

DATASET = tiny_dataset(19)  # not a multiple of what is rendered at once
BACKGROUND = (0.2, 0.4, 0.6)


@pytest.fixture(scope="module")
def avatar() -> TrainedAvatar:
    trainer, sampler = tiny_trainer(tiny_config(bases_after=0), DATASET), EpochSampler(19, 0)
    list(run_steps(trainer, RecordedFrames(DATASET), [sampler.positions(4 * i, 4) for i in range(60)], lambda: False))
    return trained_from_checkpoint(trainer.checkpoint(), "tiny")


def render_all(avatar: TrainedAvatar, shots: Shots, alpha: bool, device: torch.device) -> list[np.ndarray]:
    background = (0.0, 0.0, 0.0) if alpha else BACKGROUND
    pictures = list(shot_pictures(avatar, shots, background, alpha, device))
    assert [number for number, _ in pictures] == shots.numbers
    return [picture for _, picture in pictures]


def test_each_picture_is_that_of_its_own_shot(avatar: TrainedAvatar) -> None:
    shots = frame_shots(DATASET)
    together = render_all(avatar, shots, False, CPU)
    for i in (0, 8, 18):
        one = Shots([i], shots.codes[i : i + 1], shots.vertices[i : i + 1], shots.camera, shots.template)
        assert np.array_equal(render_all(avatar, one, False, CPU)[0], together[i])
    assert not np.array_equal(together[0], together[8])


def test_the_corner_has_the_colour_of_the_background(avatar: TrainedAvatar) -> None:
    picture = render_all(avatar, frame_shots(DATASET), False, CPU)[0]
    assert picture[0, 0].tolist() == [51, 102, 153]


@pytest.mark.gpu
@pytest.mark.parametrize("alpha", [False, True])
def test_the_gpu_shows_what_the_cpu_does(avatar: TrainedAvatar, alpha: bool) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    cuda, shots = torch.device("cuda", 0), frame_shots(DATASET)
    expected = render_all(avatar, shots, alpha, CPU)
    there = dataclasses.replace(avatar, model=copy.deepcopy(avatar.model).to(cuda), binding=avatar.binding.to(cuda))
    shown = render_all(there, shots, alpha, cuda)
    for ours, theirs in zip(shown, expected, strict=True):
        difference = np.abs(ours.astype(int) - theirs.astype(int))
        if alpha:  # the colour of a pixel with hardly any coverage is a ratio of small numbers
            difference[..., :3][theirs[..., 3] < 16] = 0
        assert difference.max() <= 2
