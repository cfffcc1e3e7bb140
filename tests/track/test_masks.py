"""Heads cut out of made-up pictures, against the masks that these were made with.

A picture shows a wall with a pattern, on which the template's silhouette moves, in skin with spots, under dark hair that is
bigger than the template. What is under the template's lower border is clothes.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.errors import DataError
from rgbavatar.io.images import save_png
from rgbavatar.prepare.masks import parse_classes
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.track.fit import Fit
from rgbavatar.track.frames import tracked_frames
from rgbavatar.track.framing import HeadPlace, choose_window, measure_reach
from rgbavatar.track.head_masks import SURE
from rgbavatar.track.layers import choose_frames, learn_layers
from rgbavatar.track.masks import CutMasks, FolderMasks, SegmenterMasks, head_share, small_size
from rgbavatar.track.zones import Zone, ZoneFinder
from tests.helpers.tracked_face import face_model, head_data, make_motion, make_person

SIZE = (256, 224)
FRAMES = 40
SKIN, HAIR, CLOTHES = (205, 150, 120), (45, 32, 28), (70, 90, 160)


@dataclass(frozen=True)
class Scene:
    """n frames, their pictures [H, W, 3], and the masks [H, W] that they were painted with."""

    finder: ZoneFinder
    frames: list[TrackedFrame]
    pictures: list[np.ndarray]
    truth: list[np.ndarray]


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    a, b = first >= 0.5, second >= 0.5
    return float((a & b).sum() / (a | b).sum())


def wall(generator: np.random.Generator) -> np.ndarray:
    """Stripes and a dark poster on a light wall, with noise."""
    rows, columns = np.mgrid[: SIZE[1], : SIZE[0]]
    grey = 175 + 25 * np.sin(columns / 9) + 12 * np.cos(rows / 13)
    picture = np.repeat(grey[..., None], 3, 2) * (1.0, 0.97, 0.9)
    picture[60:150, 206:240] = (60, 35, 40)
    return picture + generator.normal(0, 2, picture.shape)


def texture(color: tuple[int, ...], seed: int) -> np.ndarray:
    """A canvas of the head's own frame, of a colour with soft spots."""
    spots = cv2.GaussianBlur(np.random.default_rng(seed).normal(0, 60, (256, 256, 1)), (0, 0), 4)
    return (np.array(color) + spots[..., None].reshape(256, 256, 1)).astype(np.float32)


def in_picture(canvas: np.ndarray, zone: Zone) -> np.ndarray:
    """A canvas, 256 pixels for 2.6 heights of the head, as it lies in a picture."""
    scale = np.array([[256 / 2.6, 0, 128], [0, 256 / 2.6, 128]])
    source = scale @ np.vstack((zone.place, (0, 0, 1)))
    return cv2.warpAffine(canvas, source, SIZE, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP)


