"""A blendshape template from a folder of OBJ files: `python -m rgbavatar.templates.convert_obj FOLDER --out head.npz`.

The folder holds the *neutral* mesh, one mesh for each expression and, if the model has them, one for each identity mode, all with
the same vertices in the same order: the whole face as it looks where the coefficient is 1. Names decide which is which. Without
further arguments that of ICT-FaceKit (generic_neutral_mesh.obj, identity000.obj ..., jawOpen.obj ...) and of FaceWarehouse
(shape_0.obj, shape_1.obj ...) is understood: neutral is `generic_neutral_mesh`, `shape_0` or the only name with `neutral` in it;
identity modes are `identity*`; all others are expressions. Only the neutral mesh needs faces and UVs.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from rgbavatar.cli import positive, run_script, say
from rgbavatar.errors import TemplateError
from rgbavatar.io.run_dir import refuse_existing
from rgbavatar.templates.blendshape_data import BlendshapeData, EyeJoints, load_blendshape_data, write_blendshape_data
from rgbavatar.templates.obj import NO_UV, ObjMesh, read_obj, read_obj_vertices
from rgbavatar.templates.uv_layers import separate_uv

NEUTRAL_NAMES = ("generic_neutral_mesh", "shape_0")
IDENTITY_PATTERN, EXPRESSION_PATTERN = "identity*", "*"
AXES = ("x", "-x", "y", "-y", "z", "-z")
UNITS: Mapping[str, float] = {"metres": 1.0, "decimetres": 0.1, "centimetres": 0.01, "millimetres": 0.001}
_HEAD = (0.12, 0.6)  # metres: a head's height, from a mask of the face alone to a bust
_FARTHEST = 0.25  # of the head's size, by which half of the vertices may move in one shape
_UNROUND = 0.1  # of the radius, by which vertices of an eyeball may miss the sphere on average: corneas bulge
_RANGE = re.compile(r"(\d+)-(\d+)")

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True)
class ConvertSettings:
    """How to read a folder. neutral, identity, expression: names without `.obj`; the last two are patterns with * and ?.

    order: names of the expressions in the tracker's order, those of the files by default. scale: metres of a unit, guessed if
    None. up, front: axes of the files that point up and out of the face. keep, drop: labels of what is used, or is not.
    eyes: labels or vertex ranges FIRST-LAST (from 0) of the left and the right eyeball. pivot: in the files' space. neck:
    heights in it, the lower one where vertices stay when the head turns, the upper one where they turn.
    """

    neutral: str | None = None
    identity: str = IDENTITY_PATTERN
    expression: str = EXPRESSION_PATTERN
    order: tuple[str, ...] = ()
    scale: float | None = None
    up: str = "y"
    front: str = "z"
    keep: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    eyes: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())
    pivot: tuple[float, float, float] | None = None
    neck: tuple[float, float] | None = None
    precision: str = "float32"


@dataclass(frozen=True)
class ObjFolder:
    """The files of a model by their part in it."""

    neutral: Path
    identity: list[Path]
    expression: list[Path]


def find_files(folder: Path, settings: ConvertSettings) -> ObjFolder:
    """Sort the OBJ files of a folder by their names; numbers in them count as such. Raises TemplateError."""
    if not folder.is_dir():
        raise TemplateError(f"{folder}: found no such folder, expected one of OBJ files")
    files = {path.stem: path for path in folder.iterdir() if path.suffix.lower() == ".obj"}
    if not files:
        raise TemplateError(f"{folder}: found no .obj file, expected a neutral mesh and one for each expression")
    neutral = _find_neutral(folder, list(files), settings.neutral)
    others = sorted((name for name in files if name != neutral), key=_natural)
    identity = [name for name in others if fnmatchcase(name, settings.identity)]
    expression = [name for name in others if fnmatchcase(name, settings.expression) and name not in identity]
    if not expression:
        raise TemplateError(
            f"{folder}: found no expression among {len(others)} files, expected names like {settings.expression}"
        )
    ordered = _in_order(folder, expression, settings.order)
    return ObjFolder(files[neutral], [files[name] for name in identity], [files[name] for name in ordered])


def _natural(name: str) -> list[tuple[int, str]]:
    """A key that puts shape_2 before shape_10."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in re.split(r"(\d+)", name)]


def _find_neutral(folder: Path, names: Sequence[str], wanted: str | None) -> str:
    if wanted is not None:
        if wanted.removesuffix(".obj") not in names:
            raise TemplateError(
                f"{folder}: found no {wanted.removesuffix('.obj')}.obj, expected the neutral mesh of --neutral"
            )
        return wanted.removesuffix(".obj")
    known = [name for name in NEUTRAL_NAMES if name in names]
    found = known or sorted(name for name in names if "neutral" in name.lower())
    if len(found) != 1 and not known:
        held = ", ".join(found or sorted(names, key=_natural)[:5])
        raise TemplateError(f"{folder}: found {held}, expected one neutral mesh among them: name it with --neutral")
    return found[0]


