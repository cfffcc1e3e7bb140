"""A demo subject told in blendshapes: the same head, the same motion, the same pictures, without FLAME's joints.

Linear blend skinning is linear in the rotations of its joints, so a jaw that turns about x is a sum of two shapes here. Two small
things are lost: expression and corrective do not turn with the jaw, a millimetre at most.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from rgbavatar.datasets.blendshape_layout import BLENDSHAPE
from rgbavatar.datasets.frame_file import TrackedFrame, read_frame_file
from rgbavatar.datasets.frame_layout import IMAGES
from rgbavatar.datasets.layouts import INSTA
from rgbavatar.datasets.parameter_file import write_parameter_file
from rgbavatar.geometry.rotation import rot6d_to_rotation
from rgbavatar.templates.base import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT, neutral_parameters
from rgbavatar.templates.blendshape_data import BlendshapeData, EyeJoints, write_blendshape_data
from rgbavatar.templates.flame import FlameTemplate
from rgbavatar.templates.flame_data import NUM_EXPRESSION, NUM_SHAPE
from rgbavatar.templates.procedural_head import EXPRESSION_MODES

JAW_SHAPES = ("jaw_sine", "jaw_cosine")  # coefficients: sin a and cos a - 1
LID_SHAPES = ("left_lid", "right_lid")
NAMES = (*EXPRESSION_MODES, *JAW_SHAPES, *LID_SHAPES)
_SINE = np.array(((0.0, 0.0, 0.0), (0.0, 0.0, -1.0), (0.0, 1.0, 0.0)))
_COSINE = np.diag((0.0, 1.0, 1.0))


def make_blendshape_head(model: FlameTemplate, shape: torch.Tensor) -> BlendshapeData:
    """The head of a person of the made-up model: rest mesh as neutral, no identity modes. shape [300]."""
    data = model.data
    rest = replace(neutral_parameters(1, NUM_SHAPE, NUM_EXPRESSION), shape=shape)
    neutral, joints = model.pose(rest)[0].numpy(), model.joints(rest).numpy()
    expression = np.moveaxis(data.shapedirs[..., NUM_SHAPE : NUM_SHAPE + len(EXPRESSION_MODES)], -1, 0)
    jaw_arm, share = neutral - joints[JAW], data.weights[:, JAW, None]
    corrective = data.posedirs.reshape(-1, 3, 4, 3, 3)[:, :, JAW - NECK]
    sine, cosine = (share * jaw_arm @ turn.T + (corrective * turn).sum((2, 3)) for turn in (_SINE, _COSINE))
    deltas = np.stack((*expression, sine, cosine, *np.moveaxis(data.eyelids, -1, 0)))
    return BlendshapeData(
        neutral=neutral,
        faces=data.faces,
        uv=data.uv,
        uv_faces=data.uv_faces,
        expression=deltas.astype(np.float32),
        expression_names=NAMES,
        identity=np.zeros((0, len(neutral), 3), np.float32),
        identity_names=(),
        eyes=EyeJoints(joints[[LEFT_EYE, RIGHT_EYE]], np.zeros((0, 2, 3)), data.weights[:, [LEFT_EYE, RIGHT_EYE]]),
        pivot=joints[NECK],
        head_weights=1 - data.weights[:, ROOT],
    )


def to_blendshapes(frame: TrackedFrame) -> TrackedFrame:
    """A tracked frame of the demo with the coefficients of NAMES."""
    jaw = rot6d_to_rotation(frame.jaw)
    parts = (
        frame.expression[: len(EXPRESSION_MODES)],
        torch.stack((jaw[2, 1], jaw[1, 1] - 1)),
        frame.eyelids,
    )
    rest = torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    return replace(frame, shape=frame.shape[:0], expression=torch.cat(parts), jaw=rest, eyelids=0 * frame.eyelids)


def write_blendshape_subject(demo: Path, model: FlameTemplate, folder: Path, template: Path) -> None:
    """Write a demo subject (INSTA layout) anew in the layout `blendshape`, and its template."""
    files = sorted((demo / INSTA.folder).glob("*.frame"))
    frames = [read_frame_file(path) for path in files]
    write_blendshape_data(template, make_blendshape_head(model, frames[0].shape))
    shutil.copytree(demo / IMAGES, folder / IMAGES)
    for path, frame in zip(files, frames, strict=True):
        write_parameter_file(folder / BLENDSHAPE.folder / f"{path.stem}.npz", to_blendshapes(frame))
