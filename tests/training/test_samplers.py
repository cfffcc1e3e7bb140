from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from rgbavatar.config import OnlineConfig
from rgbavatar.training.samplers import EpochSampler, LocalPool, Reservoir, StreamSampler


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_epoch_shows_every_frame_once_in_an_order_of_its_own() -> None:
    sampler = EpochSampler(10, seed=3)
    epochs = [sampler.positions(start, 10).tolist() for start in (0, 10, 20)]
    assert all(sorted(epoch) == list(range(10)) for epoch in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


def test_the_order_depends_on_the_place_alone() -> None:
    straight = EpochSampler(7, seed=1).positions(0, 28)
    sampler = EpochSampler(7, seed=1)
    pieces = [sampler.positions(start, 4) for start in (20, 0, 16, 4, 24, 8, 12)]
    order = torch.tensor([20, 0, 16, 4, 24, 8, 12])
    assert torch.equal(torch.cat([pieces[i] for i in order.argsort()]), straight)


def test_a_batch_may_span_two_epochs() -> None:
    sampler = EpochSampler(3, seed=0)
    assert torch.equal(sampler.positions(2, 2), torch.cat([sampler.positions(2, 1), sampler.positions(3, 1)]))
    assert Counter(sampler.positions(0, 9).tolist()) == {0: 3, 1: 3, 2: 3}


def test_seeds_give_different_orders() -> None:
    assert not torch.equal(EpochSampler(50, seed=0).positions(0, 50), EpochSampler(50, seed=1).positions(0, 50))


def test_the_local_pool_is_first_in_first_out() -> None:
    pool = LocalPool(3, age_coefficient=0.0)
    assert [pool.add(frame) for frame in range(5)] == [None, None, None, 0, 1]
    assert set(pool.draw(3, generator()).tolist()) == {2, 3, 4}


def test_the_local_pool_prefers_new_frames_as_its_coefficient_says() -> None:
    """P(rank r) = exp(c r / n) / sum; 40,000 draws put the standard error of a share below 0.003."""
    pool = LocalPool(4, age_coefficient=2.0)
    for frame in range(4):
        pool.add(frame)
    draws = generator(1)
    counts = Counter(int(pool.draw(1, draws)) for _ in range(40_000))
    weights = [math.exp(2.0 * rank / 4) for rank in range(4)]
    for rank, weight in enumerate(weights):
        assert counts[rank] / 40_000 == pytest.approx(weight / sum(weights), abs=0.012)


def test_a_pool_smaller_than_the_batch_repeats_frames() -> None:
    pool = LocalPool(10, age_coefficient=1.0)
    pool.add(5)
    assert pool.draw(4, generator()).tolist() == [5, 5, 5, 5]


def test_the_reservoir_holds_every_frame_with_the_same_probability() -> None:
    """5 of 20 frames, 8,000 times: each is held in 25 % of the runs, standard error 0.5 %."""
    draws, held = generator(2), Counter[int]()
    for _ in range(8_000):
        reservoir = Reservoir(5)
        for frame in range(20):
            reservoir.add(frame, draws)
        held.update(reservoir.frames)
    assert all(abs(held[frame] / 8_000 - 0.25) < 0.025 for frame in range(20))


def test_a_reservoir_holds_no_frame_twice() -> None:
    reservoir, draws = Reservoir(5), generator(3)
    for frame in range(50):
        reservoir.add(frame, draws)
    assert len(set(reservoir.frames)) == 5


def test_the_share_of_old_frames_ramps_up_once_frames_leave_the_local_pool() -> None:
    config = OnlineConfig(local_frames=10, global_share=0.7, global_ramp_frames=100)
    sampler = StreamSampler(config, generator())
    shares = []
    for frame in range(200):
        sampler.add(frame)
        shares.append(sampler.global_share)
    assert shares[9] == 0.0
    assert shares[49] == pytest.approx(0.35)
    assert shares[99] == shares[199] == pytest.approx(0.7)


def test_batches_mix_the_pools_by_the_share() -> None:
    config = OnlineConfig(local_frames=10, global_frames=50, global_share=0.6, global_ramp_frames=1)
    sampler = StreamSampler(config, generator(4))
    for frame in range(100):
        sampler.add(frame)
    drawn = torch.cat([sampler.draw(10) for _ in range(1_000)])
    assert float((drawn < 90).float().mean()) == pytest.approx(0.6, abs=0.02)
    assert int(drawn.max()) == 99


def test_the_first_frame_alone_makes_a_batch() -> None:
    sampler = StreamSampler(OnlineConfig(), generator())
    sampler.add(0)
    assert sampler.draw(10).tolist() == [0] * 10