def _in_order(folder: Path, names: list[str], order: Sequence[str]) -> list[str]:
    """The names in the order that is wanted. Raises TemplateError where the two do not name the same."""
    if not order:
        return names
    for here, there, what in ((order, names, "no file of"), (names, order, "a file that it does not name:")):
        odd = [name for name in here if name not in there]
        if odd:
            raise TemplateError(
                f"{folder}: --order: found {what} {odd[0]!r} ({len(odd)} such), expected one for each expression"
            )
    return list(order)


def convert_folder(
    folder: Path,
    settings: ConvertSettings,
    tell: Callable[[str], None],
    bar: Callable[[list[Path]], Iterable[Path]] = iter,
) -> BlendshapeData:
    """Read a folder of OBJ files as a template. tell: is told what was found and guessed. Raises TemplateError."""
    files = find_files(folder, settings)
    mesh = read_obj(files.neutral)
    used = _used_faces(files.neutral, mesh, settings)
    kept = np.unique(mesh.faces[used])
    axes = axes_to_template(settings.up, settings.front)
    scale = settings.scale or _guess_scale(files.neutral, float(np.ptp((mesh.vertices[kept] @ axes.T)[:, 1])), tell)
    to_template = scale * axes
    neutral = mesh.vertices[kept] @ to_template.T
    paths = [*files.identity, *files.expression]
    deltas = np.empty((len(paths), len(kept), 3), settings.precision)
    for i, path in enumerate(bar(paths)):
        deltas[i] = _read_shape(path, files.neutral, len(mesh.vertices))[kept] @ to_template.T - neutral
        _check_delta(path, deltas[i], neutral)
    identity, expression = deltas[: len(files.identity)], deltas[len(files.identity) :]
    uv, uv_faces = _lay_out_uv(mesh, used, neutral, kept, tell)
    pivot = np.zeros(3) if settings.pivot is None else to_template @ np.array(settings.pivot)
    if settings.neck is not None and settings.pivot is None:
        raise TemplateError("--neck: found no --pivot to go with it, expected the point that the head turns about")
    return BlendshapeData(
        neutral=neutral,
        faces=np.searchsorted(kept, mesh.faces[used]),
        uv=uv,
        uv_faces=uv_faces,
        expression=expression,
        expression_names=tuple(path.stem for path in files.expression),
        identity=identity,
        identity_names=tuple(path.stem for path in files.identity),
        eyes=_find_eyes(files.neutral, mesh, kept, neutral, identity, settings.eyes),
        pivot=pivot,
        head_weights=_rise(neutral[:, 1], settings.neck, scale),
    )


def _rise(heights: Floats, neck: tuple[float, float] | None, scale: float) -> Floats:
    """How far vertices of some heights [V], metres, turn with the head: a smooth step between the heights of the neck."""
    if neck is None:
        return np.ones(len(heights))
    low, high = scale * min(neck), scale * max(neck)
    share = ((heights - low) / max(high - low, 1e-9)).clip(0, 1)
    return share * share * (3 - 2 * share)


def axes_to_template(up: str, front: str) -> Floats:
    """The rotation [3, 3] that takes a file's axes to x left, y up, z out of the face. Raises TemplateError."""
    y, z = (np.eye(3)["xyz".index(axis[-1])] * (-1 if axis[0] == "-" else 1) for axis in (up, front))
    if y @ z:
        raise TemplateError(f"--up {up} --front {front}: found the same axis twice, expected two different ones")
    return np.stack((np.cross(y, z), y, z))


def _guess_scale(path: Path, height: float, tell: Callable[[str], None]) -> float:
    """Metres of a unit, from the mesh's height in units. Raises TemplateError where none gives a head."""
    fitting = [(name, scale) for name, scale in UNITS.items() if _HEAD[0] <= height * scale <= _HEAD[1]]
    if len(fitting) != 1:
        raise TemplateError(
            f"{path}: the mesh is {height:.4g} units high, which no unit makes a head: give --scale, in metres"
        )
    [(name, scale)] = fitting
    tell(
        f"units: {name}, guessed from a height of {height:.4g}; give --scale if the head is not {height * scale:.3f} m high"
    )
    return scale


