"""Guesses at how numbers were meant: each changes a scene into what it would be if a tracker or an export had meant them so.

A guess says what would be wrong with the data and how to put it right. Those of one *group* exclude each other; guesses of
two groups can hold at once. *Stored* is what the subject's files say.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from functools import partial

import torch
from torch import Tensor

from rgbavatar.check.scene import Pose, Scene
from rgbavatar.datasets.features import WORLD_TO_OPENCV


class Group(Enum):
    """What a guess is about."""

    POSE = "pose"
    UNITS = "units"
    INTRINSICS = "intrinsics"
    PICTURES = "pictures"
    TIME = "time"


@dataclass(frozen=True)
class Guess:
    """name: short, for scripts. found: what the files seem to hold, a clause. fix: what to do. change: the scene as meant."""

    name: str
    group: Group
    found: str
    fix: str
    change: Callable[[Scene], Scene]


Turn = Callable[[Pose], Pose]

_OPENGL = WORLD_TO_OPENCV
_PYTORCH3D = torch.diag(torch.tensor([-1.0, -1.0, 1.0], dtype=torch.float64))
_UNITS = {1000.0: "millimetres", 100.0: "centimetres", 10.0: "decimetres", 0.1: "tens of metres", 0.001: "kilometres"}
_SCALES = (1 / 4, 1 / 3, 3 / 8, 1 / 2, 2 / 3, 3 / 4, 4 / 3, 3 / 2, 2.0, 8 / 3, 3.0, 4.0)
_MAX_NORMALISED_FOCAL = 20.0  # a lens of 20 picture widths sees 3 degrees; one of 20 pixels sees half a turn
_MAX_NORMALISED_CENTRE = 1.5
_SAME_SHAPE = 0.02  # how far the sides' ratios of a picture and a smaller one may differ by rounding
_CENTRED = 0.25  # of a side: a principal point this near to 0 is not near the middle of the picture


def all_guesses(scene: Scene) -> Iterator[Guess]:
    """All guesses that make sense for what a scene's files say, the simplest first."""
    yield from _pose_guesses(scene)
    yield from _unit_guesses()
    yield from _normalised_guesses(scene)
    yield from _centre_guesses(scene)
    yield from _size_guesses(scene)
    yield from _picture_guesses()


def _pose_guesses(scene: Scene) -> Iterator[Guess]:
    """Of the pose that a tracker gives: the head's in a camera that stands still; else the camera's, or the head's."""
    if _is_plain(scene.view):
        for name, found, fix, turn in _turns("the tracked pose"):
            yield Guess(name, Group.POSE, found, fix, partial(_turn_seen, turn=turn))
        return
    for name, found, fix, turn in _turns("the camera's pose"):
        yield Guess(name, Group.POSE, found, fix, partial(_turn_view, turn=turn))
    for name, found, fix, turn in _turns("the head's pose"):
        yield Guess(f"head-{name}", Group.POSE, found, fix, partial(_turn_head, turn=turn))


def _is_plain(view: Pose) -> bool:
    """Whether the camera stands where a tracker without a camera pose puts it: at the origin, along the world's axes."""
    return bool((view.rotation == WORLD_TO_OPENCV).all() and (view.translation == 0).all())


def _turns(whose: str) -> Iterator[tuple[str, str, str, Turn]]:
    """Name, what was found, fix, and the pose as it was meant."""
    yield (
        "opengl-axes",
        f"{whose} is in OpenGL's axes (y up, z to the camera's back), expected OpenCV's (y down, z forward)",
        "negate the second and the third row of R and t (x_cam = R x + t)",
        lambda pose: _turned(_OPENGL, pose),
    )
    yield (
        "pytorch3d-axes",
        f"{whose} is in PyTorch3D's axes (x left, y up), expected OpenCV's (x right, y down)",
        "negate the first and the second row of R and t (x_cam = R x + t)",
        lambda pose: _turned(_PYTORCH3D, pose),
    )
    yield (
        "camera-to-world",
        f"{whose} is stored inverted, camera to world, expected world to camera",
        "invert it: R transposed, and minus R transposed times t",
        Pose.inverse,
    )
    for fix, turn in (
        (
            "negate the second and the third column of R, then store its inverse",
            lambda p: _turned(_OPENGL, p.inverse()),
        ),
        ("invert it before its axes are turned", lambda p: _turned(_OPENGL, _turned_first(p.inverse(), _OPENGL))),
    ):
        yield (
            "camera-to-world-opengl",
            f"{whose} is stored inverted, camera to world, and in OpenGL's axes, expected world to camera in OpenCV's",
            fix,
            turn,
        )
    yield (
        "rotation-transposed",
        f"{whose} has its rotation transposed: columns and rows are exchanged (or rot6d holds columns), expected rows",
        "transpose R",
        lambda pose: Pose(pose.rotation.mT, pose.translation),
    )


