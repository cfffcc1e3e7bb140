"""Writing checkpoints beside training: a copy of the state is taken at once, and a thread brings it to the disk."""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType

from rgbavatar.errors import OutputError
from rgbavatar.io.checkpoint import Checkpoint, copy_checkpoint, save_checkpoint


class CheckpointWriter:
    """Writes the checkpoints of one run in turn. Leaving the context waits for the last one.

    The thread also ends its work where the program is left otherwise, so that no write is cut off but by a kill; the
    previous checkpoint is there even then.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="write-checkpoint")
        self._writing: Future[None] | None = None

    def __enter__(self) -> CheckpointWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except OutputError:
            if error is None:  # what ended the context says more than a failed write
                raise

    def write(self, checkpoint: Checkpoint) -> None:
        """Begin to write a copy of `checkpoint`, once the write before has ended. Raises OutputError where that failed."""
        self.wait()
        self._writing = self._pool.submit(save_checkpoint, self._path, copy_checkpoint(checkpoint))

    @property
    def is_writing(self) -> bool:
        """Whether the last write has not ended yet."""
        return self._writing is not None and not self._writing.done()

    def raise_failure(self) -> None:
        """Raise the OutputError of a write that has failed by now. Waits for nothing."""
        if self._writing is not None and self._writing.done():
            self.wait()

    def wait(self) -> None:
        """Wait until all is on the disk. Raises OutputError where it is not."""
        if self._writing is not None:
            wait([self._writing])  # where Ctrl-C ends this, the write is still known
            ended, self._writing = self._writing, None
            ended.result()

    def close(self) -> None:
        """Wait, and end the thread; a second call does nothing. Raises OutputError where the last write failed."""
        try:
            self.wait()
        finally:
            self._pool.shutdown()
