"""Heads whose poses and expressions are off by known amounts, in pictures of a patterned face: these have to bring them back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
import torch

from rgbavatar.geometry.triangle_raster import rasterize_triangles
from rgbavatar.track import align, appearance, corrections
from rgbavatar.track.align import align_clip
from rgbavatar.track.corrections import Heads, correct, correction_size
from rgbavatar.track.detail import SIDE, STEP, ZERO, choose_windows, find_detail, look_up
from rgbavatar.track.fit import Fit
from rgbavatar.track.pose import Motion, Person
from rgbavatar.track.surface import Surface, make_surface
from rgbavatar.track.turns import turn_between
from tests.helpers.tracked_face import face_model, head_data, make_motion, make_person

MODEL = face_model()
FRAMES, SIZE, FOCAL, DISTANCE = 24, 160, 264.0, 0.6
EYE = FOCAL * 0.09 / DISTANCE  # pixels between the eyes
SECONDS = np.arange(FRAMES) / 30
ONE_SHOT = [slice(0, FRAMES)]
TURN, SHIFT = np.radians(0.7), 0.002  # by which poses are off, at most


@dataclass(frozen=True)
class Scene:
    """What is seen: RGB pictures, and the truth."""

    fit: Fit
    pictures: Sequence[np.ndarray]
    surface: Surface


def face_pattern(places: np.ndarray) -> np.ndarray:
    """Grey levels of places [..., 3] of the head at rest: waves of one to four centimetres, all over it."""
    generator = np.random.default_rng(5)
    waves = generator.normal(size=(12, 3))
    waves *= (2 * np.pi / generator.uniform(0.01, 0.04, 12) / np.linalg.norm(waves, axis=1))[:, None]
    return np.asarray(125 + 14 * np.sin(places @ waves.T + generator.uniform(0, 6, 12)).sum(-1))


def draw(person: Person, motion: Motion) -> Iterator[np.ndarray]:
    """Grey pictures [SIZE, SIZE] of the patterned head before a plain wall."""
    data = head_data()
    rest = data.neutral - MODEL.center + np.einsum("s,svc->vc", person.identity, data.identity)
    for i in range(len(motion)):
        vertices = rest + np.einsum("e,evc->vc", motion.expression[i], data.expression)
        placed = vertices @ motion.rotation[i].T + motion.position[i]
        flat = person.focal * placed[:, :2] / placed[:, 2:] + person.middle - 0.5
        orders = torch.from_numpy(-1 / placed[:, 2])
        found = rasterize_triangles(torch.from_numpy(flat)[data.faces], SIZE, SIZE, orders[data.faces])
        ids = found.face_ids.numpy()
        places = (rest[data.faces[ids]] * found.barycentrics.numpy()[..., None]).sum(-2)
        yield np.where(ids >= 0, face_pattern(places), 90.0)


def as_picture(grey: np.ndarray) -> np.ndarray:
    return np.repeat(grey.clip(0, 255).round().astype(np.uint8)[..., None], 3, 2)


@pytest.fixture(scope="module")
def scene() -> Scene:
    person = make_person(FOCAL, (SIZE, SIZE), 1)
    motion = make_motion(SECONDS, 1, DISTANCE)
    surface = make_surface(head_data(), MODEL, person.identity)
    return Scene(Fit(person, motion), [as_picture(grey) for grey in draw(person, motion)], surface)


def disturbance() -> np.ndarray:
    """Corrections [FRAMES, 6 + E] that come and go, and have no mean; of poses alone."""
    generator = np.random.default_rng(2)
    rates, phases = generator.uniform(3, 7, 6), generator.uniform(0, 6.28, 6)
    course = np.sin(SECONDS[:, None] * rates + phases)
    return with_expression((course - course.mean(0)) * np.array([TURN] * 3 + [SHIFT] * 3))


def with_expression(pose: np.ndarray) -> np.ndarray:
    """Corrections [n, 6 + E] that change no expression."""
    return np.concatenate((pose, np.zeros((len(pose), len(head_data().expression)))), 1)


def run(scene: Scene, start: Motion, pictures: Sequence[np.ndarray], shots: Sequence[slice] = ONE_SHOT) -> Motion:
    told: list[int] = []

    def take(positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        return ((position, pictures[position]) for position in sorted(positions))

    fit = align_clip(scene.surface, replace(scene.fit, motion=start), EYE, SECONDS, shots, take, told.append)
    assert sum(told) == FRAMES
    return fit.motion


def errors(found: Motion, truth: Motion) -> tuple[float, float]:
    """Degrees and millimetres, root mean squares, less what all frames have in common in the head's own axes."""
    turn = np.einsum("nji,nj->ni", truth.rotation, turn_between(truth.rotation, found.rotation))
    shift = np.einsum("nji,nj->ni", truth.rotation, found.position - truth.position)
    turn, shift = turn - turn.mean(0), shift - shift.mean(0)
    return float(np.degrees(np.sqrt((turn**2).sum(1).mean()))), float(1e3 * np.sqrt((shift**2).sum(1).mean()))


