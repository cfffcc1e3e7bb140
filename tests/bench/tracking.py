"""How well a video is tracked whose truth is known: `python -m tests.bench.tracking --seeds 0 1`.

The free head, rendered as persons that no tracker has seen, goes through `rgbavatar.track` as a video would; what comes out is
compared with the truth, with the focal length given and without. One camera cannot tell how large a head is, so places are
compared after one factor, the same for all frames, that makes the heads equally large. "About its mean": one turn, common to all
frames, is taken away first.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rgbavatar.datasets.images import default_workers
from rgbavatar.datasets.parameter_file import read_parameter_file
from rgbavatar.io.images import save_png
from rgbavatar.prepare.pictures import read_picture
from rgbavatar.templates.blendshape import load_blendshape
from rgbavatar.templates.free_head import LANDMARKS, cache_folder, free_head_path
from rgbavatar.track.mediapipe_faces import MediaPipeFaces, find_model
from rgbavatar.track.options import Framing, Options
from rgbavatar.track.turns import turn_between
from rgbavatar.track.work import track
from tests.helpers.free_subject import FreeSubject, make_free_subject

Floats = NDArray[np.float64]


def write_video(subject: FreeSubject, folder: Path) -> None:
    """Pictures by their numbers, and coverages beside them."""
    for name in ("pictures", "coverage"):
        (folder / name).mkdir(parents=True)
    for number, (picture, coverage) in enumerate(subject.video()):
        save_png(folder / "pictures" / f"{number:05d}.png", picture)
        cv2.imwrite(str(folder / "coverage" / f"{number:05d}.png"), (255 * coverage).round().astype(np.uint8))


def track_video(subject: FreeSubject, folder: Path, name: str, focal: float | None) -> dict[str, float]:
    """Track, and compare with the truth."""
    options = Options(
        source=str(folder / "pictures"),
        subject=folder / name,
        template=free_head_path(),
        landmarks=LANDMARKS,
        model=find_model(None, cache_folder()),
        framing=Framing.WHOLE,
        focal=focal,
        frames_per_second=30.0,
    )
    done = track(options, lambda: MediaPipeFaces(options.model), default_workers())
    numbers = np.array(done.record.frames)
    return {**compare(subject, options.subject, numbers), **compare_masks(folder, options.subject, numbers)} | {
        "landmarks, % of the eye distance": done.record.numbers["error_percent"],
        "frames lost": float(len(subject.tracked) - len(numbers)),
        "frames/s": done.record.numbers["pictures_per_second"],
    }


def compare(subject: FreeSubject, folder: Path, numbers: NDArray[np.int64]) -> dict[str, float]:
    middle = subject.template.data.neutral.mean(0)
    found = [read_parameter_file(folder / "parameters" / f"{i:05d}.npz") for i in range(len(numbers))]
    rotation = np.stack([np.asarray(frame.rotation) for frame in found])
    place = np.stack([np.asarray(frame.rotation) @ middle + np.asarray(frame.translation) for frame in found])
    expression = np.stack([np.asarray(frame.expression) for frame in found])
    turns = np.degrees(own_turns(subject.rotation[numbers], rotation))
    factor = head_size(subject, np.asarray(subject.tracked[0].shape)) / head_size(subject, np.asarray(found[0].shape))
    truth, distance = subject.place[numbers], np.linalg.norm(subject.place[numbers], axis=1)
    off = np.linalg.norm(place * factor - truth, axis=1) / distance
    meant = subject.expression[numbers]
    moved = np.flatnonzero(meant.std(0) > 0.01)
    return {
        "focal length, factor": float(found[0].intrinsics[0] / subject.tracked[0].intrinsics[0]),
        "turn, degrees": float(np.linalg.norm(turns, axis=1).mean()),
        "turn about its mean, degrees": float(np.linalg.norm(turns - turns.mean(0), axis=1).mean()),
        "place, % of the distance": 100 * float(off.mean()),
        "expressions, correlation": float(np.corrcoef(meant.ravel(), expression.ravel())[0, 1]),
        "each that moves, correlation": float(
            np.mean([np.corrcoef(meant[:, i], expression[:, i])[0, 1] for i in moved if expression[:, i].std() > 0])
        ),
    }


def own_turns(first: Floats, second: Floats) -> Floats:
    """Axis times angle [n, 3] from one rotation [n, 3, 3] to another, in the head's own axes."""
    return np.asarray(np.einsum("nij,ni->nj", first, turn_between(first, second)))


def head_size(subject: FreeSubject, identity: Floats) -> float:
    """Mean distance of a person's vertices from their middle, metres."""
    data = subject.template.data
    points = data.neutral + np.einsum("s,svc->vc", identity, data.identity)
    return float(np.linalg.norm(points - points.mean(0), axis=1).mean())


def compare_masks(folder: Path, made: Path, numbers: NDArray[np.int64]) -> dict[str, float]:
    """Intersection over union of what is more than half covered, mean over some frames."""
    shares = []
    for position in range(0, len(numbers), 10):
        path = folder / "coverage" / f"{numbers[position]:05d}.png"
        meant = read_picture(made / "images" / f"{position:05d}.png")[..., 3] > 127
        truth = cv2.imread(str(path), cv2.IMREAD_UNCHANGED) > 127
        shares.append((meant & truth).sum() / (meant | truth).sum())
    return {"masks, intersection over union": float(np.mean(shares))}


def main() -> None:
    """Parse, run, report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--size", type=int, default=512)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1])
    parser.add_argument("--keep", type=Path, help="folder to leave the videos and subjects in")
    arguments = parser.parse_args()
    template = load_blendshape(free_head_path())
    for seed in arguments.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            folder = (arguments.keep or Path(scratch)) / str(seed)
            subject = make_free_subject(template, arguments.frames, arguments.size, seed)
            write_video(subject, folder)
            for name, focal in (("known", float(subject.tracked[0].intrinsics[0])), ("unknown", None)):
                for key, value in track_video(subject, folder, name, focal).items():
                    sys.stdout.write(f"person {seed}, lens {name}: {key}: {value:.3f}\n")


if __name__ == "__main__":
    main()
