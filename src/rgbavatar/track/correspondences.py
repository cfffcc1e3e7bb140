"""Where MediaPipe's 478 landmarks lie on a template: `python -m rgbavatar.track.correspondences --out FILE`.

The template is drawn as many persons with many faces, from many sides; the landmarker looks at the pictures; and each landmark is
put where, of all places on the mesh, its projections miss what the landmarker said by the least. No other face model is needed,
and where the landmarker has a habit, the correspondences have it too.

Words: a *scene* is one such picture; n scenes, L = 478 landmarks, V vertices. A *miss* is a distance in the picture over that
between the outer corners of the eyes (`Face.eye_distance`). A *facing* is the cosine between a vertex's normal and the way to the
camera: a place counts as far as it is seen.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from rgbavatar.cli import count, run_script, say
from rgbavatar.datasets.synthetic_render import Head, Look, prepare_head, render_head, vertex_normals
from rgbavatar.errors import DataError
from rgbavatar.geometry.rotation import axis_angle_to_rotation
from rgbavatar.io.files import write_aside
from rgbavatar.io.images import save_png
from rgbavatar.io.run_dir import refuse_existing
from rgbavatar.templates.base import HeadParameters, neutral_parameters
from rgbavatar.templates.blendshape import BlendshapeTemplate, load_blendshape
from rgbavatar.templates.free_head import cache_folder, free_head_path
from rgbavatar.templates.free_head_texture import Complexion, paint_free_head
from rgbavatar.templates.head_uv import STRIP
from rgbavatar.track.face_model import LANDMARKS, LEFT_IRIS, RIGHT_IRIS, Correspondences
from rgbavatar.track.landmarks import Face, FaceFinder
from rgbavatar.track.mediapipe_faces import MediaPipeFaces, find_model

SIZE, FOCAL, DISTANCE = 384, 2.0, 0.85  # pixels; in picture sides; metres
SURE = 0.015  # miss that a landmark may have and be trusted wholly
_FAR = 0.05  # misses beyond it count little
_IDENTITY = 0.8  # of the population's standard deviation
_YAW, _PITCH, _ROLL = (np.radians(angle) for angle in (35.0, 14.0, 8.0))  # at most
_FEWEST_VIEWS = 0.15  # of the scenes that a place has to face, as a sum of facings
_TO_OPENCV = (1.0, -1.0, -1.0)  # from a world in which an upright head is not turned
_STEPS = 6  # of a triangle's side, when a place is looked for in it
_FACES = (
    ("jawOpen", "mouthFunnel", "mouthPucker", "mouthRollLower", "mouthRollUpper", "mouthShrugUpper", "cheekPuff"),
    ("mouthSmile", "mouthFrown", "mouthStretch", "mouthUpperUp", "mouthLowerDown", "mouthPress", "noseSneer"),
    ("eyeBlink", "eyeSquint", "eyeWide", "browDown", "browOuterUp", "browInnerUp"),
)  # of each group a scene shows one, with both sides alike

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Scenes:
    """n pictures of posed meshes. pixels [n, V, 2]: where each vertex is seen, the first pixel's centre at 0.5; facing [n, V];
    seen [n, L, 2]: what the landmarker said; eye_distance [n] pixels; pictures: RGB."""

    pixels: Floats
    facing: Floats
    seen: Floats
    eye_distance: Floats
    pictures: list[np.ndarray]


def draw_scenes(
    template: BlendshapeTemplate,
    finder: FaceFinder,
    wanted: int,
    seed: int,
    bar: Callable[[Iterable[int]], Iterable[int]] = iter,
) -> Scenes:
    """Draw scenes of the free head and have them looked at; those without a face are left out. Raises DataError for none."""
    generator = np.random.default_rng(seed)
    looks = [Complexion(), Complexion(skin=(0.46, 0.31, 0.24), lip=(0.42, 0.22, 0.21), iris=(0.22, 0.14, 0.09))]
    textures = [torch.from_numpy(paint_free_head(template.data, 2 * SIZE, look)) for look in looks]
    intrinsics = np.array((FOCAL * SIZE, FOCAL * SIZE, SIZE / 2, SIZE / 2))
    pixels, facing, faces, pictures = [], [], list[Face](), []
    for i in bar(range(wanted)):
        p = _draw_person(template, generator)
        vertices = template.pose(p)[0] * torch.tensor(_TO_OPENCV, dtype=torch.float64)
        picture = _draw(template, p, vertices, textures[i % len(textures)], intrinsics, generator)
        found = finder.census(picture)
        if len(found) == 1:
            flat = vertices.numpy()
            normals = vertex_normals(vertices, template.faces).numpy()
            pixels.append(flat[:, :2] / flat[:, 2:] * intrinsics[:2] + intrinsics[2:])
            facing.append(-(normals * flat).sum(1) / np.linalg.norm(flat, axis=1))
            faces.append(found[0])
            pictures.append(picture)
    if not faces:
        raise DataError(f"correspondences: the landmarker found no face in {wanted} pictures of the template")
    seen, eyes = np.stack([face.points[:, :2] for face in faces]), np.array([face.eye_distance for face in faces])
    return Scenes(np.stack(pixels), np.stack(facing), seen, eyes, pictures)


def _draw_person(template: BlendshapeTemplate, generator: np.random.Generator) -> HeadParameters:
    """One frame of a person drawn from the template's modes, with a face, before a camera that looks along -z, y up."""
    data = template.data
    rest = neutral_parameters(1, len(data.identity), len(data.expression))
    expression = rest.expression.clone()
    for group in _FACES:
        name, amount = str(generator.choice(group)), float(generator.uniform(0, 0.9))
        for full in (name, f"{name}Left", f"{name}Right"):
            if full in data.expression_names:
                expression[0, data.expression_names.index(full)] = amount
    pitch, yaw, roll = generator.uniform(-1, 1, 3) * (_PITCH, _YAW, _ROLL)
    turn = axis_angle_to_rotation(torch.tensor([[pitch, 0, 0], [0, yaw, 0], [0, 0, roll]], dtype=torch.float64))
    root = turn[2] @ turn[0] @ turn[1]
    middle = torch.tensor(data.neutral.mean(0))
    return replace(
        rest,
        shape=torch.from_numpy(generator.normal(0, _IDENTITY, len(data.identity))),
        expression=expression,
        root=root[None],
        translation=(torch.tensor([0, 0, -DISTANCE], dtype=torch.float64) - root @ middle)[None],
    )


