"""What a camera's face does, done by an avatar, frame by frame (rgbavatar.templates.motion.transfer)."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.config import Config
from rgbavatar.datasets.features import compute_features, join_frames
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.recorded import load_tracking
from rgbavatar.errors import DataError
from rgbavatar.geometry.camera import Camera
from rgbavatar.live.head import person_template, without_identity
from rgbavatar.templates.base import HeadParameters
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.templates.motion import check_frame_numbers, find_neutral, smooth, transfer

_WINDOW = 3.0  # standard deviations of the smoothing window that are looked back


@dataclass(frozen=True)
class OwnFace:
    """The avatar's. template: of its person alone; neutral: one frame at rest; codes [n, C]: of its frames; camera [1]."""

    template: BlendshapeTemplate
    neutral: HeadParameters
    codes: Tensor
    camera: Camera


def open_own_face(config: Config, subject: str, template: BlendshapeTemplate, number: int | None) -> OwnFace:
    """The face of an avatar's subject. number: of its frame at rest, None to find it. Raises DataError."""
    folder = Path(config.dataset.data_dir) / subject
    try:
        own = load_tracking(folder, template, config.dataset.layout)
    except DataError as error:
        raise DataError(f"{error}; say where the avatar's subject lies with --set dataset.data_dir=DIR") from error
    place = find_neutral(own.motion) if number is None else check_frame_numbers(own.numbers, [number], "--neutral")[0]
    neutral = own.motion.select(slice(place, place + 1))
    return OwnFace(
        template=person_template(template, own.motion.shape),
        neutral=replace(neutral, shape=neutral.shape.new_zeros(0)),
        codes=template.encode(template.retarget(own.motion)).float(),
        camera=own.camera.at(place if len(own.camera) > 1 else 0),
    )


class LiveTransfer:
    """Carries frames over as they come. smoothing: seconds over which their motion is averaged; 0: not at all."""

    def __init__(self, own: OwnFace, smoothing: float) -> None:
        self._own, self._smoothing = own, smoothing
        self._rest: HeadParameters | None = None
        self._past: deque[tuple[float, TrackedFrame]] = deque()

    def find_rest(self, frames: Sequence[TrackedFrame]) -> None:
        """Take the calmest of some frames for the driver's face at rest."""
        motion = join_frames([without_identity(frame) for frame in frames])
        place = find_neutral(motion)
        self._rest = motion.select(slice(place, place + 1))

    def restart(self) -> None:
        """The next frame has nothing to do with those before."""
        self._past.clear()

    def carry(self, seconds: float, frame: TrackedFrame) -> tuple[Tensor, Tensor]:
        """The own vertices [1, V, 3] and code [1, C] for a frame of the driver. Needs a face at rest."""
        assert self._rest is not None
        both = _follow(self._rest, self._smoothed(seconds, frame))
        moved = transfer(both, 0, self._own.neutral).select(slice(1, 2))
        return compute_features(self._own.template, moved)

    def _smoothed(self, seconds: float, frame: TrackedFrame) -> HeadParameters:
        """The motion of the newest frame, averaged with those before it."""
        past = self._past
        past.append((seconds, without_identity(frame)))
        while len(past) > 1 and seconds - past[0][0] > _WINDOW * self._smoothing:
            past.popleft()
        motion = join_frames([one for _, one in past])
        spacing = (seconds - past[0][0]) / max(1, len(past) - 1)
        averaged = smooth(motion, self._smoothing / spacing if spacing > 0 else 0.0)
        return averaged.select(slice(len(past) - 1, len(past)))


def _follow(first: HeadParameters, second: HeadParameters) -> HeadParameters:
    """Two motions of one person, one after the other."""
    parts = [item.name for item in fields(HeadParameters) if item.name not in ("shape", "offset")]
    return replace(first, **{name: torch.cat([getattr(first, name), getattr(second, name)]) for name in parts})
