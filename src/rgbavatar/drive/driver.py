"""The thread that follows a camera's face, and the avatar's newest pose that comes of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass

import numpy as np
from torch import Tensor

from rgbavatar.drive.transfer import LiveTransfer, OwnFace
from rgbavatar.errors import DataError
from rgbavatar.live.faces import LiveFace, LostFace, follow_faces, refit
from rgbavatar.live.head import frame_of
from rgbavatar.live.pictures import NewestPictures
from rgbavatar.live.sight import Sight
from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.landmarks import FaceFinder
from rgbavatar.track.video import VideoFrames
from rgbavatar.viewer.frames import Offsets, Pose

_SETTLING = "getting to know your face: look at the camera, at rest"
_ENDED = "the camera has ended"

MakeFinder = Callable[[], AbstractContextManager[FaceFinder]]


@dataclass(frozen=True)
class Driven:
    """A pose of the avatar, and the picture uint8 [H, W, 3] that it is of."""

    pose: Pose
    picture: np.ndarray


class LiveDriver:
    """See the module's head; a PoseSource of one pose, and a CameraSight. failure: what ended it, if an error did."""

    numbers: Sequence[int] = ()
    expression_count = 0
    expression_names: Sequence[str] = ()
    joints: frozenset[str] = frozenset()

    def __init__(
        self,
        frames: VideoFrames,
        model: FaceModel,
        make_finder: MakeFinder,
        own: OwnFace,
        focal: float | None = None,
        smoothing: float = 0.0,
    ) -> None:
        self.failure: Exception | None = None
        self.came: Callable[[], None] = lambda: None
        self._frames, self._model, self._make_finder, self._focal = frames, model, make_finder, focal
        self._own, self._transfer = own, LiveTransfer(own, smoothing)
        self._pictures = NewestPictures(frames)
        self.sight = Sight(self._pictures, model)
        self.sight.note = _SETTLING
        self._held: list[LiveFace] = []
        self._settled, self._takes_rest = False, False
        self._newest: Driven | None = None
        self._count = 0
        self._changed, self._closed, self._ended = threading.Condition(), threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="driver", daemon=True)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """End, soon."""
        self._closed.set()
        self._thread.join()

    @property
    def has_ended(self) -> bool:
        """Whether no pose will come any more."""
        return self._ended.is_set()

    @property
    def codes(self) -> Tensor:
        """Those of the avatar's own frames."""
        return self._own.codes

    def pose(self, position: int, offsets: Offsets) -> Pose | None:
        newest = self._newest
        return None if newest is None else newest.pose

    def is_newest(self, driven: Driven | None) -> bool:
        """Whether nothing newer has come."""
        return self._newest is driven

    def wait_newer(self, last: Driven | None, seconds: float) -> Driven | None:
        """The newest pose once it is another than the last one; None where none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: self._newest is not last or self.has_ended, seconds)
            return None if self._newest is last else self._newest

    def take_rest(self) -> None:
        """The next face is the driver's at rest. May be called in any thread."""
        self._takes_rest = True

    def camera_picture(self) -> np.ndarray | None:
        return self.sight.picture

    def camera_status(self) -> Mapping[str, str]:
        return self.sight.status()

    def _run(self) -> None:
        try:
            with (
                self._make_finder() as finder,
                closing(follow_faces(self._pictures, finder, self._model, self._focal, self._closed)) as faces,
            ):
                for item in faces:
                    self.sight.found(item, None)
                    self._take(item)
            self._require_face()
            self.sight.note = _ENDED
        except Exception as error:  # raised again by whoever started the thread
            self.failure = error
        finally:
            self._ended.set()
            with self._changed:
                self._changed.notify_all()

    def _require_face(self) -> None:
        if self._newest is None and not self._closed.is_set():
            raise DataError(
                f"{self._frames.name}: ended before a face was seen for a second ({self._pictures.came} pictures came), "
                f"expected the face of one person in most of them"
            )

    def _take(self, item: LiveFace | LostFace) -> None:
        if isinstance(item, LostFace):
            self.sight.lose()
            self._transfer.restart()
            return
        if not self._settled:
            self._held.append(item)
            self._settle(item)
        if self._settled:
            self._show(item)

    def _settle(self, last: LiveFace) -> None:
        held = refit(self._model, self._held, last.person) if last.settled else []
        if held:
            self._transfer.find_rest([frame_of(self._model, one) for one in held])
            self._settled, self._held, self.sight.note = True, [], ""

    def _show(self, face: LiveFace) -> None:
        frame = frame_of(self._model, face)
        if self._takes_rest:
            self._takes_rest = False
            self._transfer.find_rest([frame])
        if face.cut:
            self._transfer.restart()
        vertices, code = self._transfer.carry(face.frame.seconds, frame)
        pose = Pose(self._count, code, vertices, self._own.camera, face.frame.taken)
        self._count += 1
        with self._changed:
            self._newest = Driven(pose, face.frame.picture)
            self._changed.notify_all()
        self.sight.use(face.frame.taken)
        self.came()
