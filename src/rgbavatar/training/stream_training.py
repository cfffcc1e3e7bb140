"""Training beside a stream, in a thread of its own: draw, step, and between steps take in what has come.

A frame is rendered before it is trained on, where training keeps up with the stream; of several that came at once, the newest
is. Whoever started the thread reads the numbers here, and asks it to pause, to go on, or to stop.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.stream import FrameSource, StreamFrame
from rgbavatar.io.images import side_by_side, to_picture
from rgbavatar.losses import composite
from rgbavatar.metrics import psnr
from rgbavatar.training.frame_pool import FramePool, pool_bytes
from rgbavatar.training.intake import FrameIntake
from rgbavatar.training.monitor import Curves
from rgbavatar.training.observer import HOLD_SECONDS, Observer
from rgbavatar.training.samplers import EpochSampler, StreamSampler
from rgbavatar.training.schedule import StreamSchedule
from rgbavatar.training.step_report import StepReport
from rgbavatar.training.steps import frame_budget, run_steps
from rgbavatar.training.stream_records import QualityRecord, SampleRecord
from rgbavatar.training.timed_saver import TimedSaver
from rgbavatar.training.trainer import Trainer

HELD_FRAMES = 32  # that may wait for training: over a second at 25 a second
_SPARE_SLOTS = (
    4 * HELD_FRAMES
)  # so that a slot is not filled again while prepared steps, two stretches at most, may read it
_RUNNING_FRAMES = 25  # over which the shown PSNR is averaged
_WAIT_SECONDS = 0.05  # between two looks at whether a frame has come


@dataclass(frozen=True)
class Outputs:
    """What training writes to as it goes. observer: called between steps with the trainer and the stream's seconds."""

    curves: Curves
    saver: TimedSaver
    quality: QualityRecord
    samples: SampleRecord | None
    observer: Observer


@dataclass(frozen=True)
class _Draw:
    """A batch as it was drawn: its slots, the numbers of its frames, and the newest frame that there was."""

    slots: Tensor
    numbers: Tensor
    newest: int


