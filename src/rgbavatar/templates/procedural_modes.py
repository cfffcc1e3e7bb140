"""How a made-up head varies and moves: identity and expression offsets, closing lids, skinning weights, one corrective.

Words: a *mask* limits a bump to one side of a slit or of the face; offsets are per unit of the coefficient, in metres.
The modes' order is SHAPE_MODES and EXPRESSION_MODES; a tracked person has coefficients of about -2 to 2.
"""

from __future__ import annotations

import numpy as np

from rgbavatar.templates.base import JAW, LEFT_EYE, NECK, RIGHT_EYE, ROOT
from rgbavatar.templates.flame_data import Floats
from rgbavatar.templates.procedural_surface import EYE_CENTER, HeadSkin, bump_shift, smoothstep

JOINTS = np.array(((0, -0.165, -0.020), (0, -0.105, -0.022), (0, -0.008, 0.006), EYE_CENTER, EYE_CENTER * (-1, 1, 1)))

# Identity: linear maps of the position about the joint of the jaw, then bumps (x, y, radii, shift: see bump_shift).
_LINEAR_SHAPES = {
    "size": np.diag((0.025, 0.025, 0.025)),
    "width": np.diag((0.035, 0.0, 0.0)),
    "depth": np.diag((0.0, 0.0, 0.030)),
    "height": np.diag((0.0, 0.030, 0.0)),
}
_BUMP_SHAPES = {
    "jaw_width": ((0.055, -0.070, 0.030, 0.030, 0.0040, 0.0, 0.0),),
    "chin_length": ((0.0, -0.092, 0.032, 0.022, 0.0, -0.0035, 0.0015),),
    "nose_length": ((0.0, -0.016, 0.011, 0.014, 0.0, -0.0010, 0.0030),),
    "nose_width": ((0.011, -0.020, 0.009, 0.014, 0.0018, 0.0, 0.0),),
    "lip_fullness": (
        (0.0, -0.044, 0.018, 0.006, 0.0, 0.0008, 0.0016),
        (0.0, -0.057, 0.018, 0.006, 0.0, -0.0008, 0.0018),
    ),
    "brow_depth": ((0.024, 0.044, 0.020, 0.009, 0.0, 0.0, 0.0030), (0.0, 0.040, 0.012, 0.010, 0.0, 0.0, 0.0020)),
    "cheekbones": ((0.052, -0.006, 0.018, 0.016, 0.0030, 0.0, 0.0020),),
}
SHAPE_MODES = (*_LINEAR_SHAPES, *_BUMP_SHAPES)

_SMILE = (
    (0.0265, -0.050, 0.0130, 0.0130, 0.0060, 0.0062, -0.0035),
    (0.043, -0.012, 0.018, 0.015, 0.0010, 0.0035, 0.0020),
)
_EXPRESSIONS: dict[str, dict[str, tuple[tuple[float, ...], ...]]] = {
    "smile": {"all": _SMILE},
    "smile_left": {"left": _SMILE},
    "corners_down": {"all": ((0.0260, -0.051, 0.0120, 0.0130, 0.0010, -0.0065, -0.0010),)},
    "pucker": {
        "all": ((0.0260, -0.050, 0.0160, 0.0190, -0.0072, 0.0, 0.0010), (0.0, -0.050, 0.0170, 0.0130, 0.0, 0.0, 0.0050))
    },
    "upper_lip_up": {"upper_lip": ((0.0, -0.045, 0.0180, 0.0100, 0.0, 0.0050, 0.0015),)},
    "lower_lip_down": {"lower_lip": ((0.0, -0.056, 0.0180, 0.0110, 0.0, -0.0060, 0.0010),)},
    "lips_stretched": {"all": ((0.0260, -0.050, 0.0120, 0.0110, 0.0070, -0.0010, -0.0035),)},
    "brows_up": {
        "all": ((0.0280, 0.046, 0.0240, 0.0110, 0.0, 0.0070, 0.0010), (0.0, 0.064, 0.030, 0.014, 0.0, 0.003, 0.0))
    },
    "inner_brows_up": {"all": ((0.0120, 0.046, 0.0110, 0.0110, 0.0, 0.0065, 0.0),)},
    "brows_frown": {"all": ((0.0200, 0.045, 0.0140, 0.0100, -0.0040, -0.0042, 0.0015),)},
    "cheeks_puffed": {"all": ((0.0410, -0.044, 0.0170, 0.0180, 0.0065, 0.0, 0.0065),)},
    "squint": {
        "lower_lid": ((0.0315, 0.0165, 0.0160, 0.0060, 0.0, 0.0016, 0.0006),),
        "upper_lid": ((0.0315, 0.0290, 0.0170, 0.0060, 0.0, -0.0013, 0.0006),),
    },
    "nose_wrinkled": {
        "all": (
            (0.0120, -0.012, 0.0100, 0.0120, 0.0, 0.0045, 0.0010),
            (0.0100, 0.036, 0.0100, 0.0100, -0.001, -0.003, 0.001),
        ),
        "upper_lip": ((0.0120, -0.044, 0.0120, 0.0080, 0.0, 0.0025, 0.0),),
    },
}
EXPRESSION_MODES = tuple(_EXPRESSIONS)

_JAW_CORRECTIVE = ((0.046, -0.045, 0.015, 0.020, -0.0110, 0.0, -0.0050),)  # an open jaw stretches the cheeks
_CORNER_SLOPE = np.arctan2(
    -0.0495 - JOINTS[JAW, 1], 0.0790 - JOINTS[JAW, 2]
)  # the mouth's corners, seen from the jaw's joint


