"""Which convention a subject's numbers were written in, where it is not the expected one.

Each guess is tried on a few frames. Two kinds of evidence count. *Silhouettes*: the mesh misses the mask as stored, and lies
on it under the guess. *Colours*: the silhouette is at least as good under the guess, and the mesh is far steadier. A guess
that is accepted is applied, and the search goes on from there, as two things may be wrong at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import torch

from rgbavatar.check.fit import Fit, measure_fit
from rgbavatar.check.guesses import Group, Guess, all_guesses, shift_guess
from rgbavatar.check.scene import Scene, project, spread
from rgbavatar.geometry.coverage import cover_pixels

GOOD_INSIDE = 0.88  # a mesh lies in the mask but for an ear or the cut neck, and what tracking is off by
GOOD_OVERLAP = 0.35  # hair, neck and shoulders may make a mask more than twice as large as the mesh
LEAST_INSIDE, LEAST_OVERLAP, LEAST_FRAMED = (
    0.70,
    0.20,
    0.40,
)  # of a subject that training takes; masks may cut the neck off
CLEAR_GAIN = 0.12  # of overlap, between a guess and the data as stored
STEADIER = 0.70  # unsteadiness of a guess over that of the data as stored; transposed rotations reach 0.3 to 0.45
LEAST_STEADINESS = 0.25  # of a mesh on a head, however badly; one that covers the whole picture has less
LEAST_STEADIER = 0.03  # a head that keeps still is steady under any guess: small differences tell nothing
SHIFT_STEADIER, SHIFT_LEAST = 0.85, 0.008  # likewise of a shift in time: unsteadiness grows slowly with it
MAX_SHIFT = 12  # frames, and a sixth of the sequence
MIN_SHIFT = 2  # a tracker that smooths may lag by one
_EVEN = 0.02  # overlap that may be lost to gain steadiness; a score within which the simpler of two guesses is taken
_FEW = 8  # frames of the first look at all guesses
_SHORTLIST = 6
_MAX_STEPS = 3


@dataclass(frozen=True)
class Step:
    """A guess that was accepted. before, after: the fit without and with it."""

    guess: Guess
    before: Fit
    after: Fit


def lies_on_mask(fit: Fit) -> bool:
    """Whether a mesh fits its mask as the mesh of a sound subject does."""
    return fit.inside >= GOOD_INSIDE and fit.overlap >= GOOD_OVERLAP


def misses_mask(fit: Fit) -> bool:
    """Whether a mesh is so far off its mask that no avatar can come of it; training refuses such a subject."""
    return fit.inside < LEAST_INSIDE or fit.overlap < LEAST_OVERLAP or fit.framed < LEAST_FRAMED


def is_clearly_better(fit: Fit, stored: Fit) -> bool:
    """Whether a guess is to be believed; the module's head says when."""
    gain = fit.overlap - stored.overlap
    if min(fit.overlap - GOOD_OVERLAP, fit.framed - LEAST_FRAMED, fit.steadiness - LEAST_STEADINESS) < 0:
        return False
    if gain < -_EVEN or fit.inside < stored.inside - _EVEN:
        return False
    by_silhouettes = not lies_on_mask(stored) and gain >= CLEAR_GAIN and fit.steadiness >= stored.steadiness
    return by_silhouettes or _is_steadier(fit, stored, STEADIER, LEAST_STEADIER)


def _is_steadier(fit: Fit, stored: Fit, share: float, least: float) -> bool:
    """Whether unsteadiness falls to `share` of what it was, and by `least`."""
    unsteady, as_stored = 1 - fit.steadiness, 1 - stored.steadiness
    return unsteady <= share * as_stored and as_stored - unsteady >= least


def score(fit: Fit) -> float:
    """What guesses that are both believable are compared by."""
    return fit.overlap + fit.steadiness


def find_conventions(scene: Scene, pairs: bool = True) -> tuple[list[Step], Scene]:
    """The guesses that put a scene right, none for a sound one, and the scene as they leave it.

    pairs: where no guess alone helps, try all pairs too, which takes some seconds.
    """
    steps: list[Step] = []
    fit = measure_fit(scene)
    while len(steps) < _MAX_STEPS:
        used = {step.guess.group for step in steps}
        guesses = [guess for guess in (*all_guesses(scene), *_moved_centre(scene)) if guess.group not in used]
        step = _best_step(scene, fit, guesses)
        if step is None:
            break
        steps.append(step)
        scene, fit = step.guess.change(scene), step.after
    if pairs and not steps and not lies_on_mask(fit):
        return _find_pair(scene, fit)
    return steps, scene


