from __future__ import annotations

import math
from collections import Counter

import pytest
import torch

from rgbavatar.config import OnlineConfig
from rgbavatar.training.samplers import EpochSampler, ErrorBook, ErrorSampler, LocalPool, Reservoir, StreamSampler


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


def book_of(errors: dict[int, float]) -> ErrorBook:
    book = ErrorBook(uniform_share=0.0)
    book.note(list(errors), list(errors.values()))
    return book


def test_a_share_of_the_draws_follows_the_errors_and_the_others_stay_epochs() -> None:
    """8,000 draws by errors 1, 2 and 5: standard error 0.6 % at most."""
    sampler = ErrorSampler(3, 5, 0.25, book_of({0: 1.0, 1: 2.0, 2: 5.0}))
    batches = [sampler.positions(4 * step, 4).tolist() for step in range(8_000)]
    epochs = [position for batch in batches for position in batch[:3]]
    assert epochs == EpochSampler(3, 5).positions(0, 24_000).tolist()
    counts = Counter(batch[3] for batch in batches)
    for position, error in enumerate((1.0, 2.0, 5.0)):
        assert counts[position] / 8_000 == pytest.approx(error / 8.0, abs=0.025)


@pytest.mark.parametrize("share", [0.0, 0.37, 1.0])
def test_batches_of_any_size_hold_the_share_of_draws_by_errors(share: float) -> None:
    sampler = ErrorSampler(50, 1, share, book_of({position: float(position == 9) for position in range(50)}))
    sizes, begin, by_errors = [7, 1, 10, 3, 10, 9], 0, 0
    for size in sizes:
        positions = sampler.positions(begin, size)
        assert positions.shape == (size,)
        by_errors += int(9 in positions.tolist() and share == 1.0)
        begin += size
    assert by_errors == (len(sizes) if share == 1.0 else 0)
    steady = begin - math.floor(share * begin)
    assert share < 1.0 or steady == 0


def test_the_same_errors_give_the_same_draws_after_a_book_was_saved() -> None:
    book, again = book_of({0: 0.3, 4: 0.1, 2: 0.7}), ErrorBook(uniform_share=0.0)
    again.restore(book.state())
    assert torch.equal(again.weights(range(6)), book.weights(range(6)))
    ours, theirs = (ErrorSampler(6, 0, 0.5, each) for each in (book, again))
    ours.positions(0, 4)
    assert torch.equal(ours.positions(4, 4), theirs.positions(4, 4))


def test_an_error_that_is_not_finite_says_nothing() -> None:
    book = book_of({0: 1.0, 1: 3.0})
    book.note([0, 1], [math.nan, math.inf])
    assert book.weights([0, 1]).tolist() == [0.25, 0.75]


def test_frames_without_an_error_still_fill_a_batch() -> None:
    sampler = ErrorSampler(5, 0, 1.0, book_of(dict.fromkeys(range(4), 0.0) | {4: 1.0}))
    assert sorted(sampler.positions(0, 5).tolist()) == [0, 1, 2, 3, 4]


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
        held.update(reservoir.slots)
    assert all(abs(held[frame] / 8_000 - 0.25) < 0.025 for frame in range(20))


def test_a_reservoir_holds_no_frame_twice() -> None:
    reservoir, draws = Reservoir(5), generator(3)
    for frame in range(50):
        reservoir.add(frame, draws)
    assert len(set(reservoir.slots)) == 5


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


def test_a_reservoir_tells_which_slot_is_out() -> None:
    reservoir, draws = Reservoir(5), generator(5)
    held: set[int] = set()
    for slot in range(200):
        out = reservoir.add(slot, draws)
        held = (held | {slot}) - {out}
        assert held == set(reservoir.slots)


def test_a_stream_holds_its_newest_frames_and_a_uniform_sample_of_the_others() -> None:
    """30 of 100 old frames, 3,000 times: each is held in 30 % of the runs, standard error 0.8 %."""
    config, draws, held = OnlineConfig(local_frames=20, global_frames=30), generator(6), Counter[int]()
    for _ in range(3_000):
        sampler = StreamSampler(config, draws)
        out = [sampler.add(frame) for frame in range(120)]
        assert sampler.local.slots == tuple(range(100, 120))
        assert set(sampler.slots) == set(range(120)) - set(out)
        held.update(sampler.reservoir.slots)
    assert set(held) == set(range(100))
    assert all(abs(count / 3_000 - 0.3) < 0.042 for count in held.values())


def filled(config: OnlineConfig, frames: int = 100, seed: int = 7) -> StreamSampler:
    sampler = StreamSampler(config, generator(seed))
    for frame in range(frames):
        sampler.add(frame)
    return sampler


def test_the_newest_frame_may_be_forced_into_every_batch() -> None:
    sampler = filled(OnlineConfig(local_frames=10, global_frames=50, force_opt_current=True))
    batches = [sampler.draw(5).tolist() for _ in range(200)]
    assert all(len(batch) == 5 and batch[0] == 99 for batch in batches)
    assert len({slot for batch in batches for slot in batch}) > 30
    sampler.add(100)
    assert sampler.draw(1).tolist() == [100]


def test_batches_may_be_forced_to_be_local_or_global() -> None:
    local = filled(OnlineConfig(local_frames=10, global_frames=50, force_local=True))
    assert min(int(local.draw(10).min()) for _ in range(200)) == 90
    old = filled(OnlineConfig(local_frames=10, global_frames=50, global_ramp_frames=10**6, force_global=True))
    assert max(int(old.draw(10).max()) for _ in range(200)) < 90


def test_a_forced_reservoir_that_is_empty_leaves_the_newest_frames() -> None:
    sampler = filled(OnlineConfig(local_frames=10, force_global=True), frames=4)
    assert set(sampler.draw(40).tolist()) == {0, 1, 2, 3}


def test_frames_with_large_errors_are_drawn_more_often_but_none_is_forgotten() -> None:
    """p = u / n + (1 - u) e / sum e; 40,000 draws put the standard error of a share below 0.0025."""
    config = OnlineConfig(
        local_frames=1, global_frames=4, global_weighting="error", error_uniform_share=0.2, force_global=True
    )
    sampler = filled(config, frames=5)
    assert sampler.uses_errors
    sampler.note_errors(torch.tensor([0, 1, 2, 3]), torch.tensor([0.0, 0.1, 0.2, 0.7]))
    counts = Counter(int(sampler.draw(1)) for _ in range(40_000))
    for slot, error in enumerate([0.0, 0.1, 0.2, 0.7]):
        assert counts[slot] / 40_000 == pytest.approx(0.05 + 0.8 * error, abs=0.01)


def test_an_error_that_is_not_known_counts_as_the_mean() -> None:
    book = ErrorBook(uniform_share=0.0)
    assert book.weights([3, 4]).tolist() == [0.5, 0.5]
    book.note([3, 4], [0.1, 0.3])
    assert book.weights([3, 4, 5]).tolist() == pytest.approx([1 / 6, 1 / 2, 1 / 3])
    book.forget(4)
    assert book.weights([3, 4]).tolist() == pytest.approx([0.5, 0.5])


def test_errors_that_are_all_zero_leave_a_uniform_draw() -> None:
    book = ErrorBook(uniform_share=0.3)
    book.note([0, 1], [0.0, 0.0])
    assert book.weights([0, 1]).tolist() == [0.5, 0.5]