def make_shape_offsets(positions: Floats, skin: HeadSkin) -> Floats:
    """Identity offsets; the bumps act on the skin alone, which comes first. positions [V, 3]. Returns [V, 3, 11]."""
    centered = positions - JOINTS[JAW]
    modes = [centered @ linear.T for linear in _LINEAR_SHAPES.values()]
    count = len(skin.positions)
    for bumps in _BUMP_SHAPES.values():
        shift = np.zeros_like(positions)
        shift[:count] = bump_shift(positions[:count], np.array(bumps))
        modes.append(shift)
    return np.stack(modes, -1)


def make_expression_offsets(skin: HeadSkin) -> Floats:
    """Expression offsets of the skin. Returns [V, 3, 13]."""
    masks = _masks(skin)
    modes = []
    for parts in _EXPRESSIONS.values():
        shifts = [masks[mask][:, None] * bump_shift(skin.positions, np.array(bumps)) for mask, bumps in parts.items()]
        modes.append(np.sum(shifts, axis=0))
    return np.stack(modes, -1)


def _masks(skin: HeadSkin) -> dict[str, Floats]:
    """Weights [V] in [0, 1] by name: where a bump acts."""
    mouth, eye = (1 + skin.mouth_side) / 2, (1 + skin.eye_side) / 2
    return {
        "all": np.ones(len(mouth)),
        "left": smoothstep(skin.positions[:, 0], -0.006, 0.006),
        "upper_lip": mouth,
        "lower_lip": 1 - mouth,
        "upper_lid": eye,
        "lower_lid": 1 - eye,
    }


def make_eyelid_offsets(skin: HeadSkin) -> Floats:
    """Offsets of the skin that close the left and the right eye. Returns [V, 3, 2]."""
    closing = (skin.closed - skin.positions)[..., None]
    left = skin.positions[:, :1, None] > 0
    return closing * np.concatenate((left, ~left), -1)


def make_pose_offsets(skin: HeadSkin) -> Floats:
    """Corrective offsets of the skin: cheeks go in as the jaw opens. Returns [V, 3, 36].

    The jaw turns by a about x, so of R - I the entries (1, 2) and (2, 1) are -sin a and sin a: half the effect on each.
    """
    offsets = np.zeros((len(skin.positions), 3, 4, 3, 3))  # neck, jaw, eyes
    stretch = bump_shift(skin.positions, np.array(_JAW_CORRECTIVE))
    offsets[:, :, JAW - NECK, 2, 1] = stretch / 2
    offsets[:, :, JAW - NECK, 1, 2] = -stretch / 2
    return offsets.reshape(-1, 3, 36)


def make_skin_weights(skin: HeadSkin) -> Floats:
    """Skinning weights of the skin: the neck's edge stays with the root, lower lip and chin go with the jaw. [V, 5]."""
    follows = smoothstep(skin.positions[:, 1], -0.170, -0.112)
    jaw = follows * _jaw_share(skin)
    weights = np.zeros((len(skin.positions), len(JOINTS)))
    weights[:, ROOT], weights[:, NECK], weights[:, JAW] = 1 - follows, follows - jaw, jaw
    return weights


def _jaw_share(skin: HeadSkin) -> Floats:
    """How much of the jaw's turn each vertex of the skin makes. Returns [V], 0 to 1.

    Between the lips the slit decides. Beside it the share ramps over the direction seen from the joint, the more
    slowly the farther out in the cheek. Towards the throat and the angle of the jaw it fades.
    """
    x, y, z = skin.positions.T
    slope = np.arctan2(y - JOINTS[JAW, 1], np.maximum(z - JOINTS[JAW, 2], 1e-3))
    ramp = 0.04 + 0.30 * smoothstep(np.abs(x), 0.015, 0.050)
    beside = smoothstep((_CORNER_SLOPE - slope) / ramp, -1, 1)
    lips = 1 - smoothstep(np.abs(x), 0.011, 0.0265)
    share = lips * (1 - skin.mouth_side) / 2 + (1 - lips) * beside
    throat = smoothstep(-y, 0.082, 0.106)
    return share * smoothstep(z, 0.005, 0.075) * (1 - throat * (1 - smoothstep(z, 0.040, 0.094)))


def make_joint_regressor(positions: Floats, skin_count: int) -> Floats:
    """Affine weights that give JOINTS from the rest mesh, each from vertices near it. Eyeballs follow the skin: left,
    right.

    Returns [5, V]; each row sums to 1.
    """
    index = np.arange(len(positions))
    eyeball = index - skin_count >= 0
    near = np.linalg.norm((positions - JOINTS[:, None]) / (0.2, 0.02, 0.2), axis=-1) < 1
    chosen = {ROOT: positions[:, 1] < -0.160, NECK: near[NECK] & ~eyeball, JAW: near[JAW] & ~eyeball}
    chosen |= {LEFT_EYE: eyeball & (positions[:, 0] > 0), RIGHT_EYE: eyeball & (positions[:, 0] < 0)}
    regressor = np.zeros((len(JOINTS), len(positions)))
    for joint, mask in chosen.items():
        conditions = np.vstack((positions[mask].T, np.ones(mask.sum())))
        regressor[joint, mask] = np.linalg.pinv(conditions) @ np.append(JOINTS[joint], 1.0)  # the smallest such weights
    return regressor