class StreamTraining:
    """See the module's head. error: what ended training, if it was an error."""

    def __init__(self, trainer: Trainer, source: FrameSource, intake: FrameIntake, outputs: Outputs) -> None:
        self.error: BaseException | None = None
        self.stream_seconds = 0.0
        self.stream_images = 0
        self._trainer = trainer
        self._source = source
        self._intake = intake
        self._outputs = outputs
        self._sampler = StreamSampler(trainer.config.online, trainer.generators["sampler"])
        self._pool: FramePool | None = None
        self._drawn: deque[_Draw] = deque()
        self._report: StepReport | None = None
        self._stream_is_over = False
        self._first_images = trainer.images_seen
        self._schedule = StreamSchedule(trainer.config, trainer.progress_before)
        trainer.schedule = self._schedule
        self._decayed_steps = 0.0
        self._scores: deque[float] = deque(maxlen=_RUNNING_FRAMES)
        self._wants_picture = threading.Event()
        self._picture: np.ndarray | None = None
        self._goes_on = threading.Event()
        self._goes_on.set()
        self._observer_holds = False
        self._stop = threading.Event()
        self._start = time.perf_counter()
        self._thread = threading.Thread(target=self._run, name="stream-training", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._start = time.perf_counter()
        self._thread.start()

    def wait(self, seconds: float) -> bool:
        """Wait for the end, so long at most. Returns whether it has come."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    def stop(self) -> None:
        """End soon."""
        self._stop.set()

    def toggle_pause(self) -> None:
        """Pause, or go on. Frames are taken in all the same."""
        if self._goes_on.is_set():
            self._goes_on.clear()
        else:
            self._goes_on.set()

    @property
    def is_paused(self) -> bool:
        return self._observer_holds or not self._goes_on.is_set()

    @property
    def has_trained(self) -> bool:
        return self._report is not None

    @property
    def seconds(self) -> float:
        """Since the start."""
        return time.perf_counter() - self._start

    @property
    def images(self) -> int:
        """Trained on since the start."""
        return self._trainer.images_seen - self._first_images

    @property
    def running_quality(self) -> float | None:
        """PSNR in dB of the newest frames before they were trained on, mean of some."""
        scores = list(self._scores)
        return sum(scores) / len(scores) if scores else None

    def take_picture(self) -> np.ndarray | None:
        """Truth and avatar of a new frame, once; asks for the next."""
        picture, self._picture = self._picture, None
        self._wants_picture.set()
        return picture

    def _run(self) -> None:
        try:
            with _own_stream(self._trainer.device):
                self._train()
        except BaseException as error:  # raised again by whoever waits
            self.error = error

    def _train(self) -> None:
        while not self._intake.wait(_WAIT_SECONDS) and not self._stop.is_set():
            pass
        frames = self._intake.take()
        if not frames or self._stop.is_set():
            return
        self._pool = self._make_pool(frames[0])
        self._take(frames)
        for report in run_steps(self._trainer, self._pool, self._order(), self._between):
            self._note(report)

    def _make_pool(self, first: StreamFrame) -> FramePool:
        """On the training device where it fits the budget for frames, else in the host's memory."""
        online, device = self._trainer.config.online, self._trainer.device
        slots = online.local_frames + online.global_frames + _SPARE_SLOTS
        if device.type != "cpu" and pool_bytes(first, slots) > frame_budget(self._trainer):
            device = torch.device("cpu")
        return FramePool(first, self._source.template, self._source.subject, slots, device)

    def _order(self) -> Iterator[Tensor]:
        settings = self._trainer.config
        while not self._stream_is_over:
            yield self._record(self._sampler.draw(settings.training.batch_size))
        slots = torch.tensor(self._sampler.slots, dtype=torch.int64)
        epochs = EpochSampler(len(slots), settings.seed)
        total = settings.online.post_process_epochs * len(slots)
        for begin in range(0, total, settings.training.batch_size):
            yield self._record(slots[epochs.positions(begin, min(settings.training.batch_size, total - begin))])

    def _record(self, slots: Tensor) -> Tensor:
        numbers = self._numbers
        self._drawn.append(_Draw(slots, numbers[slots], int(numbers[self._sampler.newest])))
        return slots

    def _note(self, report: StepReport) -> None:
        """Take note of the step for the oldest batch that was drawn."""
        self._report = report
        drawn, outputs = self._drawn.popleft(), self._outputs
        outputs.curves.after_step(report)
        if outputs.samples is not None:
            outputs.samples.add(drawn.newest, drawn.numbers.tolist())
        if self._sampler.uses_errors:
            there = self._numbers[drawn.slots] == drawn.numbers
            self._sampler.note_errors(drawn.slots[there], report.image_errors()[there])

    def _between(self) -> bool:
        """Between two steps. Returns whether to end."""
        self._decay_network()
        self._look_at_stream()
        while self._is_to_wait() and not self._stop.wait(HOLD_SECONDS):
            self._look_at_stream()
        self._outputs.saver.when_due(self._report)
        return self._stop.is_set()

    def _is_to_wait(self) -> bool:
        self._observer_holds = bool(self._outputs.observer(self._trainer, self.seconds))
        return self.is_paused

    @torch.no_grad()
    def _decay_network(self) -> None:
        """Decoupled weight decay (Loshchilov and Hutter 2019), for the steps since the last call at once.

        It keeps the network smooth: what it learnt by heart from the first frames fades, so that it means something for
        expressions that are still to come.
        """
        steps, self._decayed_steps = self._schedule.taken - self._decayed_steps, self._schedule.taken
        for parameter in self._trainer.model.network.parameters():
            parameter.mul_((1.0 - self._schedule.network_decay) ** steps)

    def _look_at_stream(self) -> None:
        self._take(self._intake.take())
        if not self._stream_is_over:
            self._stream_is_over = self._intake.has_ended
            self.stream_seconds, self.stream_images = self.seconds, self.images
            if self._stream_is_over:
                self._schedule.stream_ended(self._trainer.images_seen)

    def _take(self, frames: list[StreamFrame]) -> None:
        assert self._pool is not None
        for frame in frames:
            slot = self._pool.put(frame)
            if frame is frames[-1]:
                self._score(slot, frame)
            out = self._sampler.add(slot)
            self._schedule.frame_came()
            if out is not None:
                self._pool.free(out)

    def _score(self, slot: int, frame: StreamFrame) -> None:
        """Render a frame that was not trained on yet, over black."""
        assert self._pool is not None
        batch = self._pool.dataset.batch(torch.tensor([slot]), self._trainer.device)
        background = torch.zeros(1, 3, device=self._trainer.device)
        color = self._trainer.show(batch, background).color.clamp(0.0, 1.0)
        target = composite(batch.images, background)
        quality = float(psnr(color, target))
        self._scores.append(quality)
        intake = self._intake
        counts = {"arrived": intake.arrived, "dropped": intake.dropped, "skipped": intake.skipped}
        when = {"seconds": self.seconds, "stamp": frame.stamp, "frame": frame.number}
        self._outputs.quality.add({**when, "psnr": quality, "images": self.images, **counts})
        if self._wants_picture.is_set():
            self._wants_picture.clear()
            labels = [f"frame {frame.number}", f"avatar {quality:.1f} dB, {self.images} images"]
            self._picture = side_by_side([to_picture(target[0]), to_picture(color[0])], labels)

    @property
    def _numbers(self) -> Tensor:
        assert self._pool is not None
        return self._pool.dataset.numbers


class _OwnStream:
    """A context in which a thread works on a stream of its own of one GPU, from what was there before to the end of its work."""

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device)
        self._stream.wait_stream(torch.cuda.current_stream(device))
        self._context = torch.cuda.stream(self._stream)

    def __enter__(self) -> None:
        torch.cuda.set_device(self._stream.device)
        self._context.__enter__()

    def __exit__(self, *error: object) -> None:
        self._stream.synchronize()
        self._context.__exit__(*error)


def _own_stream(device: torch.device) -> AbstractContextManager[None]:
    return nullcontext() if device.type == "cpu" else _OwnStream(device)