def assert_brought_back(scene: Scene, pictures: Sequence[np.ndarray], share: float) -> Motion:
    start = correct(scene.fit.motion, disturbance())
    found = run(scene, start, pictures)
    before, after = errors(start, scene.fit.motion), errors(found, scene.fit.motion)
    assert after[0] < share * before[0]
    assert after[1] < share * before[1]
    return found


def test_poses_that_are_off_come_back(scene: Scene) -> None:
    assert_brought_back(scene, scene.pictures, 0.15)


def test_expressions_that_are_off_come_back(scene: Scene) -> None:
    """Landmarks saw half of each face that was made, and nothing of brows."""
    truth, names = scene.fit.motion, head_data().expression_names
    plain = [names.index(name) for name in ("browInnerUp", "browOuterUpLeft", "mouthPucker", "jawOpen")]
    start = replace(truth, expression=0.5 * truth.expression)
    start.expression[:, plain[:2]] = 0
    found = run(scene, start, scene.pictures)

    def off(motion: Motion) -> float:
        """Less what all frames have in common."""
        apart = (motion.expression - truth.expression)[:, plain]
        return float((apart - apart.mean(0)).std())

    assert off(found) < 0.6 * off(start)
    both = np.corrcoef(truth.expression[:, plain].T, found.expression[:, plain].T)
    assert np.diagonal(both, len(plain)).min() > 0.97
    assert ((found.expression >= 0) & (found.expression <= 1)).all()


def test_light_that_changes_does_not_matter(scene: Scene) -> None:
    """Lamps grow and fade, and one half of the picture lies in the shade of the other."""
    across = np.linspace(0.75, 1.0, SIZE)[None, :, None]
    lamps = 0.8 + 0.25 * np.sin(SECONDS * 9)
    lit = [
        (picture * lamp * (across if i % 2 else across[:, ::-1]) + 20).clip(0, 255).astype(np.uint8)
        for i, (picture, lamp) in enumerate(zip(scene.pictures, lamps, strict=True))
    ]
    assert_brought_back(scene, lit, 0.25)


