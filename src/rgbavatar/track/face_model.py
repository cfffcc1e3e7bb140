"""A blendshape template seen at the landmarks alone: what a fit needs of it, a few hundred points in place of a mesh.

Words. L landmarks, E expressions, S identity modes. *Correspondences*: for each of MediaPipe's 478 landmarks the triangle of the
template that it lies on, its barycentric coordinates there, and a *confidence* from 0 (no such point) to 1. They are an `.npz`
archive: `faces` [478], `barycentrics` [478, 3], `confidence` [478]. *Centre*: the mean of the landmarks at rest; motions here
turn about it, so that turn and shift are apart, unlike in files, where a head turns about the template's origin.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rgbavatar.errors import TemplateError
from rgbavatar.templates.blendshape_data import BlendshapeData

LANDMARKS = 478  # of MediaPipe's face landmarker, the last ten on the irises
RIGHT_IRIS, LEFT_IRIS = range(468, 473), range(473, 478)  # of the person's own eyes; the pupil first
RIGHT_CORNER, LEFT_CORNER = 33, 263  # outer corners of the eyes
TURNING = 0.99  # of a vertex that turns with the head; landmarks on others are left out

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Correspondences:
    """Where the landmarks lie on a template: triangle [478] int64, barycentrics [478, 3], confidence [478]."""

    faces: Ints
    barycentrics: Floats
    confidence: Floats


@dataclass(frozen=True, eq=False)
class FaceModel:
    """A template at L landmarks, whose numbers (of 478) are `landmarks` [L].

    neutral [L, 3], relative to `center` [3]; identity [S, L, 3]; expression [E, L, 3]; eye_weights [L, 2]; eye_centers [2, 3],
    relative to the centre; eye_identity [S, 2, 3]; confidence [L]; names: of the expressions. has_eyes: whether eyes can turn.
    """

    landmarks: Ints
    neutral: Floats
    identity: Floats
    expression: Floats
    eye_weights: Floats
    eye_centers: Floats
    eye_identity: Floats
    confidence: Floats
    center: Floats
    names: tuple[str, ...]
    has_eyes: bool

    @cached_property
    def expression_columns(self) -> Floats:
        """The same deltas by axis [3, L, E], which slopes are made of."""
        return np.ascontiguousarray(np.moveaxis(self.expression, 0, -1).swapaxes(0, 1))

    @cached_property
    def identity_columns(self) -> Floats:
        """[3, L, S]."""
        return np.ascontiguousarray(np.moveaxis(self.identity, 0, -1).swapaxes(0, 1))

    @cached_property
    def moved_by_eyes(self) -> tuple[Ints, Ints]:
        """The landmarks that the left and the right eye move."""
        return np.flatnonzero(self.eye_weights[:, 0]), np.flatnonzero(self.eye_weights[:, 1])


def read_correspondences(path: Path, data: BlendshapeData) -> Correspondences:
    """Read a file of correspondences for a template. Raises TemplateError, one line naming the file and the key."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except OSError as error:
        raise TemplateError(f"{path}: found {error.strerror or error}, expected a file of landmarks") from error
    except Exception as error:  # np.load raises many kinds on broken files
        raise TemplateError(f"{path}: found no archive of numpy arrays, expected a file of landmarks") from error
    shapes = {"faces": (LANDMARKS,), "barycentrics": (LANDMARKS, 3), "confidence": (LANDMARKS,)}
    for key, shape in shapes.items():
        if key not in arrays or arrays[key].shape != shape or not np.isfinite(arrays[key]).all():
            found = list(arrays[key].shape) if key in arrays else f"the arrays {', '.join(sorted(arrays)) or 'none'}"
            raise TemplateError(f"{path}: {key}: found {found}, expected finite numbers of shape {list(shape)}")
    used = arrays["faces"][arrays["confidence"] > 0]
    if not len(used):
        raise TemplateError(f"{path}: confidence is 0 for all landmarks, expected some on the template")
    if used.min() < 0 or used.max() >= len(data.faces):
        raise TemplateError(
            f"{path}: faces goes from {used.min()} to {used.max()}, expected triangles of the template, 0 to "
            f"{len(data.faces) - 1}; it is for another template"
        )
    return Correspondences(
        arrays["faces"].astype(np.int64), arrays["barycentrics"].astype(float), arrays["confidence"].astype(float)
    )


def make_face_model(data: BlendshapeData, where: Correspondences) -> FaceModel:
    """A template at its landmarks; those that do not turn with the head are left out."""
    shares = where.barycentrics[..., None]

    def at(values: NDArray[np.floating]) -> Floats:
        """Vertex values [..., V, D] at the 478 landmarks."""
        corners = values[..., data.faces[np.maximum(where.faces, 0)], :].astype(np.float64)
        return (corners * shares).sum(-2)

    turning = at(data.head_weights[:, None])[:, 0] >= TURNING
    chosen = np.flatnonzero((where.confidence > 0) & turning)
    neutral = at(data.neutral)[chosen]
    center = neutral.mean(0)
    eyes = data.eyes
    return FaceModel(
        landmarks=chosen,
        neutral=neutral - center,
        identity=np.ascontiguousarray(at(data.identity)[:, chosen]),
        expression=np.ascontiguousarray(at(data.expression)[:, chosen]),
        eye_weights=np.zeros((len(chosen), 2)) if eyes is None else at(eyes.weights)[chosen],
        eye_centers=np.zeros((2, 3)) if eyes is None else eyes.centers - center,
        eye_identity=np.zeros((len(data.identity), 2, 3)) if eyes is None else np.asarray(eyes.identity, float),
        confidence=where.confidence[chosen],
        center=center,
        names=data.expression_names,
        has_eyes=eyes is not None,
    )