def _turned(axes: Tensor, pose: Pose) -> Pose:
    return Pose(axes @ pose.rotation, pose.translation @ axes.T)


def _turned_first(pose: Pose, axes: Tensor) -> Pose:
    return Pose(pose.rotation @ axes, pose.translation)


def _turn_seen(scene: Scene, turn: Turn) -> Scene:
    """The scene with its mesh placed by one pose alone."""
    still = torch.eye(3, dtype=torch.float64).repeat(len(scene), 1, 1)
    view = Pose(still, torch.zeros(len(scene), 3, dtype=torch.float64))
    return replace(scene, head=turn(scene.seen), view=view)


def _turn_view(scene: Scene, turn: Turn) -> Scene:
    return replace(scene, view=turn(scene.view))


def _turn_head(scene: Scene, turn: Turn) -> Scene:
    return replace(scene, head=turn(scene.head))


def _unit_guesses() -> Iterator[Guess]:
    for factor, unit in _UNITS.items():
        yield Guess(
            f"units-{unit.replace(' ', '-')}",
            Group.UNITS,
            f"the translation is in {unit} where the mesh is in metres",
            f"divide the translation by {factor:g}" if factor > 1 else f"multiply the translation by {1 / factor:g}",
            partial(_with_units, factor=factor),
        )


def _with_units(scene: Scene, factor: float) -> Scene:
    head = Pose(scene.head.rotation, scene.head.translation / factor)
    return replace(scene, head=head, view=Pose(scene.view.rotation, scene.view.translation / factor))


def _normalised_guesses(scene: Scene) -> Iterator[Guess]:
    """Of focal lengths, and principal points with them, that are no pixels."""
    fx, fy, cx, cy = _stored(scene)
    if max(fx, fy) > _MAX_NORMALISED_FOCAL:
        return
    w, h = scene.width, scene.height
    units = {
        "picture widths": (w, w),
        "picture widths and heights": (w, h),
        "picture heights": (h, h),
        "half picture widths": (w / 2, w / 2),
        "half picture widths and heights": (w / 2, h / 2),
        "half picture heights": (h / 2, h / 2),
    }
    for unit, (x, y) in units.items():
        found = f"the focal length is in {unit} ({fx:.4g}, {fy:.4g}), expected pixels"
        fix = f"multiply fx by {x:g} and fy by {y:g}"
        yield _intrinsics_guess("focal-normalised", found, fix, partial(_scaled, scale=(x, y, 1.0, 1.0)))
        if max(abs(cx), abs(cy)) <= _MAX_NORMALISED_CENTRE:
            yield _all_normalised(scene, unit, (x, y))


def _all_normalised(scene: Scene, unit: str, size: tuple[float, float]) -> Guess:
    """Of a camera matrix without any pixels: its principal point is a share of the picture, or measured from the middle."""
    fx, fy, cx, cy = _stored(scene)
    w, h = scene.width, scene.height
    centred = max(abs(cx), abs(cy)) < _CENTRED
    scale, shift = ((*size, *size), (0, 0, w / 2, h / 2)) if centred else ((*size, w, h), (0, 0, 0, 0))
    numbers = f"focal length {fx:.4g}, {fy:.4g} in {unit}, centre {cx:.4g}, {cy:.4g}"
    found = f"all intrinsics are normalised ({numbers}), expected pixels"
    where = "the principal point, from the middle of the picture" if centred else "cx by the width, cy by the height"
    fix = f"multiply fx by {size[0]:g}, fy by {size[1]:g}, and likewise {where}"
    return _intrinsics_guess(
        "intrinsics-normalised", found, fix, lambda k: k * k.new_tensor(scale) + k.new_tensor(shift)
    )