def test_a_hand_before_the_face_does_not_pull(scene: Scene) -> None:
    """A striped patch hides a part of the face in every third frame, and moves."""
    stripes = np.where(np.arange(45) // 5 % 2, 230, 20).astype(np.uint8)
    hidden = [picture.copy() for picture in scene.pictures]
    for i in range(0, FRAMES, 3):
        hidden[i][76:121, 45 + i : 90 + i] = stripes[None, :, None]
    assert_brought_back(scene, hidden, 0.3)


def test_without_a_pattern_the_landmarks_are_believed(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    generator = np.random.default_rng(0)
    blank = [as_picture(128 + generator.normal(0, 2, (SIZE, SIZE))) for _ in range(FRAMES)]
    assert correction_size(scene.fit.motion, run(scene, scene.fit.motion, blank)) == (0.0, 0.0, 0.0)
    monkeypatch.setattr(appearance, "TELLING", 0.0)  # taken for a face all the same
    degrees, millimetres, expression = correction_size(scene.fit.motion, run(scene, scene.fit.motion, blank))
    assert 0 < degrees < 0.2
    assert millimetres < 1.0  # the depth, which noise has a say in
    assert expression < 0.1


def test_what_all_frames_are_off_alike_is_left(scene: Scene) -> None:
    """No picture tells it, for the appearance would be off by the same."""
    start = correct(scene.fit.motion, with_expression(np.tile((TURN, -TURN, 0, SHIFT, 0, SHIFT), (FRAMES, 1))))
    found = run(scene, correct(start, disturbance()), scene.pictures)
    kept = np.einsum("nji,nj->ni", start.rotation, turn_between(start.rotation, found.rotation)).mean(0)
    np.testing.assert_allclose(np.degrees(kept), 0, atol=0.02)


def test_the_true_poses_stay(scene: Scene) -> None:
    degrees, millimetres = errors(run(scene, scene.fit.motion, scene.pictures), scene.fit.motion)
    assert degrees < 0.15
    assert millimetres < 0.4


def test_a_clip_in_pieces_is_aligned_as_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    start = correct(scene.fit.motion, disturbance())
    whole = run(scene, start, scene.pictures)
    monkeypatch.setattr(align, "PIECE", 9)
    monkeypatch.setattr(align, "OVERLAP", 5)
    pieces = run(scene, start, scene.pictures)
    degrees, millimetres, expression = correction_size(whole, pieces)
    assert 0 < degrees < 0.05
    assert millimetres < 0.1
    assert expression < 0.02


def test_shots_are_not_linked(scene: Scene) -> None:
    """Off by the contrary from a cut on, which linked frames would come back from slowly."""
    half = FRAMES // 2
    sign = np.where(np.arange(FRAMES) < half, 1.0, -1.0)[:, None]
    start = correct(scene.fit.motion, with_expression(sign * np.array((TURN, TURN, 0, SHIFT, 0, 0))))
    around = np.arange(half - 1, half + 1)

    def off(shots: list[slice]) -> float:
        found = run(scene, start, scene.pictures, shots)
        return errors(found.select(around), scene.fit.motion.select(around))[0]

    assert off([slice(0, half), slice(half, FRAMES)]) < 0.7 * off(ONE_SHOT)


def test_one_frame_stays(scene: Scene) -> None:
    motion = scene.fit.motion.select(slice(3, 4))
    fit = Fit(scene.fit.person, motion)

    def take(positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
        return ((position, scene.pictures[3]) for position in positions)

    found = align_clip(scene.surface, fit, EYE, SECONDS[:1], [slice(0, 1)], take, lambda count: None)
    np.testing.assert_allclose(found.motion.rotation, motion.rotation, atol=1e-12)


def test_slopes_are_those_of_finite_differences(scene: Scene) -> None:
    """On a picture that is a plane, so that interpolation has no share in it."""
    rows, columns = np.mgrid[:SIZE, :SIZE]
    plane = (ZERO + STEP * (0.01 * columns + 0.005 * rows)).round().astype(np.uint8)
    motion = scene.fit.motion.select(slice(0, 2))
    motion = replace(motion, expression=motion.expression.clip(0.1, 0.9))  # where no bound is near
    heads = Heads(scene.surface, motion, FOCAL, np.full((2, 2), SIZE / 2), [np.stack([plane, plane])])
    slopes = np.tile((0.01, 0.005), (2, len(scene.surface), 1))
    none = np.zeros((2, heads.width))
    rows_found = corrections._rows(heads, corrections._see(heads, none), slopes, slice(0, 2))
    for column in range(heads.width):
        step = none.copy()
        step[:, column] = 1e-4
        ends = [corrections._see(heads, way * step).points @ (0.01, 0.005) for way in (1, -1)]
        np.testing.assert_allclose(rows_found[..., column], (ends[0] - ends[1]) / 2e-4, rtol=1e-3, atol=2e-4)


def test_detail_is_looked_up_where_it_is() -> None:
    columns = np.arange(40)
    ramp = np.tile(ZERO + 2 * (columns - 20), (30, 1)).astype(np.uint8)
    points = np.array([[[20.5, 10.5], [23.0, 4.25]]])
    values, slopes = look_up(ramp[None], points)
    np.testing.assert_allclose(values[0], [0.0, 5.0 / STEP], atol=1e-3)
    np.testing.assert_allclose(slopes[0], [[2 / STEP, 0], [2 / STEP, 0]], atol=1e-3)


def test_detail_does_not_depend_on_gain_or_brightness(scene: Scene) -> None:
    grey = scene.pictures[0][..., 0]
    dimmed = (grey * 0.6 + 70).astype(np.uint8)
    first, second = (find_detail(one, 0.03 * EYE, 0.3 * EYE).astype(float) for one in (grey, dimmed))
    assert first.std() > 10
    assert np.abs(first - second).mean() < 0.2 * first.std()


def test_a_window_shows_what_the_source_does() -> None:
    generator = np.random.default_rng(0)
    picture = generator.integers(0, 255, (60, 80, 3), np.uint8)
    windows = choose_windows(np.array([[20.0, 10.0]]), np.array([[40.0, 34.0]]))
    assert windows.scale == 1
    x, y = windows.corners[0]
    assert x < 20
    assert y < 10
    assert x + windows.side > 40
    grey = as_picture(picture[..., :1].repeat(3, 2)[..., 0].astype(float))
    assert (windows.cut(grey, 0) == grey[y : y + windows.side, x : x + windows.side, 0]).all()


def test_large_faces_are_reduced_and_borders_go_on() -> None:
    windows = choose_windows(np.array([[0.0, 0.0]]), np.array([[900.0, 1000.0]]))
    assert windows.side <= SIDE + 1
    cut = windows.cut(np.full((1000, 900, 3), 77, np.uint8), 0)
    assert cut.shape == (windows.side, windows.side)
    assert (cut == 77).all()


def test_points_are_skin_that_looks_outwards(scene: Scene) -> None:
    surface, eyes = scene.surface, head_data().eyes
    assert eyes is not None
    assert len(surface) > 300
    np.testing.assert_allclose(np.linalg.norm(surface.normals, axis=1), 1, atol=1e-9)
    assert ((surface.normals * surface.rest).sum(1) > 0).mean() > 0.9


def test_points_move_as_the_mesh_does(scene: Scene) -> None:
    expression = scene.fit.motion.expression[[5, 9]]
    data = head_data()
    rest = data.neutral - MODEL.center + np.einsum("s,svc->vc", scene.fit.person.identity, data.identity)
    meshes = rest + np.einsum("ne,evc->nvc", expression, data.expression)
    middles = meshes[:, data.faces].mean(2)
    apart = np.linalg.norm(middles[0][None] - scene.surface.place(expression)[0][:, None], axis=2)
    chosen = apart.argmin(1)
    np.testing.assert_allclose(scene.surface.place(expression), middles[:, chosen], atol=1e-6)
