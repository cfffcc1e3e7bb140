"""A fit as the frames that files hold."""

from __future__ import annotations

import numpy as np
import torch

from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.geometry.rotation import rotation_to_rot6d
from rgbavatar.track.face_model import FaceModel
from rgbavatar.track.fit import Fit
from rgbavatar.track.pose import eye_rotations


def tracked_frames(model: FaceModel, fit: Fit, size: tuple[int, int]) -> list[TrackedFrame]:
    """The n frames of a fit, for pictures of a size (width, height)."""
    person, motion = fit.person, fit.motion
    translation = motion.position - motion.rotation @ model.center
    eyes = rotation_to_rot6d(torch.from_numpy(eye_rotations(motion.gaze))).flatten(1)
    at_rest = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    intrinsics = torch.from_numpy(np.array([person.focal, person.focal, *person.middle]))
    return [
        TrackedFrame(
            shape=torch.from_numpy(person.identity),
            expression=torch.from_numpy(motion.expression[i]),
            jaw=at_rest,
            eyes=eyes[i],
            eyelids=torch.zeros(2, dtype=torch.float64),
            rotation=torch.from_numpy(motion.rotation[i]),
            translation=torch.from_numpy(translation[i]),
            intrinsics=intrinsics,
            height=size[1],
            width=size[0],
        )
        for i in range(len(motion))
    ]
