"""A camera as a `FrameSource`: what training gets of it is what it would get of the subject that is recorded."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from rgbavatar.datasets.features import compute_features
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.frame_layout import join_cameras
from rgbavatar.datasets.stream import SkippedFrame, StreamFrame
from rgbavatar.errors import DataError
from rgbavatar.live.crop import choose_crop, is_inside
from rgbavatar.live.faces import LiveFace, LostFace, follow_faces, refit
from rgbavatar.live.head import PersonHead, frame_of, without_identity
from rgbavatar.live.masks import LiveMasks, Small
from rgbavatar.live.matting import cut_out
from rgbavatar.live.pictures import NewestPictures
from rgbavatar.live.recorder import SubjectRecorder
from rgbavatar.live.sight import Sight
from rgbavatar.prepare.resize import Window, cut, fit_frame
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.landmarks import FaceFinder
from rgbavatar.track.video import VideoFrames

MOST_HELD = 90  # frames that are held back: a second of a fast camera
SMALL_SIDE = 128  # pixels of the small pictures' longer side, which heads are cut out of at a camera's rate
OUTSIDE = "the head has left the crop"

MakeFinder = Callable[[], AbstractContextManager[FaceFinder]]


@dataclass(frozen=True)
class LiveSettings:
    """size: pixels of the crop's side at most. focal: pixels, None to find it."""

    size: int = 512
    focal: float | None = None


@dataclass(frozen=True)
class Stage:
    """What is the same in all frames once the person is settled. size (width, height): of the results."""

    head: PersonHead
    crop: Window
    size: tuple[int, int]


