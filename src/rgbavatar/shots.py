"""What to show of an avatar, picture by picture: recorded frames, a turntable, another's motion, ways between frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from rgbavatar.config import Config
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.datasets.features import compute_features
from rgbavatar.datasets.recorded import load_tracking
from rgbavatar.datasets.tracking import Tracking
from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.orbit import orbit
from rgbavatar.templates.base import HeadParameters, HeadTemplate
from rgbavatar.templates.motion import check_frame_numbers, find_neutral, interpolate, place_as, smooth, transfer


@dataclass(frozen=True)
class Shots:
    """n pictures to be rendered, on the CPU.

    numbers: for file names. codes [n, C]; vertices [n, V, 3] metres; camera: one, or one for each; template: the mesh that
    `vertices` pose.
    """

    numbers: list[int]
    codes: Tensor
    vertices: Tensor
    camera: Camera
    template: HeadTemplate

    def __len__(self) -> int:
        return len(self.numbers)


@dataclass(frozen=True)
class Orbit:
    """A camera on a circle.

    pictures: of a full turn. elevation: radians above the tracked camera's height. number: the frame that is shown, the first
    if None. plays: the frames are shown in turn, from that one on.
    """

    pictures: int
    elevation: float = 0.0
    number: int | None = None
    plays: bool = False


FULL_TURN = Orbit(pictures=120)


@dataclass(frozen=True)
class Drive:
    """Another's motion.

    driver: a subject or a folder. *_neutral: numbers of frames at rest, found if None. smoothing: standard deviation in frames.
    uses_driver_camera: the head stands, and is seen, as the driver's was.
    """

    driver: str
    driver_neutral: int | None = None
    own_neutral: int | None = None
    smoothing: float = 0.0
    uses_driver_camera: bool = False


def frame_shots(dataset: HeadDataset) -> Shots:
    """The recorded frames as they are."""
    return Shots(dataset.numbers.tolist(), dataset.codes, dataset.vertices, dataset.camera, dataset.template)


def turntable_shots(dataset: HeadDataset, way: Orbit) -> Shots:
    """The head from all sides, the first picture as the camera sees it, but for the elevation. Raises DataError."""
    numbers = dataset.numbers.tolist()
    [first] = check_frame_numbers(numbers, [numbers[0] if way.number is None else way.number], "--frame")
    count = len(dataset) if way.plays else way.pictures
    shown = (first + torch.arange(count)) % len(dataset) if way.plays else torch.full((count,), first)
    vertices = dataset.vertices[shown]
    middle = 0.5 * (vertices[0].amin(dim=0) + vertices[0].amax(dim=0))
    camera = dataset.camera.at(first if len(dataset.camera) > 1 else 0)
    cameras = orbit(camera, middle, _up_axis(camera), way.pictures, way.elevation)
    turn = torch.arange(count) % way.pictures
    return Shots(list(range(count)), dataset.codes[shown], vertices, cameras.select(turn), dataset.template)


def reenact_shots(config: Config, subject: str, way: Drive, template: HeadTemplate) -> Shots:
    """The avatar does what the driver does (rgbavatar.templates.motion.transfer). Raises DataError."""
    own = load_tracking(Path(config.dataset.data_dir) / subject, template, config.dataset.layout)
    driver = load_tracking(_driver_folder(config, way.driver), template)
    own_neutral = _neutral(own, way.own_neutral, "--neutral")
    motion = smooth(driver.motion, way.smoothing)
    driver_neutral = _neutral(driver, way.driver_neutral, "--driver_neutral")
    moved = transfer(motion, driver_neutral, own.motion.select(slice(own_neutral, own_neutral + 1)))
    if way.uses_driver_camera:
        return _shots_of(place_as(moved, motion), driver.camera, template, driver.numbers)
    return _shots_of(moved, own.camera.at(own_neutral if len(own.camera) > 1 else 0), template, driver.numbers)


def interpolated_shots(config: Config, subject: str, stops: Sequence[int], steps: int, template: HeadTemplate) -> Shots:
    """From frame to frame of the subject's tracking, in `steps` pictures each. Raises DataError."""
    own = load_tracking(Path(config.dataset.data_dir) / subject, template, config.dataset.layout)
    places = check_frame_numbers(own.numbers, stops, "--between")
    motion = interpolate(own.motion, places, steps)
    camera = own.camera.at(places[0] if len(own.camera) > 1 else 0)
    return _shots_of(motion, camera, template, list(range(len(motion))))


def _shots_of(motion: HeadParameters, camera: Camera, template: HeadTemplate, numbers: list[int]) -> Shots:
    vertices, codes = compute_features(template, motion)
    return Shots(numbers, codes, vertices, camera, template)


def _driver_folder(config: Config, driver: str) -> Path:
    """A folder where there is one of that name, else a subject."""
    return Path(driver) if Path(driver).is_dir() else Path(config.dataset.data_dir) / driver


def _neutral(tracking: Tracking, number: int | None, option: str) -> int:
    if number is None:
        return find_neutral(tracking.motion)
    return check_frame_numbers(tracking.numbers, [number], option)[0]


def _up_axis(camera: Camera) -> Tensor:
    """Up in the picture (-y of the camera) as a direction of the world [3]."""
    return -camera.world_to_camera[0, 1, :3]
