"""Preparing a subject: plan it, then write what is not there yet, a picture and its tracked frame at a time."""

from __future__ import annotations

import dataclasses
import io
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from tqdm import tqdm

from rgbavatar.datasets.frame_file import TrackedFrame, write_frame_file
from rgbavatar.errors import OutputError, Stopped
from rgbavatar.io.files import make_folder, write_bytes
from rgbavatar.io.images import save_png
from rgbavatar.prepare.masks import Classes, bounding_box, clean_mask, parse_classes
from rgbavatar.prepare.matting import REACH_EDGES, estimate_foreground, refine_alpha
from rgbavatar.prepare.options import Matting, Options
from rgbavatar.prepare.plan import (
    Plan,
    check_same_settings,
    finished,
    frame_path,
    picture_path,
    read_plan,
    remove_results,
    stamp_listing,
    write_plan,
)
from rgbavatar.prepare.resize import Window, cut, fit_frame, resize_straight
from rgbavatar.prepare.survey import Raw, read_raw, survey
from rgbavatar.prepare.threads import run_all
from rgbavatar.prepare.tracker_folder import RawSubject, Source, VideoPicture, find_raw, read_video


@dataclass(frozen=True)
class Prepared:
    """What was done. kept: results that were there before."""

    raw: RawSubject
    plan: Plan
    kept: int


def prepare(options: Options, workers: int) -> Prepared:
    """Prepare a subject, or go on where an earlier call was stopped.

    Raises DataError naming a file that is missing or broken, OutputError where the subject's folder holds anything else or
    cannot be written, ConfigError, and Stopped for Ctrl-C.
    """
    classes = parse_classes(options.classes) if options.classes else None
    old = _open_folder(options)
    raw = find_raw(options.tracker, options.images, options.masks, options.shift)
    plan = _reused_plan(options, old, stamp_listing(raw))
    try:
        if plan is None:
            with _bar("look", len(raw.sources)) as bar:
                plan = survey(raw, options, classes, workers, bar.update)
        kept = _begin(options, old, plan)
        _write_results(options, raw, plan, kept, classes, workers)
    except KeyboardInterrupt as stop:
        raise Stopped(signal.SIGINT, "stopped; the same command goes on from here") from stop
    write_plan(options.subject, dataclasses.replace(plan, complete=True))
    return Prepared(raw, plan, len(kept))


def _bar(what: str, total: int) -> tqdm:
    return tqdm(total=total, desc=what, unit="picture", leave=False)


def _open_folder(options: Options) -> Plan | None:
    """The plan that the subject's folder was made from. Raises OutputError where it may not be touched."""
    old = read_plan(options.subject)
    if old is not None and not options.overwrite:
        check_same_settings(options.subject, old, options.settings)
    return old


def _reused_plan(options: Options, old: Plan | None, listing: str) -> Plan | None:
    """The plan in the folder, where it is what a new one would be. Raises OutputError where it was of other files."""
    if old is None or options.overwrite:
        return None
    if old.listing != listing and old.complete:
        raise OutputError(
            f"{options.subject}: was prepared from other files than are in {options.tracker} now; pass --overwrite to "
            f"prepare it anew, or choose another --subject"
        )
    fits = (old.checked or old.complete) if options.skip else not old.left_out
    return old if fits and old.listing == listing else None


def _begin(options: Options, old: Plan | None, plan: Plan) -> set[int]:
    """Make the folder hold the plan, and no results but those of the plan. Returns the numbers of these."""
    again = options.overwrite and old is not None and old.complete
    kept = set() if again else finished(options.subject, old, plan)
    remove_results(options.subject, old, kept)
    make_folder(picture_path(options.subject, 0).parent)
    make_folder(frame_path(options.subject, 0).parent)
    write_plan(options.subject, plan)
    return kept


def _write_results(
    options: Options, raw: RawSubject, plan: Plan, kept: set[int], classes: Classes | None, workers: int
) -> None:
    sources = {source.number: source for source in raw.sources}
    todo = [(frame.number, sources[frame.tracked]) for frame in plan.frames if frame.number not in kept]
    write = partial(_write_result, options=options, plan=plan, classes=classes)
    jobs = (partial(write, number, source, pixels) for number, source, pixels in _with_videos(todo))
    with _bar("prepare", len(plan.frames)) as bar:
        bar.update(len(kept))
        run_all(jobs, workers, bar.update)


def _with_videos(todo: Sequence[tuple[int, Source]]) -> Iterator[tuple[int, Source, np.ndarray | None]]:
    """Each source with its picture where that is one of a video, which only one thread can decode."""
    pictures = [source.picture for _, source in todo]
    in_video = [picture for picture in pictures if isinstance(picture, VideoPicture)]
    decoded = read_video(in_video[0].video, [picture.index for picture in in_video]) if in_video else iter(())
    for number, source in todo:
        yield number, source, next(decoded) if isinstance(source.picture, VideoPicture) else None


def _write_result(
    number: int, source: Source, pixels: np.ndarray | None, options: Options, plan: Plan, classes: Classes | None
) -> None:
    raw = read_raw(source, classes, pixels)
    edge = options.edge_of(raw.frame.width, raw.frame.height)
    save_png(picture_path(options.subject, number), make_picture(raw, plan.window, plan.size, options.matting, edge))
    write_bytes(
        frame_path(options.subject, number), _encode_frame(fit_frame(raw.frame, plan.window, *plan.size), number)
    )


def _encode_frame(frame: TrackedFrame, number: int) -> memoryview:
    """The bytes of a `.frame` file, made in memory: torch writes a file's own name into it, and a partial one's is random."""
    content = io.BytesIO()
    write_frame_file(content, frame, number)
    return content.getbuffer()


def make_picture(raw: Raw, window: Window, size: tuple[int, int], matting: Matting, edge: int) -> np.ndarray:
    """The prepared picture of a frame: straight RGBA [H, W, 4] uint8 of `size` (width, height)."""
    seen = window.grown(REACH_EDGES * edge, raw.frame.width, raw.frame.height)
    colors = cut(raw.colors, seen).astype(np.float32) / 255
    coverage = raw.coverage if matting is Matting.NONE else clean_mask(raw.coverage)
    colors, alpha = _MATTING[matting](colors, cut(coverage, seen), edge)
    inner = window.within(seen)
    return resize_straight(cut(colors, inner), cut(alpha, inner), *size)


def _soften(colors: np.ndarray, coverage: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray]:
    """Soft edges; worked out near the head alone, which is often half of the picture."""
    height, width = coverage.shape
    left, top, right, bottom = bounding_box(coverage)
    near = Window(left, top, right - left, bottom - top).grown(REACH_EDGES * edge, width, height)
    whole = Window(-near.left, -near.top, width, height)
    part = cut(colors, near)
    alpha = refine_alpha(part, cut(coverage, near), edge)
    return cut(estimate_foreground(part, alpha, edge), whole), cut(alpha, whole)


def _threshold(colors: np.ndarray, coverage: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray]:
    return colors, (coverage >= 0.5).astype(np.float32)


def _keep(colors: np.ndarray, coverage: np.ndarray, edge: int) -> tuple[np.ndarray, np.ndarray]:
    return colors, coverage


_MATTING: dict[Matting, Callable[[np.ndarray, np.ndarray, int], tuple[np.ndarray, np.ndarray]]] = {
    Matting.SOFT: _soften,
    Matting.BINARY: _threshold,
    Matting.NONE: _keep,
}