class LiveSource:
    """See the module's head, and datasets.stream.FrameSource. sight: how it goes."""

    expected = None

    def __init__(
        self,
        subject: str,
        frames: VideoFrames,
        template: BlendshapeTemplate,
        model: FaceModel,
        make_finder: MakeFinder,
        masks: LiveMasks,
        recorder: SubjectRecorder | None,
        settings: LiveSettings,
    ) -> None:
        self._subject, self._frames, self._template, self._model = subject, frames, template, model
        self._make_finder, self._masks, self._recorder, self._settings = make_finder, masks, recorder, settings
        self._pictures = NewestPictures(frames)
        self.sight = Sight(self._pictures, model)
        self._held: list[LiveFace] = []
        self._stage: Stage | None = None
        self._count = 0
        self._is_closed = False

    @property
    def subject(self) -> str:
        return self._subject

    @property
    def template(self) -> BlendshapeTemplate:
        return self._template

    def camera_picture(self) -> np.ndarray | None:
        """See rgbavatar.viewer.frames.CameraSight."""
        return self.sight.picture

    def camera_status(self) -> Mapping[str, str]:
        """See rgbavatar.viewer.frames.CameraSight."""
        failure = None if self._recorder is None else self._recorder.failure
        return dict(self.sight.status()) | ({} if failure is None else {"recording": f"ended: {failure}"})

    def frames(self, closed: threading.Event) -> Iterator[StreamFrame | SkippedFrame]:
        focal = self._settings.focal
        with (
            self._make_finder() as finder,
            closing(follow_faces(self._pictures, finder, self._model, focal, closed)) as faces,
        ):
            for item in faces:
                self.sight.found(item, None if self._stage is None else self._stage.crop)
                yield from self._take(item)
        if self._held and self._stage is not None and not closed.is_set():
            self._masks.is_ready(wait=True)
            yield from self._release()
        if self._stage is None and not closed.is_set():
            raise DataError(
                f"{self._frames.name}: ended before a face was seen for a second ({self._pictures.came} pictures came), "
                f"expected the face of one person in most of them"
            )

    def close(self) -> None:
        if self._is_closed:
            return
        self._is_closed = True
        self._masks.close()
        if self._recorder is not None:
            self._recorder.close()

    def report(self) -> list[str]:
        """How it went, in lines for the user."""
        sight, pictures, recorder = self.sight, self._pictures, self._recorder
        if not sight.used:
            return []
        latency = (
            "" if sight.latency is None else f"; from picture to training {1000 * sight.latency:.0f} ms at the end"
        )
        lines = [
            f"{self._frames.name}: {pictures.came} pictures came, {sight.used} trained on, {pictures.missed} missed, "
            f"{sight.lost} without a face{latency}"
        ]
        if recorder is not None and recorder.failure is not None:
            lines.append(f"warning: the recording ended: {recorder.failure}")
        if recorder is not None and recorder.count:
            left = f", {recorder.dropped} left out because the disk was too slow" if recorder.dropped else ""
            lines.append(f"recorded: {recorder.count} frames in {recorder.folder}{left}")
        return lines

    def _take(self, item: LiveFace | LostFace) -> Iterator[StreamFrame]:
        if isinstance(item, LostFace):
            self.sight.lose()
            self._masks.restart()
            return
        if self._stage is None:
            self._held.append(item)
            self._held = self._held[-MOST_HELD:]
            if item.settled:
                self._settle(item)
        elif self._held and not self._masks.is_ready():
            self._pictures.missed += 1
        else:
            yield from self._release()
            frame = self._make(item)
            if frame is not None:
                yield frame
                self.sight.use(item.frame.taken)

    def _settle(self, last: LiveFace) -> None:
        """The person is known: choose what is the same in all frames, and get ready to cut out."""
        self._held = refit(self._model, self._held, last.person)
        if not self._held:
            return
        tracked = [frame_of(self._model, one) for one in self._held]
        head = PersonHead(self._template, tracked[0].shape)
        crop = choose_crop(head, tracked)
        self._stage = stage = Stage(head, crop, crop.fitted(min(self._settings.size, max(crop.width, crop.height))))
        smalls = [self._look(stage, one, frame)[1] for one, frame in zip(self._held, tracked, strict=True)]
        self._masks.begin(smalls)
        self.sight.note = "learning what is head and what is background"

    def _release(self) -> Iterator[StreamFrame]:
        """Hand out what was held back."""
        held, self._held, self.sight.note = self._held, [], ""
        for one in held:
            frame = self._make(one)
            if frame is not None:
                yield replace(frame, can_wait=True)
                self.sight.used += 1

    def _make(self, face: LiveFace) -> StreamFrame | None:
        """The frame of a face; None where it has left the crop."""
        stage = self._stage
        assert stage is not None
        if not is_inside(stage.crop, face.face.points):
            self.sight.lose()
            self.sight.note = OUTSIDE
            return None
        self.sight.note = ""
        if face.cut:
            self._masks.restart()
        tracked = frame_of(self._model, face)
        picture, small = self._look(stage, face, tracked)
        coverage = self._masks.coverage(small) * _inside_picture(stage.crop, tracked, small.picture.shape)
        frame = fit_frame(tracked, stage.crop, *stage.size)
        image = cut_out(picture, small.picture, coverage)
        if self._recorder is not None:
            self._recorder.add(face.frame.number, face.frame.seconds, image, frame)
        return self._stream_frame(stage, face, frame, image)

    def _look(self, stage: Stage, face: LiveFace, tracked: TrackedFrame) -> tuple[np.ndarray, Small]:
        """The crop in full and in small."""
        part = cut(face.frame.picture, stage.crop)
        picture = cv2.resize(part, stage.size, interpolation=cv2.INTER_AREA)
        width, height = _small_size(stage.size)
        small = cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA)
        zone = stage.head.zones.find(without_identity(fit_frame(tracked, stage.crop, *stage.size)), width, height)
        return picture, Small(small, zone, face.frame.seconds)

    def _stream_frame(self, stage: Stage, face: LiveFace, frame: TrackedFrame, image: np.ndarray) -> StreamFrame:
        vertices, codes = compute_features(stage.head.template, stage.head.motion([frame]))
        camera = join_cameras([frame.intrinsics], frame.width, frame.height)
        number, self._count = self._count, self._count + 1
        return StreamFrame(number, face.frame.seconds, torch.from_numpy(image), vertices[0], codes[0], camera)


def _small_size(size: tuple[int, int]) -> tuple[int, int]:
    scale = min(1.0, SMALL_SIDE / max(size))
    return max(1, round(scale * size[0])), max(1, round(scale * size[1]))


def _inside_picture(crop: Window, frame: TrackedFrame, shape: Sequence[int]) -> np.ndarray:
    """1 where a small picture [h, w, 3] of the crop shows something, 0 beyond the picture's border. [h, w]."""
    rows, columns = (np.arange(n) + 0.5 for n in shape[:2])
    y, x = crop.top + rows * crop.height / shape[0], crop.left + columns * crop.width / shape[1]
    return np.outer((y >= 0) & (y < frame.height), (x >= 0) & (x < frame.width)).astype(np.float32)