def paint(zone: Zone, silhouette: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    hair = np.zeros((256, 256), np.uint8)
    cv2.ellipse(hair, (128, 96), (52, 50), 0, 180, 360, 1, -1)
    hair = in_picture(hair, zone).astype(bool)
    head = hair | silhouette
    picture = wall(generator)
    picture[zone.below] = CLOTHES
    picture = np.where(silhouette[..., None], in_picture(texture(SKIN, 1), zone), picture)
    crown = hair & ~cv2.erode(silhouette.astype(np.uint8), np.ones((15, 15), np.uint8)).astype(bool)
    picture = np.where((crown & (in_picture(ramp(), zone) > 0))[..., None], in_picture(texture(HAIR, 2), zone), picture)
    soft = cv2.GaussianBlur(picture.clip(0, 255).astype(np.float32), (0, 0), 0.6)
    return soft.astype(np.uint8), (head & ~zone.below).astype(np.float32)


def ramp() -> np.ndarray:
    """1 in the upper part of the head's frame, where hair may cover the forehead."""
    canvas = np.zeros((256, 256), np.float32)
    canvas[:100] = 1
    return canvas


@pytest.fixture(scope="module")
def scene() -> Scene:
    person = make_person(330.0, SIZE, 2)
    motion = make_motion(np.arange(FRAMES) / 8, 2, distance=0.52)
    motion = replace(motion, position=motion.position + np.array((0.0, 0.02, 0.0)))
    frames = tracked_frames(face_model(), Fit(person, motion), SIZE)
    finder, generator = ZoneFinder(BlendshapeTemplate(head_data())), np.random.default_rng(0)
    made = []
    for frame in frames:
        zone = finder.find(frame, *SIZE)
        whole = zone.reach & (cv2.dilate(zone.core.astype(np.uint8), np.ones((9, 9), np.uint8)) > 0)
        made.append(paint(zone, whole, generator))
    return Scene(finder, frames, [picture for picture, _ in made], [mask for _, mask in made])


def cut_out(scene: Scene, masks: CutMasks) -> list[np.ndarray]:
    masks.learn({position: scene.pictures[position] for position in masks.wanted()})
    return [masks.coverage(position, picture) for position, picture in enumerate(scene.pictures)]


@pytest.fixture(scope="module")
def found(scene: Scene) -> list[np.ndarray]:
    return cut_out(scene, CutMasks(scene.finder, scene.frames, [slice(0, FRAMES)]))


def test_the_head_is_cut_out_with_its_hair(scene: Scene, found: list[np.ndarray]) -> None:
    overlaps = [overlap(mask, truth) for mask, truth in zip(found, scene.truth, strict=True)]
    assert np.mean(overlaps) > 0.97
    assert np.min(overlaps) > 0.94


def test_it_is_more_than_the_template_alone_knows(scene: Scene, found: list[np.ndarray]) -> None:
    """Were the mask the core, or the reach, hair would be lost, or the wall kept."""
    zones = [scene.finder.find(frame, *SIZE) for frame in scene.frames]
    for guess in ([zone.core for zone in zones], [zone.reach & ~zone.below for zone in zones]):
        overlaps = [overlap(mask.astype(float), truth) for mask, truth in zip(guess, scene.truth, strict=True)]
        assert np.mean(overlaps) < 0.85


def test_clothes_are_not_kept(scene: Scene, found: list[np.ndarray]) -> None:
    for mask, frame in zip(found, scene.frames, strict=True):
        assert (mask[scene.finder.find(frame, *SIZE).below] < 0.5).all()


def test_masks_do_not_flicker(scene: Scene, found: list[np.ndarray]) -> None:
    """They change little more from a frame to the next than the true ones do."""
    change = [[np.abs(b - a).sum() for a, b in pairwise(masks)] for masks in (found, scene.truth)]
    assert np.mean(change[0]) < 1.25 * np.mean(change[1])


def test_two_shots_have_backgrounds_of_their_own(scene: Scene) -> None:
    half = FRAMES // 2
    other = [255 - picture if i >= half else picture for i, picture in enumerate(scene.pictures)]
    masks = CutMasks(scene.finder, scene.frames, [slice(0, half), slice(half, FRAMES)])
    overlaps = [
        overlap(mask, truth)
        for mask, truth in zip(cut_out(replace(scene, pictures=other), masks), scene.truth, strict=True)
    ]
    assert np.mean(overlaps[half:]) > 0.9


def test_frames_may_be_left_out(scene: Scene, found: list[np.ndarray]) -> None:
    masks = CutMasks(scene.finder, scene.frames, [slice(0, FRAMES)])
    masks.learn({position: scene.pictures[position] for position in masks.wanted()})
    alone = masks.coverage(17, scene.pictures[17])
    assert overlap(alone, found[17]) > 0.93


def test_layers_tell_a_wall_from_a_head_where_both_vary(scene: Scene) -> None:
    zones = [scene.finder.find(frame, *SIZE) for frame in scene.frames]
    chosen = choose_frames(zones, 24)
    layers = learn_layers([scene.pictures[i] for i in chosen], [zones[i] for i in chosen])
    verdict = layers.judge(scene.pictures[5], zones[5])
    asked = zones[5].reach & ~zones[5].core & ~zones[5].below
    wall_seen, head_seen = asked & (scene.truth[5] == 0), asked & (scene.truth[5] == 1)
    assert np.median(verdict[wall_seen]) < -0.3
    assert np.median(verdict[head_seen]) > 0.3


@dataclass(frozen=True)
class Numbered:
    """What masks ask of a frame, beside its zone."""

    number: int
    width: int
    height: int


@dataclass(frozen=True)
class Turning:
    """A head that turns under wide hair which stays where it is, before a light wall.

    It stands in for a ZoneFinder too, of frames that know their number.
    """

    pictures: list[np.ndarray]
    zones: list[Zone]
    hair: np.ndarray
    wall: np.ndarray

    def find(self, frame: Numbered, width: int, height: int) -> Zone:
        return self.zones[frame.number]


def turning_head() -> Turning:
    height, width, tall = 110, 120, 52.0
    rows, columns = np.mgrid[:height, :width]
    hair = (np.hypot(columns - 60, rows - 52) < 34) & (rows < 60)
    generator, pictures, zones = np.random.default_rng(0), [], []
    for shift in 7 * np.sin(np.arange(16) / 2):
        across = columns - 60 - shift
        core = (across / 18) ** 2 + ((rows - 56) / 26) ** 2 < 1
        reach = (across / 42) ** 2 + ((rows - 50) / 48) ** 2 < 1
        place = np.array([[1 / tall, 0, -(60 + shift) / tall], [0, 1 / tall, -56 / tall]])
        zones.append(Zone(core, reach, rows > 90, place, tall))
        picture = np.where(hair[..., None], HAIR, (215, 205, 200))
        picture = np.where((core & (rows > 44))[..., None], SKIN, picture)
        picture = np.where((rows > 86)[..., None], CLOTHES, picture) + generator.normal(0, 2, (height, width, 3))
        pictures.append(picture.clip(0, 255).astype(np.uint8))
    return Turning(pictures, zones, hair, ~hair & (rows < 60) & (np.hypot(columns - 60, rows - 52) > 38))


def test_hair_that_hides_the_wall_in_all_frames_is_no_background() -> None:
    """Where the head turned from, it is dark in all frames, but seldom hair in the head's own frame."""
    made = turning_head()
    layers = learn_layers(made.pictures, made.zones)
    for picture, zone in zip(made.pictures, made.zones, strict=True):
        verdict = cv2.GaussianBlur(layers.judge(picture, zone), (0, 0), 1.5)
        assert (verdict[made.hair & ~zone.core] < -SURE).mean() < 0.02


def test_hair_that_stays_where_it_is_while_the_head_turns_is_kept() -> None:
    made = turning_head()
    height, width = made.hair.shape
    frames = [Numbered(number, width, height) for number in range(len(made.pictures))]
    masks = CutMasks(made, frames, [slice(0, len(frames))])
    masks.learn({position: made.pictures[position] for position in masks.wanted()})
    for position, picture in enumerate(made.pictures):
        found = masks.coverage(position, picture) >= 0.5
        assert found[made.hair].mean() > 0.97
        assert found[made.wall].mean() < 0.03


def test_frames_for_learning_have_the_head_in_all_places(scene: Scene) -> None:
    zones = [scene.finder.find(frame, *SIZE) for frame in scene.frames]
    still = [zones[0]] * 100 + zones
    chosen = choose_frames(still, 12)
    assert len(chosen) == 12
    assert sum(place < 100 for place in chosen) <= 1


def test_zones_go_with_a_head_that_is_tilted(scene: Scene) -> None:
    frame, (width, height) = scene.frames[0], SIZE
    upright = scene.finder.find(frame, width, height)
    assert not (upright.core & upright.below).any()
    assert not (upright.core & ~upright.reach).any()
    rows = np.flatnonzero(upright.reach.any(1))
    core_rows = np.flatnonzero(upright.core.any(1))
    assert core_rows[0] - rows[0] > 0.3 * upright.height or rows[0] == 0  # room for hair above


def test_masks_of_a_folder_are_taken_by_number(tmp_path: Path) -> None:
    mask = np.zeros((8, 10, 3), np.uint8)
    mask[2:6, 3:7] = 255
    for number in (4, 6):
        save_png(tmp_path / f"{number:05d}.png", mask)
    masks = FolderMasks(tmp_path, None, [4, 6])
    assert masks.coverage(1, np.zeros((8, 10, 3), np.uint8)).sum() == 16
    with pytest.raises(DataError, match=r"00005\.png: found no such mask \(1 are missing"):
        FolderMasks(tmp_path, None, [4, 5, 6])
    with pytest.raises(DataError, match="found 10x8 pixels"):
        masks.coverage(0, np.zeros((8, 20, 3), np.uint8))


def test_masks_of_a_folder_may_be_maps_of_classes(tmp_path: Path) -> None:
    levels = np.zeros((8, 10, 3), np.uint8)
    levels[1:4], levels[4:6] = 17, 1
    save_png(tmp_path / "00000.png", levels)
    masks = FolderMasks(tmp_path, parse_classes("bisenet:skin"), [0])
    assert masks.coverage(0, np.zeros((8, 10, 3), np.uint8)).sum() == 20


def test_a_segmenter_gives_what_is_no_background_and_no_clothes_where_a_head_can_be(scene: Scene) -> None:
    ones = np.ones((SIZE[1], SIZE[0]))
    classes = {"background": 0 * ones, "hair": 0.25 * ones, "face-skin": 0.5 * ones, "clothes": 0.25 * ones}
    np.testing.assert_allclose(head_share(classes), 0.75)
    mask = SegmenterMasks(lambda picture: classes, scene.finder, scene.frames).coverage(0, scene.pictures[0])
    zone = scene.finder.find(scene.frames[0], *SIZE)
    np.testing.assert_allclose(mask, 0.75 * (zone.reach & ~zone.below), atol=1e-6)
    with pytest.raises(DataError, match="found the classes background, clothes"):
        head_share({"background": ones, "clothes": ones})


def test_the_window_holds_all_heads_with_their_hair() -> None:
    middles = np.array([[100.0, 120.0], [140.0, 100.0]])
    places = HeadPlace(middles, np.array([20.0, 20.0]))
    mask = np.zeros((240, 320), np.float32)
    mask[60:150, 70:130] = 1  # 30 to either side of the first, 60 up, 30 down
    reach = measure_reach(places, [(0, mask)])
    np.testing.assert_allclose(reach, (1.5, 3.0, 1.5, 1.5))
    window = choose_window(places, reach, 0.0, 320, 240)
    assert (window.left, window.width) == (65, 110)  # the square around 70..170, 40..150
    assert window.top <= 40
    assert window.top + window.height >= 150


def test_small_pictures_keep_their_shape() -> None:
    assert small_size(1920, 1080) == (256, 144)
    assert small_size(100, 80) == (100, 80)
