"""The fast part of the check, for scripts that train: does the mesh lie on the mask at all?"""

from __future__ import annotations

from rgbavatar.check.conventions import LEAST_INSIDE, LEAST_OVERLAP, find_conventions, misses_mask
from rgbavatar.check.fit import measure_fit
from rgbavatar.check.masks import EMPTY, FULL
from rgbavatar.check.scene import Scene, make_small, scene_of_dataset, spread, with_head_pose
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.errors import DataError

FRAMES = 8  # looked at first
MORE_FRAMES = 24  # looked at where these are bad, to tell why
SWITCH = "or set dataset.check=false to train all the same"


def check_before_training(dataset: HeadDataset) -> None:
    """Look at a few frames. Raises DataError, one line, where the mesh misses the mask, with the convention that is likely wrong.

    Takes a fraction of a second where all is well, whatever the number of frames.
    """
    scene = _take(dataset, FRAMES)
    covered = scene.masks.double().mean((1, 2))
    if (covered < EMPTY).all():
        raise DataError(
            f"subject {dataset.subject}: alpha is 0 in all of {len(scene)} images looked at, expected the head's mask; "
            f"cut the head out again, {SWITCH}"
        )
    fit = measure_fit(scene)
    if (covered > FULL).all():
        return  # no masks: nothing to lay the mesh on, and that is the user's choice
    if not misses_mask(fit):
        return
    raise DataError(
        f"subject {dataset.subject}: the tracked mesh misses the mask: found {fit.inside:.0%} of it inside and an overlap "
        f"(IoU) of {fit.overlap:.2f}, expected at least {LEAST_INSIDE:.0%} and {LEAST_OVERLAP:.2f}; {_explain(dataset)}"
    )


def _take(dataset: HeadDataset, count: int) -> Scene:
    frames = spread(len(dataset), count)
    return scene_of_dataset(dataset, frames, make_small(dataset.images.read(frames)))


def _explain(dataset: HeadDataset) -> str:
    """What is likely wrong, and what to do."""
    look = f"look at `python -m rgbavatar.check {dataset.subject}`, {SWITCH}"
    scene = with_head_pose(_take(dataset, MORE_FRAMES), dataset.template)
    steps, _ = find_conventions(scene)
    if not steps:
        return look
    likely = "; ".join(f"{step.guess.found}: {step.guess.fix} ({step.guess.name})" for step in steps)
    return f"likely {likely}; {look}"
