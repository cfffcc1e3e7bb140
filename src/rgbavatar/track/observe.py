"""From what the landmarker says to what a fit takes: points at the template's landmarks, expected expression and gaze."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rgbavatar.track.face_model import LEFT_IRIS, RIGHT_IRIS, FaceModel
from rgbavatar.track.fit import SCORE_SPREAD, SILENT_SPREAD, Observed
from rgbavatar.track.landmarks import Face

Floats = NDArray[np.float64]
_SCORED = """
browDownLeft browDownRight browInnerUp browOuterUpLeft browOuterUpRight cheekPuff cheekSquintLeft cheekSquintRight eyeBlinkLeft
eyeBlinkRight eyeLookDownLeft eyeLookDownRight eyeLookInLeft eyeLookInRight eyeLookOutLeft eyeLookOutRight eyeLookUpLeft
eyeLookUpRight eyeSquintLeft eyeSquintRight eyeWideLeft eyeWideRight jawForward jawLeft jawOpen jawRight mouthClose
mouthDimpleLeft mouthDimpleRight mouthFrownLeft mouthFrownRight mouthFunnel mouthLeft mouthLowerDownLeft mouthLowerDownRight
mouthPressLeft mouthPressRight mouthPucker mouthRight mouthRollLower mouthRollUpper mouthShrugLower mouthShrugUpper
mouthSmileLeft mouthSmileRight mouthStretchLeft mouthStretchRight mouthUpperUpLeft mouthUpperUpRight noseSneerLeft
noseSneerRight
"""
SCORES = frozenset(_SCORED.split())  # the expressions that the landmarker has scores for
FULL_LOOK = 0.6  # radians that an eye turns at a score of 1
_CLOSED = 0.6  # score of a blink from which on an iris is not seen


def observe(model: FaceModel, faces: Sequence[Face]) -> Observed:
    """What was seen in n frames, for a model."""
    scored = np.array([name in SCORES for name in model.names])
    return Observed(
        points=np.stack([face.points[model.landmarks, :2] for face in faces]),
        trust=np.stack([_trust(model, face.scores) for face in faces]),
        size=np.array([face.eye_distance for face in faces]),
        scores=np.array([[face.scores.get(name, 0.0) for name in model.names] for face in faces]),
        spread=np.where(scored, SCORE_SPREAD, SILENT_SPREAD),
        gaze=np.stack([_gaze(model, face.scores) for face in faces]),
    )


def _trust(model: FaceModel, scores: Mapping[str, float]) -> Floats:
    """Irises count as far as their eyes are open."""
    trust = np.ones(len(model.landmarks))
    for iris, side in ((LEFT_IRIS, "Left"), (RIGHT_IRIS, "Right")):
        shut = min(1.0, scores.get(f"eyeBlink{side}", 0.0) / _CLOSED)
        trust[np.isin(model.landmarks, iris)] = 1.0 - shut
    return trust


def _gaze(model: FaceModel, scores: Mapping[str, float]) -> Floats:
    """Yaw and pitch of both eyes that the scores tell; ahead where there are none. `In` is towards the nose."""
    if not model.has_eyes:
        return np.zeros(4)
    gaze = []
    for side, outwards in (("Left", 1.0), ("Right", -1.0)):
        look = {way: scores.get(f"eyeLook{way}{side}", 0.0) for way in ("In", "Out", "Up", "Down")}
        gaze += [outwards * (look["Out"] - look["In"]), look["Up"] - look["Down"]]
    return FULL_LOOK * np.array(gaze)
