"""One person's head: their identity is part of the mesh at rest, so that posing it costs a tenth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from rgbavatar.datasets.features import join_frames
from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.live.faces import LiveFace
from rgbavatar.templates.base import HeadParameters, neutral_parameters
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.templates.blendshape_data import EyeJoints
from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.fit import Fit
from rgbavatar.track.frames import tracked_frames
from rgbavatar.track.zones import ZoneFinder


class PersonHead:
    """A template at a person's identity [S]. template: without identity modes; zones: where such a head can be."""

    def __init__(self, template: BlendshapeTemplate, identity: Tensor) -> None:
        self.template = person_template(template, identity)
        self.zones = ZoneFinder(self.template)

    def motion(self, frames: Sequence[TrackedFrame]) -> HeadParameters:
        """What n frames of this person do, for its own template."""
        return join_frames([without_identity(frame) for frame in frames])


def person_template(template: BlendshapeTemplate, identity: Tensor) -> BlendshapeTemplate:
    """The template whose mean is a person: the same meshes, but for rounding."""
    data = template.data
    missing = len(data.identity) - len(identity)
    rest = replace(
        neutral_parameters(1, len(data.identity), len(data.expression)),
        shape=torch.nn.functional.pad(identity.double(), (0, missing)),
    )
    eyes = data.eyes
    if eyes is not None:
        eyes = EyeJoints(template.eye_centers(rest).numpy(), np.zeros((0, 2, 3)), eyes.weights)
    neutral = template.pose(rest)[0].numpy()
    return BlendshapeTemplate(replace(data, neutral=neutral, identity=data.identity[:0], identity_names=(), eyes=eyes))


def without_identity(frame: TrackedFrame) -> TrackedFrame:
    """The frame as a person's own template takes it."""
    return replace(frame, shape=frame.shape.new_zeros(0))


def frame_of(model: FaceModel, face: LiveFace) -> TrackedFrame:
    """A fitted face as a tracked frame of its whole picture."""
    return tracked_frames(model, Fit(face.person, face.motion), face.size)[0]