def _centre_guesses(scene: Scene) -> Iterator[Guess]:
    """Of principal points that are no pixels, or not measured from the picture's corner."""
    _, _, cx, cy = _stored(scene)
    w, h = scene.width, scene.height
    if max(abs(cx), abs(cy)) <= _MAX_NORMALISED_CENTRE and min(cx, cy) >= _CENTRED:
        yield _intrinsics_guess(
            "centre-normalised",
            f"the principal point ({cx:.4g}, {cy:.4g}) is a share of the picture, expected pixels",
            f"multiply cx by {w} and cy by {h}",
            partial(_scaled, scale=(1.0, 1.0, w, h)),
        )
    elif abs(cx) < _CENTRED * w and abs(cy) < _CENTRED * h:
        yield _intrinsics_guess(
            "centre-from-middle",
            f"the principal point ({cx:.4g}, {cy:.4g}) is measured from the middle of the picture, expected from its corner",
            f"add {w / 2:g} to cx and {h / 2:g} to cy",
            lambda k: k + k.new_tensor([0, 0, w / 2, h / 2]),
        )


def _size_guesses(scene: Scene) -> Iterator[Guess]:
    """Of intrinsics that belong to pictures of another size."""
    w, h = scene.width, scene.height
    _, _, cx, cy = _stored(scene)
    if w != h:
        found = f"width and height were exchanged: the principal point is ({cx:.4g}, {cy:.4g}) in images of {w} x {h} pixels"
        for factor, fix in (
            (1.0, "exchange cx and cy"),
            (w / h, "exchange cx and cy, multiply fx and fy by width / height"),
        ):
            scale = (factor, factor, 1.0, 1.0)
            yield _intrinsics_guess("size-swapped", found, fix, partial(_exchange_centre, scale=scale))
    by_size = scene.width / scene.tracked[0], scene.height / scene.tracked[1]
    own = (by_size[0],) if by_size[0] != 1.0 and abs(by_size[0] / by_size[1] - 1.0) < _SAME_SHAPE else ()
    for scale in (*own, *_SCALES):
        yield _intrinsics_guess(
            "other-resolution",
            f"the intrinsics belong to images {1 / scale:.3g} times as large as these ({w} x {h} pixels)",
            f"multiply fx, fy, cx and cy by {scale:.4g}, or give the images that were tracked",
            partial(_scaled, scale=scale),
        )


def _exchange_centre(intrinsics: Tensor, scale: Sequence[float]) -> Tensor:
    return intrinsics[:, [0, 1, 3, 2]] * intrinsics.new_tensor(scale)


def _scaled(intrinsics: Tensor, scale: float | Sequence[float]) -> Tensor:
    return intrinsics * intrinsics.new_tensor(scale)


def _intrinsics_guess(name: str, found: str, fix: str, change: Callable[[Tensor], Tensor]) -> Guess:
    return Guess(name, Group.INTRINSICS, found, fix, lambda s: replace(s, intrinsics=change(s.intrinsics)))


def _stored(scene: Scene) -> tuple[float, float, float, float]:
    """Median intrinsics: fx, fy, cx, cy."""
    fx, fy, cx, cy = scene.intrinsics.median(0).values.tolist()
    return fx, fy, cx, cy


def _picture_guesses() -> Iterator[Guess]:
    yield Guess(
        "mask-inverted",
        Group.PICTURES,
        "alpha is inverted: it is 255 on the background and 0 on the head",
        "store 255 - alpha",
        _invert_masks,
    )
    yield Guess(
        "images-mirrored",
        Group.PICTURES,
        "the images are mirrored left to right, against what was tracked",
        "mirror the images back, or track the mirrored ones",
        lambda s: replace(s, pictures=s.pictures.flip(2)),
    )
    yield Guess(
        "images-upside-down",
        Group.PICTURES,
        "the images are upside down (their first row is the lowest), against what was tracked",
        "flip the images top to bottom",
        lambda s: replace(s, pictures=s.pictures.flip(1)),
    )


def _invert_masks(scene: Scene) -> Scene:
    return replace(scene, pictures=torch.cat([scene.pictures[..., :3], 255 - scene.pictures[..., 3:]], -1))


def shift_guess(shift: int) -> Guess:
    """That what was tracked stands `shift` frames after its image. It cannot change a scene, which holds no other frames."""
    later = "later" if shift > 0 else "earlier"
    return Guess(
        "frames-shifted",
        Group.TIME,
        f"images and tracking are {abs(shift)} frames apart: image N shows what was tracked as N{shift:+d}, {abs(shift)} {later}",
        f"number the tracked frames {'down' if shift > 0 else 'up'} by {abs(shift)}, or pair images and tracked frames anew",
        lambda scene: scene,
    )
