"""All that is looked at in a subject, put together: findings, a verdict, and what a report shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from rgbavatar.check.conventions import (
    GOOD_INSIDE,
    GOOD_OVERLAP,
    MAX_SHIFT,
    MIN_SHIFT,
    Step,
    apply_steps,
    find_conventions,
    find_shift,
    lies_on_mask,
    misses_mask,
)
from rgbavatar.check.findings import Finding, Severity, name_numbers, note, problem, warning, worst_first
from rgbavatar.check.fit import Fit, measure_fit
from rgbavatar.check.masks import judge_colors, judge_flicker, judge_masks, survey_images
from rgbavatar.check.motion import judge_motion
from rgbavatar.check.opening import OpenSubject
from rgbavatar.check.scene import Scene, read_small, scene_of_tracking, spread
from rgbavatar.check.timeline import first_of_moments, neighbourhoods
from rgbavatar.templates.base import HeadTemplate

GUESS_FRAMES = 24  # that conventions are tried on
SHIFT_FRAMES = 16  # likewise for shifts in time
MIN_SHIFT_FRAMES = 6  # fewer tell nothing about a shift in time
LOST_INSIDE = 0.7  # of a frame whose mesh is off the head while those of most others are on it


@dataclass(frozen=True)
class Inspection:
    """What the check found. frames [m]: positions that were looked at; scene, fit: of them, as stored; steps: conventions that
    fit better."""

    subject: OpenSubject
    frames: Tensor
    scene: Scene
    fit: Fit
    steps: Sequence[Step]
    findings: Sequence[Finding]

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.severity is Severity.PROBLEM]

    @property
    def verdict(self) -> str:
        """One line: whether the subject is fit to train on, and if not, the first thing to do."""
        if not self.problems:
            warnings = sum(finding.severity is Severity.WARNING for finding in self.findings)
            more = f"; {warnings} {'warning' if warnings == 1 else 'warnings'}" if warnings else ""
            inside = f"{100 * self.fit.inside:.0f} % of the mesh inside the mask"
            return f"verdict: good: overlap (IoU) {self.fit.overlap:.2f}, {inside}{more}"
        first, rest = self.problems[0], len(self.problems) - 1
        more = f" (and {rest} more {'problem' if rest == 1 else 'problems'})" if rest else ""
        return f"verdict: not ready: {first.name}: {first.found}; {first.fix}{more}"


def inspect(subject: OpenSubject, template: HeadTemplate, wanted: int) -> Inspection:
    """Look at `wanted` frames of a subject, spread over it. Raises DataError where an image cannot be read."""
    frames = spread(len(subject.numbers), wanted)
    numbers = [subject.numbers[i] for i in frames.tolist()]
    pictures, stats = survey_images(subject.images, frames)
    size = (subject.images.width, subject.images.height)
    scene = scene_of_tracking(subject.tracking, template, frames, pictures, size)
    fit = measure_fit(scene)
    masks = judge_masks(stats, numbers)
    masked = not any(finding.name == "mask-missing" for finding in masks)
    steps = _find_steps(subject, template, scene) if masked else []
    if any(step.guess.name == "mask-inverted" for step in steps):
        masks = []  # what was measured is the background
    fixed = apply_steps(steps, scene)
    found = [
        *subject.findings,
        *(problem(step.guess.name, step.guess.found, step.guess.fix) for step in steps),
        *masks,
        *(_judge_fit(fit, steps, numbers) if masked else _judge_unmasked(fit)),
        *judge_motion(subject.tracking, template),
        *(_flicker(subject, template, wanted, steps) if masked else []),
        *judge_colors(fixed),
    ]
    return Inspection(subject, frames, scene, fit, steps, worst_first(_once(found)))


def _once(findings: Sequence[Finding]) -> list[Finding]:
    """The first finding of each name: two ways of seeing one fault are one."""
    return list({finding.name: finding for finding in reversed(findings)}.values())[::-1]


def _find_steps(subject: OpenSubject, template: HeadTemplate, scene: Scene) -> list[Step]:
    """Conventions that fit better than those of the data, in the order in which they were found."""
    steps, _ = find_conventions(scene.select(spread(len(scene), GUESS_FRAMES)))
    shift = _find_shift(subject, template, steps)
    return [*steps, shift] if shift else steps


def _find_shift(subject: OpenSubject, template: HeadTemplate, steps: Sequence[Step]) -> Step | None:
    """A shift in time, on top of other conventions."""
    tracking, size = subject.tracking, (subject.images.width, subject.images.height)
    reach = min(MAX_SHIFT, len(first_of_moments(tracking)) // 6)
    around = neighbourhoods(tracking, reach)
    if len(around) < MIN_SHIFT_FRAMES or reach < MIN_SHIFT:
        return None
    around = around[spread(len(around), SHIFT_FRAMES)]
    pictures = read_small(subject.images, around[:, reach])

    def scene_at(shift: int) -> Scene:
        return apply_steps(steps, scene_of_tracking(tracking, template, around[:, reach + shift], pictures, size))

    return find_shift(scene_at, reach)


def _judge_fit(fit: Fit, steps: Sequence[Step], numbers: Sequence[int]) -> list[Finding]:
    found = f"mesh and mask overlap by {fit.overlap:.2f} (IoU), and {100 * fit.inside:.0f} % of the mesh lies inside the mask"
    if steps and not misses_mask(steps[-1].after):
        return [note("overlap", f"{found}; {steps[-1].after.overlap:.2f} with what is said above put right")]
    if not lies_on_mask(fit):
        say = problem if misses_mask(fit) else warning
        fix = "no convention that was tried explains it: look at the contact sheet"
        return [say("mesh-misses-mask", f"{found}, expected {GOOD_OVERLAP:.2f} and {100 * GOOD_INSIDE:.0f} %", fix)]
    lost = [number for number, inside in zip(numbers, fit.insides.tolist(), strict=True) if inside < LOST_INSIDE]
    if lost:
        where = f"the mesh is off the head in frames {name_numbers(lost)}"
        return [warning("mesh-lost", where, "track these frames again, or cut them off")]
    return [note("overlap", found)]


def _judge_unmasked(fit: Fit) -> list[Finding]:
    if fit.framed >= 0.5:
        return []
    found = f"only {100 * fit.framed:.0f} % of the mesh lies in the picture"
    return [problem("mesh-misses-picture", found, "with masks, this check can tell which convention is wrong")]


def _flicker(subject: OpenSubject, template: HeadTemplate, wanted: int, steps: Sequence[Step]) -> list[Finding]:
    """Look at half as many frames as wanted, and the ones after them."""
    around = neighbourhoods(subject.tracking, 1)
    if not len(around):
        return []
    pairs = around[spread(len(around), (wanted + 1) // 2), 1:]
    size = (subject.images.width, subject.images.height)
    before, after = (
        apply_steps(steps, scene_of_tracking(subject.tracking, template, some, read_small(subject.images, some), size))
        for some in pairs.T
    )
    return judge_flicker(before, after, [subject.numbers[i] for i in pairs[:, 0].tolist()])
