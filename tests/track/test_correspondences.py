"""Where landmarks lie on a template: found again from what a perfect landmarker sees, and as the package brings them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import DataError
from rgbavatar.templates.blendshape import BlendshapeTemplate
from rgbavatar.templates.blendshape_data import BlendshapeData, EyeJoints, load_blendshape_data
from rgbavatar.templates.free_head import LANDMARKS, free_head_path
from rgbavatar.track import correspondences
from rgbavatar.track.correspondences import (
    SURE,
    Scenes,
    draw_inspection,
    draw_scenes,
    find_places,
    measure_misses,
    project_places,
    write_correspondences,
)
from rgbavatar.track.face_model import LEFT_IRIS, RIGHT_IRIS, Correspondences, make_face_model, read_correspondences

SCENES, RING, ROWS, BALL = 30, 16, 11, 16 * 11
COUNT = 478
CENTERS = np.array([[0.0, 0.0, 0.0], [0.03, 0.03, 0.07], [-0.03, 0.03, 0.07]])
RADII = (0.08, 0.012, 0.012)


def ball_faces() -> np.ndarray:
    j, i = np.meshgrid(np.arange(ROWS - 1), np.arange(RING), indexing="ij")
    a, b = (j * RING + i).ravel(), (j * RING + (i + 1) % RING).ravel()
    return np.concatenate((np.stack((a, a + RING, b + RING), 1), np.stack((a, b + RING, b), 1)))


@pytest.fixture(scope="module")
def template() -> BlendshapeTemplate:
    """A ball for a head and two for eyeballs, the eyes in the strip of the UV map."""
    polar, turn = np.meshgrid(np.linspace(0.15, 3.0, ROWS), 2 * np.pi * np.arange(RING) / RING, indexing="ij")
    ball = np.stack((np.sin(polar) * np.sin(turn), np.cos(polar), np.sin(polar) * np.cos(turn)), -1).reshape(-1, 3)
    points = np.concatenate([center + radius * ball for center, radius in zip(CENTERS, RADII, strict=True)])
    faces = np.concatenate([ball_faces() + k * BALL for k in range(3)])
    uv = np.concatenate((np.full((BALL, 2), 0.5), np.full((2 * BALL, 2), 0.05)))
    weights = np.zeros((len(points), 2))
    weights[BALL : 2 * BALL, 0] = weights[2 * BALL :, 1] = 1
    empty, still = np.zeros((0, len(points), 3)), np.zeros((1, len(points), 3))
    eyes = EyeJoints(CENTERS[1:], np.zeros((0, 2, 3)), weights)
    return BlendshapeTemplate(
        BlendshapeData(
            points, faces, uv, faces, still, ("jawOpen",), empty, (), eyes, np.zeros(3), np.ones(len(points))
        )
    )


@pytest.fixture(scope="module")
def truth(template: BlendshapeTemplate) -> Correspondences:
    """Places on the front: of the head, and of an eyeball for each iris."""
    rng = np.random.default_rng(0)
    data = template.data
    front = data.neutral[data.faces].mean(1) - np.repeat(CENTERS, len(data.faces) // 3, 0)
    facing = front[:, 2] > 0.6 * np.repeat(RADII, len(data.faces) // 3)
    part = np.repeat(np.arange(3), len(data.faces) // 3)
    faces = np.empty(COUNT, np.int64)
    for landmark in range(COUNT):
        of = 1 if landmark in LEFT_IRIS else 2 if landmark in RIGHT_IRIS else 0
        faces[landmark] = rng.choice(np.flatnonzero(facing & (part == of)))
    return Correspondences(faces, rng.dirichlet((2, 2, 2), COUNT), np.ones(COUNT))


@pytest.fixture(scope="module")
def scenes(template: BlendshapeTemplate, truth: Correspondences) -> Scenes:
    """What a landmarker without faults says."""
    rng = np.random.default_rng(1)
    points, facing = [], []
    own = template.data.neutral - np.repeat(CENTERS, BALL, 0)
    normals = own / np.linalg.norm(own, axis=1, keepdims=True)
    for yaw, pitch in rng.uniform((-0.6, -0.25), (0.6, 0.25), (SCENES, 2)):
        about_y = np.array(((np.cos(yaw), 0, np.sin(yaw)), (0, 1, 0), (-np.sin(yaw), 0, np.cos(yaw))))
        about_x = np.array(((1, 0, 0), (0, np.cos(pitch), -np.sin(pitch)), (0, np.sin(pitch), np.cos(pitch))))
        turn = np.diag((1.0, -1.0, -1.0)) @ about_x @ about_y
        placed = template.data.neutral @ turn.T + (0, 0, 0.8)
        points.append(placed[:, :2] / placed[:, 2:] * 700 + 192)
        facing.append(-((normals @ turn.T) * placed).sum(1) / np.linalg.norm(placed, axis=1))
    blank = Scenes(np.stack(points), np.stack(facing), np.zeros((SCENES, COUNT, 2)), np.full(SCENES, 80.0), [])
    return replace(blank, seen=project_places(truth, template.data.faces, blank))


def positions(data: BlendshapeData, places: Correspondences) -> np.ndarray:
    return np.asarray((data.neutral[data.faces[places.faces]] * places.barycentrics[..., None]).sum(1))


def test_places_are_found_again(template: BlendshapeTemplate, truth: Correspondences, scenes: Scenes) -> None:
    places, misses = find_places(template, scenes)
    off = np.linalg.norm(positions(template.data, places) - positions(template.data, truth), axis=1)
    step = 0.03 / 6  # the ball's largest edge, and the parts that it is searched in
    assert off.max() < step
    assert misses.max() < step * 700 / 0.7 / 80  # seen from 0.7 m
    assert (places.confidence[misses <= SURE] == 1).all()
    np.testing.assert_allclose(places.barycentrics.sum(1), 1)


def test_a_few_pictures_that_are_all_wrong_change_little(
    template: BlendshapeTemplate, truth: Correspondences, scenes: Scenes
) -> None:
    wrong = scenes.seen.copy()
    wrong[:3] += 40
    places, misses = find_places(template, replace(scenes, seen=wrong))
    off = np.linalg.norm(positions(template.data, places) - positions(template.data, truth), axis=1)
    assert np.median(off) < 0.004
    assert misses.mean() > 0.04
    assert places.confidence.mean() < 0.5


def test_irises_lie_on_their_own_eyeballs(template: BlendshapeTemplate, scenes: Scenes) -> None:
    assert template.data.eyes is not None
    shuffled = replace(scenes, seen=np.roll(scenes.seen, 5, axis=1))
    places, _ = find_places(template, shuffled)
    weights = template.data.eyes.weights[template.data.faces[places.faces]].min(1)
    assert (weights[list(LEFT_IRIS)] == (1, 0)).all()
    assert (weights[list(RIGHT_IRIS)] == (0, 1)).all()
    assert (weights[:468] == 0).all()


def test_misses_are_shares_of_the_distance_between_the_eyes(
    template: BlendshapeTemplate, truth: Correspondences, scenes: Scenes
) -> None:
    moved = replace(scenes, seen=scenes.seen + np.array((3.0, 4.0)))
    np.testing.assert_allclose(measure_misses(truth, template.data.faces, moved), 5 / 80)


def test_what_is_written_is_what_a_tracker_reads(
    template: BlendshapeTemplate, truth: Correspondences, tmp_path: Path
) -> None:
    write_correspondences(tmp_path / "where.npz", truth)
    read = read_correspondences(tmp_path / "where.npz", template.data)
    np.testing.assert_array_equal(read.faces, truth.faces)
    np.testing.assert_allclose(read.barycentrics, truth.barycentrics, atol=1e-7)


def test_the_inspection_shows_both_kinds_of_points(
    template: BlendshapeTemplate, truth: Correspondences, scenes: Scenes
) -> None:
    grey = [np.full((384, 384, 3), 90, np.uint8)] * SCENES
    moved = replace(scenes, seen=scenes.seen + np.array((60.0, 0.0)), pictures=grey)
    drawn = draw_inspection(truth, template.data.faces, moved, most=4)
    assert drawn.shape == (768, 3 * 768, 3)
    x, y = 2 * scenes.seen[0, 100]
    assert tuple(drawn[round(y - 0.5), round(x - 0.5)]) == (255, 0, 0)
    assert tuple(drawn[round(y - 0.5), round(x + 119.5)]) == (0, 255, 0)


class Blind:
    """A landmarker that sees nothing."""

    def census(self, picture: np.ndarray) -> list[object]:
        return []


def test_a_landmarker_that_finds_no_face_is_told(template: BlendshapeTemplate, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(correspondences, "paint_free_head", lambda data, size, look: np.zeros((size, size, 3)))
    with pytest.raises(DataError, match="found no face in 2 pictures of the template"):
        draw_scenes(template, Blind(), 2, seed=0)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def free_head(free_head_cache: Path) -> BlendshapeData:
    return load_blendshape_data(free_head_path(free_head_cache))


def test_the_free_heads_landmarks_lie_where_their_names_say(free_head: BlendshapeData) -> None:
    places = read_correspondences(LANDMARKS, free_head)
    p = positions(free_head, places)
    eyes = free_head.eyes
    assert eyes is not None
    tip = free_head.neutral[free_head.neutral[:, 2].argmax()]
    assert np.linalg.norm(p[1] - tip) < 0.008
    assert p[10, 1] - p[152, 1] > 0.13  # from forehead to chin
    for left, right in ((263, 33), (291, 61), (454, 234), (386, 159)):
        np.testing.assert_allclose(p[left] * (-1, 1, 1), p[right], atol=0.006)
        assert p[left, 0] > 0
    for iris, center in zip((LEFT_IRIS, RIGHT_IRIS), eyes.centers, strict=True):
        pupil, ring = p[iris[0]] - center, p[list(iris[1:])] - center
        assert np.linalg.norm(pupil[:2]) < 0.002
        assert 0.003 < np.linalg.norm(ring - pupil, axis=1).mean() < 0.008
    assert p[13, 1] > p[14, 1]
    assert places.confidence.min() > 0
    assert len(make_face_model(free_head, places).landmarks) > 465