def _best_step(scene: Scene, stored: Fit, guesses: Sequence[Guess]) -> Step | None:
    """The best of the guesses that are clearly better than the scene as it is, if there is one."""
    few = scene.select(spread(len(scene), _FEW))
    first = [(guess, measure_fit(guess.change(few))) for guess in guesses]
    first.sort(key=lambda tried: -score(tried[1]))  # stable: the simpler one first
    tried = [(guess, measure_fit(guess.change(scene))) for guess, _ in first[:_SHORTLIST]]
    good = [(guess, fit) for guess, fit in tried if is_clearly_better(fit, stored)]
    if not good:
        return None
    enough = max(score(fit) for _, fit in good) - _EVEN
    order = {guess: place for place, guess in enumerate(guesses)}
    guess, fit = min((pair for pair in good if score(pair[1]) >= enough), key=lambda pair: order[pair[0]])
    return Step(guess, stored, fit)


def _find_pair(scene: Scene, stored: Fit) -> tuple[list[Step], Scene]:
    """Two guesses that help together, where none helps alone."""
    few = scene.select(spread(len(scene), _FEW))
    best: tuple[float, Guess, Guess] | None = None
    for first, second in combinations(list(all_guesses(scene)), 2):
        if first.group is not second.group:
            value = score(measure_fit(second.change(first.change(few))))
            if best is None or value > best[0] + _EVEN:
                best = value, first, second
    if best is None:
        return [], scene
    _, first, second = best
    half, whole = first.change(scene), second.change(first.change(scene))
    between, after = measure_fit(half), measure_fit(whole)
    if not (is_clearly_better(after, stored) and lies_on_mask(after)):
        return [], scene
    return [Step(first, stored, between), Step(second, between, after)], whole


def _moved_centre(scene: Scene) -> Iterable[Guess]:
    """A guess that moves the principal point by what lays the silhouettes on the masks, found by correlating the two."""
    h, w = scene.pictures.shape[1:3]
    pixels = project(scene)[0] + torch.tensor([w / 2, h / 2])
    mesh = cover_pixels(pixels, scene.faces, 2 * w, 2 * h).double()
    mask = torch.nn.functional.pad(scene.masks.double(), (w // 2, w - w // 2, h // 2, h - h // 2))
    if not (mesh.any() and mask.any()):
        return
    product = torch.fft.rfft2(mask) * torch.fft.rfft2(mesh).conj()
    place = int(torch.fft.irfft2(product, s=mesh.shape[1:]).sum(0).argmax())
    dy, dx = (_signed(at, size) for at, size in zip(divmod(place, 2 * w), (2 * h, 2 * w), strict=True))
    x, y = dx * scene.width / w, dy * scene.height / h
    if max(abs(dx), abs(dy)) > 1:
        yield Guess(
            "centre-moved",
            Group.INTRINSICS,
            f"the principal point is off by about ({x:.0f}, {y:.0f}) pixels, as after cropping or padding the images",
            f"add about {x:.0f} to cx and {y:.0f} to cy, or give the images that were tracked",
            lambda s: replace(s, intrinsics=s.intrinsics + s.intrinsics.new_tensor([0, 0, x, y])),
        )


def _signed(place: int, size: int) -> int:
    """A place on a circle as the shorter way to it."""
    return place - size if place > size // 2 else place


def find_shift(scene_at: Callable[[int], Scene], reach: int) -> Step | None:
    """A shift in time between images and tracking, if there is one.

    scene_at(s): the pictures of some frames with what was tracked s frames later, for s from -reach to reach.
    """
    stored = measure_fit(scene_at(0))
    fits: dict[int, Fit] = {0: stored}

    def best() -> int:
        return max(fits, key=lambda shift: (score(fits[shift]), -abs(shift)))

    for shift in range(-reach + reach % 3, reach + 1, 3):
        fits.setdefault(shift, measure_fit(scene_at(shift)))
    while near := [shift for shift in (best() - 1, best() + 1) if abs(shift) <= reach and shift not in fits]:
        fits |= {shift: measure_fit(scene_at(shift)) for shift in near}
    shift, fit = best(), fits[best()]
    steadier = _is_steadier(fit, stored, SHIFT_STEADIER, SHIFT_LEAST)
    if abs(shift) < MIN_SHIFT or fit.overlap < stored.overlap or not steadier:
        return None
    return Step(shift_guess(shift), stored, fit)


def apply_steps(steps: Sequence[Step], scene: Scene) -> Scene:
    """A scene with all accepted guesses applied."""
    for step in steps:
        scene = step.guess.change(scene)
    return scene