def _used_faces(path: Path, mesh: ObjMesh, settings: ConvertSettings) -> Ints:
    """Triangles that are kept. Raises TemplateError where a label is unknown, nothing is left, or one has no UV."""
    _check_labels(path, mesh, (*settings.keep, *settings.drop))
    chosen = mesh.labelled(settings.keep) if settings.keep else np.ones(len(mesh.faces), bool)
    chosen &= ~mesh.labelled(settings.drop)
    bare = chosen & (mesh.uv_faces == NO_UV).any(1)
    if not chosen.any():
        raise TemplateError(f"{path}: --keep and --drop leave none of {len(mesh.faces)} triangles")
    if bare.any():
        names = sorted(frozenset().union(*(mesh.labels[i] for i in np.unique(mesh.face_labels[bare])))) or ["no name"]
        raise TemplateError(
            f"{path}: {bare.sum()} of {chosen.sum()} triangles have no UV (of {', '.join(names[:6])}), expected one at each "
            f"corner: give the neutral mesh UVs, or leave them out with --drop"
        )
    return np.flatnonzero(chosen)


def _check_labels(path: Path, mesh: ObjMesh, names: Iterable[str]) -> None:
    unknown = [name for name in names if name not in mesh.names]
    if unknown:
        held = ", ".join(mesh.names[:12]) or "none"
        raise TemplateError(f"{path}: found no group, object or material {unknown[0]!r}, expected one of: {held}")


def _read_shape(path: Path, neutral: Path, count: int) -> Floats:
    vertices = read_obj_vertices(path)
    if len(vertices) != count:
        raise TemplateError(
            f"{path}: found {len(vertices)} vertices, expected {count} as in {neutral.name}, in the same order"
        )
    return vertices


def _check_delta(path: Path, delta: np.ndarray, neutral: Floats) -> None:
    """Raise TemplateError where so many vertices move so far that they cannot be those of the neutral mesh."""
    size = float(np.ptp(neutral, axis=0).max())
    moved = float(np.median(np.linalg.norm(delta.astype(np.float64), axis=1)))
    if moved > _FARTHEST * size:
        raise TemplateError(
            f"{path}: half of its vertices lie {moved / size:.0%} of the head's size or more from the neutral mesh's, expected "
            f"the same head with another face: are they in the same order and units, and whole faces, not differences?"
        )


def _lay_out_uv(
    mesh: ObjMesh, used: Ints, neutral: Floats, kept: Ints, tell: Callable[[str], None]
) -> tuple[Floats, Ints]:
    """UV vertices and faces of the kept triangles, moved where parts of the head share a place. Tells what was moved."""
    a, b, c = neutral[np.searchsorted(kept, mesh.faces[used])].transpose(1, 0, 2)
    areas = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    layers = separate_uv(mesh.uv, mesh.uv_faces[used], mesh.faces[used], areas)
    if layers.count > 1:
        tell(f"UV: parts lie over each other or in several unit squares; packed as {layers.count} squares into one")
    if layers.hidden > 0.05:
        tell(f"UV: {layers.hidden:.0%} of the map lies over itself; what is underneath gets no Gaussians")
    return layers.uv, layers.uv_faces


def _find_eyes(
    path: Path, mesh: ObjMesh, kept: Ints, neutral: Floats, identity: np.ndarray, eyes: Sequence[Sequence[str]]
) -> EyeJoints | None:
    """Joints at the centres of the spheres that fit the eyeballs. Raises TemplateError."""
    if not any(eyes):
        return None
    if not all(eyes):
        raise TemplateError("--eye_left and --eye_right: found one of them, expected both or neither")
    members = [np.isin(kept, _eyeball(path, mesh, tokens)) for tokens in eyes]
    for tokens, mine in zip(eyes, members, strict=True):
        if mine.sum() < 4:
            raise TemplateError(f"{path}: {' '.join(tokens)}: found {mine.sum()} vertices in use, expected an eyeball")
    centers = np.stack(
        [fit_sphere(neutral[mine], f"{path}: {' '.join(t)}") for t, mine in zip(eyes, members, strict=True)]
    )
    if centers[0, 0] <= centers[1, 0]:
        raise TemplateError(
            f"{path}: the left eye's centre is at x = {centers[0, 0]:.3f} m, the right one's at {centers[1, 0]:.3f} m, expected "
            f"the left one farther in x: left is the head's own; swap --eye_left and --eye_right, or correct --up and --front"
        )
    moved = [
        [fit_sphere((neutral + mode)[mine], str(path)) for mine in members] for mode in identity.astype(np.float64)
    ]
    return EyeJoints(centers, np.array(moved).reshape(-1, 2, 3) - centers, np.stack(members, 1).astype(np.float64))


def _eyeball(path: Path, mesh: ObjMesh, tokens: Sequence[str]) -> Ints:
    """Vertices that labels or ranges FIRST-LAST (from 0, both included) name."""
    ranges = [match for match in map(_RANGE.fullmatch, tokens) if match]
    labels = [token for token in tokens if not _RANGE.fullmatch(token)]
    _check_labels(path, mesh, labels)
    parts = [np.arange(int(match[1]), int(match[2]) + 1) for match in ranges]
    return np.unique(np.concatenate([mesh.faces[mesh.labelled(labels)].ravel(), *parts]))