def _draw(
    template: BlendshapeTemplate,
    p: HeadParameters,
    vertices: torch.Tensor,
    texture: torch.Tensor,
    intrinsics: Floats,
    generator: np.random.Generator,
) -> np.ndarray:
    """The picture of a scene over a grey ground, RGB [SIZE, SIZE, 3]."""
    straight = replace(p, root=torch.eye(3, dtype=torch.float64)[None], expression=0 * p.expression)
    rest = template.pose(replace(straight, translation=0 * p.translation))[0]
    head: Head = prepare_head(
        template.faces, template.uv, template.uv_faces, rest, template.eye_centers(p), texture, seed=0
    )
    lamp = (np.array((-0.3, -0.5, -0.8)) + generator.uniform(-0.4, 0.4, 3)).tolist()
    rgba = render_head(head, vertices, torch.from_numpy(intrinsics), SIZE, SIZE, Look(0, 0, 0), 1, lamp).numpy()
    share = rgba[..., 3:] / 255.0
    return np.asarray((rgba[..., :3] * share + (1 - share) * generator.uniform(60, 200)).round(), np.uint8)


def find_places(template: BlendshapeTemplate, scenes: Scenes) -> tuple[Correspondences, Floats]:
    """Where each landmark lies best. Returns the places and the miss of each, the mean over scenes [L]."""
    data = template.data
    corners_v = data.uv[data.uv_faces][..., 1]
    skin = corners_v.min(1) >= STRIP
    assert data.eyes is not None
    balls = data.eyes.weights[data.faces].min(1) > 0.5
    faces, shares, misses = np.zeros(LANDMARKS, np.int64), np.zeros((LANDMARKS, 3)), np.zeros(LANDMARKS)
    for landmark in range(LANDMARKS):
        allowed = skin
        for iris, eye in ((LEFT_IRIS, 0), (RIGHT_IRIS, 1)):
            allowed = balls[:, eye] if landmark in iris else allowed
        faces[landmark], shares[landmark], misses[landmark] = _find_place(
            np.flatnonzero(allowed), data.faces, scenes, scenes.seen[:, landmark]
        )
    return Correspondences(faces, shares, np.minimum(1.0, (SURE / np.maximum(misses, 1e-9)) ** 2)), misses


