"""Many jobs in a few threads, started as their turn comes, so that what they hold in memory is bounded."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor

Progress = Callable[[], None]
"""Told after each job."""

HELD_PER_THREAD = 2  # jobs that are made but not begun


def run_all(jobs: Iterable[Callable[[], None]], workers: int, progress: Progress) -> None:
    """Run all jobs. The first that fails, or an interrupt, ends it: those at work are waited for, no other is begun."""
    waiting: deque[Future[None]] = deque()
    with ThreadPoolExecutor(workers, thread_name_prefix="prepare") as pool:
        try:
            for job in jobs:
                waiting.append(pool.submit(job))
                while len(waiting) > workers * (1 + HELD_PER_THREAD):
                    waiting.popleft().result()
                    progress()
            while waiting:
                waiting.popleft().result()
                progress()
        finally:
            for left in waiting:
                left.cancel()
