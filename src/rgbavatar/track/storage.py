"""What is found on the way, kept in files of numpy arrays, so that a tracking that was stopped need not begin anew."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from rgbavatar.io.files import write_aside
from rgbavatar.track.first_pass import FirstPass
from rgbavatar.track.fit import Fit
from rgbavatar.track.landmarks import Face
from rgbavatar.track.pose import Motion, Person

Arrays = dict[str, np.ndarray]
MOTION = ("rotation", "position", "expression", "gaze")


def write_first_pass(path: Path, found: FirstPass) -> None:
    """Keep a first pass in a file of numpy arrays. Raises OutputError."""
    names = sorted(found.faces[0].scores)
    rest = {
        "size": found.size,
        "numbers": found.numbers,
        "cuts": found.cuts,
        "lost": [[number, why] for number, why in found.lost.items()],
        "crowded": found.crowded,
        "pictures": found.pictures,
        "rate": found.rate,
        "names": names,
    }
    arrays = {
        "rest": np.array(json.dumps(rest)),
        "seconds": found.seconds,
        "points": np.stack([face.points for face in found.faces]).astype(np.float32),
        "scores": np.array([[face.scores[name] for name in names] for face in found.faces]),
    }
    _write(path, arrays | _fit_arrays(Fit(found.person, found.motion)))


def read_first_pass(path: Path) -> FirstPass:
    """Read what `write_first_pass` wrote."""
    arrays = _read(path)
    rest = json.loads(str(arrays["rest"]))
    scores = [dict(zip(rest["names"], row, strict=True)) for row in arrays["scores"].tolist()]
    faces = [Face(points.astype(float), some) for points, some in zip(arrays["points"], scores, strict=True)]
    fit = _fit_from(arrays)
    return FirstPass(
        size=(rest["size"][0], rest["size"][1]),
        numbers=rest["numbers"],
        seconds=arrays["seconds"],
        faces=faces,
        motion=fit.motion,
        person=fit.person,
        cuts=rest["cuts"],
        lost=dict(rest["lost"]),
        crowded=rest["crowded"],
        pictures=rest["pictures"],
        rate=rest["rate"],
    )


def write_fit(path: Path, fit: Fit) -> None:
    """Keep a fit. Raises OutputError."""
    _write(path, _fit_arrays(fit))


def read_fit(path: Path) -> Fit:
    """Read what `write_fit` wrote."""
    return _fit_from(_read(path))


def _fit_arrays(fit: Fit) -> Arrays:
    person = {"identity": fit.person.identity, "middle": fit.person.middle, "offsets": fit.person.offsets}
    return person | {"focal": np.array(fit.person.focal)} | {name: getattr(fit.motion, name) for name in MOTION}


def _fit_from(arrays: Arrays) -> Fit:
    person = Person(arrays["identity"], float(arrays["focal"]), arrays["middle"], arrays["offsets"])
    return Fit(person, Motion(*(arrays[name] for name in MOTION)))


def _write(path: Path, arrays: Arrays) -> None:
    with write_aside(path) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)


def _read(path: Path) -> Arrays:
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}