def _find_place(allowed: Ints, faces: Ints, scenes: Scenes, seen: Floats) -> tuple[int, Floats, float]:
    """The place on the triangles `allowed` that a landmark, seen [n, 2], is nearest to: the nearest vertex first, then the best
    place in the triangles around it."""
    vertices = np.unique(faces[allowed])
    costs = _costs(scenes.pixels[:, vertices], scenes.facing[:, vertices], scenes, seen)
    near = vertices[np.argsort(costs)[:3]]
    around = allowed[np.isin(faces[allowed], near).any(1)]
    steps = np.array([(i, j, _STEPS - i - j) for i in range(_STEPS + 1) for j in range(_STEPS + 1 - i)]) / _STEPS
    pixels = np.einsum("sk,nfkd->nfsd", steps, scenes.pixels[:, faces[around]]).reshape(len(seen), -1, 2)
    facing = np.einsum("sk,nfk->nfs", steps, scenes.facing[:, faces[around]]).reshape(len(seen), -1)
    costs = _costs(pixels, facing, scenes, seen)
    best = int(costs.argmin())
    miss = np.linalg.norm(pixels[:, best] - seen, axis=1) / scenes.eye_distance
    weight = facing[:, best].clip(0)
    return int(around[best // len(steps)]), steps[best % len(steps)], float((miss * weight).sum() / weight.sum())


def _costs(pixels: Floats, facing: Floats, scenes: Scenes, seen: Floats) -> Floats:
    """How far places, seen at pixels [n, m, 2], are from a landmark: the mean over scenes of s / (1 + s / far²), s the squared
    miss, weighted by facing [n, m]. Infinite for places that face the camera too seldom. Returns [m]."""
    square = ((pixels - seen[:, None]) ** 2).sum(-1) / scenes.eye_distance[:, None] ** 2
    weight = facing.clip(0)
    total = weight.sum(0)
    mean = (weight * square / (1 + square / _FAR**2)).sum(0) / np.maximum(total, 1e-9)
    return np.where(total > _FEWEST_VIEWS * len(seen), mean, np.inf)


def project_places(places: Correspondences, faces: Ints, scenes: Scenes) -> Floats:
    """Where the landmarks' places are seen in scenes [n, L, 2]."""
    return np.asarray(np.einsum("lk,nlkd->nld", places.barycentrics, scenes.pixels[:, faces[places.faces]]))


def measure_misses(places: Correspondences, faces: Ints, scenes: Scenes) -> Floats:
    """The misses of landmarks [n, L]."""
    off = np.linalg.norm(project_places(places, faces, scenes) - scenes.seen, axis=2)
    return np.asarray(off / scenes.eye_distance[:, None])


def write_correspondences(path: Path, places: Correspondences) -> None:
    """Write the archive that `face_model` describes. Raises OutputError."""
    arrays = {
        "faces": places.faces.astype(np.int32),
        "barycentrics": places.barycentrics.astype(np.float32),
        "confidence": places.confidence.astype(np.float32),
    }
    with write_aside(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def draw_inspection(places: Correspondences, faces: Ints, scenes: Scenes, most: int = 6) -> np.ndarray:
    """Scenes side by side, twice as large: green dots where the landmarker saw the landmarks, red ones where their places are."""
    projected, tiles = project_places(places, faces, scenes), []
    for i in range(min(most, len(scenes.pictures))):
        tile = cv2.resize(scenes.pictures[i], None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)
        for points, color in ((scenes.seen[i], (0, 255, 0)), (projected[i], (255, 0, 0))):
            for x, y in 2 * points:
                cv2.circle(tile, (round(x - 0.5), round(y - 0.5)), 1, color, -1, cv2.LINE_AA)
        tiles.append(tile)
    columns = min(3, len(tiles))
    rows = [np.hstack(tiles[i : i + columns]) for i in range(0, len(tiles) - columns + 1, columns)]
    return np.vstack(rows)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.track.correspondences", description="Find where MediaPipe's landmarks lie on the free head."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="the correspondences")
    parser.add_argument("--template", type=Path, metavar="FILE.npz", help="the free head, in place of the cached one")
    parser.add_argument(
        "--landmarker", type=Path, metavar="FILE.task", help="MediaPipe's model, in place of the one found"
    )
    parser.add_argument("--scenes", type=count, default=160, help="pictures to learn from; a quarter more measure")
    parser.add_argument("--seed", type=int, default=0, help="of persons, faces and views")
    parser.add_argument(
        "--picture", type=Path, metavar="FILE.png", help="write scenes with both kinds of landmarks on them"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the results")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw, look, fit, measure on scenes of other persons, write. Raises RgbAvatarError."""
    options = _parse(arguments)
    for path in (options.out, options.picture):
        if path is not None:
            refuse_existing(path, options.overwrite)
    template = load_blendshape(options.template or free_head_path(None, say))
    with MediaPipeFaces(find_model(options.landmarker, cache_folder())) as finder:
        drawn = [
            draw_scenes(template, finder, number, seed, lambda items: tqdm(items, unit="scene", leave=False))
            for number, seed in ((options.scenes, options.seed), (options.scenes // 4 + 1, options.seed + 1))
        ]
    places, misses = find_places(template, drawn[0])
    write_correspondences(options.out, places)
    fresh = measure_misses(places, template.data.faces, drawn[1])
    say(
        f"{len(drawn[0].seen)} scenes: landmarks miss by {misses.mean():.2%} of the distance between the eyes' outer corners; in "
        f"{len(fresh)} scenes of other persons by {fresh.mean():.2%}, the worst landmark by {fresh.mean(0).max():.2%}"
    )
    if options.picture is not None:
        save_png(options.picture, draw_inspection(places, template.data.faces, drawn[1]))


if __name__ == "__main__":
    run_script(main)