def fit_sphere(points: Floats, name: str) -> Floats:
    """Centre [3] of the sphere nearest to points [n, 3]: |p|² = 2 p c + (r² - |c|²), by least squares.

    Raises TemplateError where they do not lie on one.
    """
    middle = points.mean(0)
    arms = points - middle
    system = np.column_stack((2 * arms, np.ones(len(arms))))
    solution, _, rank, _ = np.linalg.lstsq(system, (arms**2).sum(1), rcond=1e-9)
    center = solution[:3]
    radius = np.sqrt(max(float(solution[3] + center @ center), 0.0))
    missed = float(np.abs(np.linalg.norm(arms - center, axis=1) - radius).mean())
    if rank < 4 or missed > _UNROUND * radius:
        raise TemplateError(f"{name}: found {len(points)} vertices that lie on no sphere, expected an eyeball")
    return middle + center


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.templates.convert_obj",
        description="Make a blendshape template from a folder of OBJ files.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("folder", type=Path, help="folder of OBJ files: the neutral mesh, one for each expression")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE.npz", help="the template that is written")
    parser.add_argument("--neutral", metavar="NAME", help="the neutral mesh, in place of the one that its name tells")
    parser.add_argument("--identity", default=IDENTITY_PATTERN, metavar="PATTERN", help="names of identity modes")
    parser.add_argument("--expression", default=EXPRESSION_PATTERN, metavar="PATTERN", help="names of expressions")
    parser.add_argument(
        "--order", type=Path, help="text file of the expressions' names in the tracker's order, one a line"
    )
    parser.add_argument("--scale", type=positive, help="metres of a unit of the files; guessed from the head's height")
    parser.add_argument("--up", choices=AXES, default="y", help="axis of the files that points up")
    parser.add_argument("--front", choices=AXES, default="z", help="axis that points out of the face; --front=-y")
    parser.add_argument("--keep", nargs="+", default=[], metavar="NAME", help="only these groups, objects, materials")
    parser.add_argument(
        "--drop", nargs="+", default=[], metavar="NAME", help="none of these groups, objects, materials"
    )
    eyeball = "groups, objects, materials or vertices FIRST-LAST (from 0) of the {} eyeball, which then turns"
    parser.add_argument("--eye_left", nargs="+", default=[], metavar="NAME", help=eyeball.format("head's own left"))
    parser.add_argument("--eye_right", nargs="+", default=[], metavar="NAME", help=eyeball.format("right"))
    parser.add_argument(
        "--pivot", type=float, nargs=3, metavar=("X", "Y", "Z"), help="top of the neck, in the files' space"
    )
    parser.add_argument(
        "--neck", type=float, nargs=2, metavar=("LOW", "HIGH"), help="heights between which the neck bends"
    )
    parser.add_argument("--precision", choices=("float32", "float16"), default="float32", help="of the stored deltas")
    parser.add_argument("--overwrite", action="store_true", help="replace the template")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse, convert, read what was written, say what it holds. Raises RgbAvatarError."""
    options = _parse(arguments)
    refuse_existing(options.out, options.overwrite)
    settings = ConvertSettings(
        neutral=options.neutral,
        identity=options.identity,
        expression=options.expression,
        order=_read_order(options.order),
        scale=options.scale,
        up=options.up,
        front=options.front,
        keep=tuple(options.keep),
        drop=tuple(options.drop),
        eyes=(tuple(options.eye_left), tuple(options.eye_right)),
        pivot=None if options.pivot is None else tuple(options.pivot),
        neck=None if options.neck is None else tuple(options.neck),
        precision=options.precision,
    )
    data = convert_folder(options.folder, settings, say, lambda paths: tqdm(paths, unit="file", leave=False))
    write_blendshape_data(options.out, data)
    say(describe(load_blendshape_data(options.out), options.out))


def _read_order(path: Path | None) -> tuple[str, ...]:
    if path is None:
        return ()
    try:
        lines = path.read_text().splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise TemplateError(f"{path}: cannot be read ({error}), expected a text file of names, one a line") from error
    return tuple(line.strip() for line in lines if line.strip())


def describe(data: BlendshapeData, path: Path) -> str:
    """One line on what a template's file holds."""
    eyes = "eye joints" if data.eyes else "no eye joints"
    return (
        f"{len(data.neutral)} vertices, {len(data.faces)} triangles, {len(data.expression)} expressions "
        f"({data.expression_names[0]} ... {data.expression_names[-1]}), {len(data.identity)} identity modes, {eyes}; "
        f"{path.stat().st_size / 1e6:.1f} MB: {path}"
    )


if __name__ == "__main__":
    run_script(main)
