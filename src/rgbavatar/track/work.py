"""Tracking a video: what is found on the way is kept, so that a tracking that was stopped goes on where it was."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice

import numpy as np
from tqdm import tqdm

from rgbavatar.datasets.frame_file import TrackedFrame
from rgbavatar.datasets.parameter_file import write_parameter_file
from rgbavatar.errors import ConfigError, DataError, Stopped
from rgbavatar.io.files import make_folder
from rgbavatar.io.images import save_png
from rgbavatar.prepare.masks import parse_classes
from rgbavatar.prepare.options import EDGE_SHARE, Framing, Matting
from rgbavatar.prepare.resize import Window, fit_frame
from rgbavatar.prepare.survey import Raw
from rgbavatar.prepare.threads import run_all
from rgbavatar.prepare.work import make_picture
from rgbavatar.templates.blendshape import BlendshapeTemplate, load_blendshape
from rgbavatar.track.align import align_clip
from rgbavatar.track.clip import refine_clip
from rgbavatar.track.corrections import correction_size
from rgbavatar.track.face_model import FaceModel, make_face_model, read_correspondences
from rgbavatar.track.first_pass import FirstPass, FirstPassRun, Seen, run_first_pass
from rgbavatar.track.fit import Fit, Observed
from rgbavatar.track.frames import tracked_frames
from rgbavatar.track.framing import SAMPLES, HeadPlace, choose_window, measure_reach
from rgbavatar.track.landmarks import FaceFinder
from rgbavatar.track.masks import CutMasks, FolderMasks, MaskSource, SegmenterMasks
from rgbavatar.track.observe import observe
from rgbavatar.track.options import Options
from rgbavatar.track.record import (
    ALIGNED,
    FITTED,
    RECORDED,
    SEEN,
    WORK,
    Record,
    check_same,
    finished,
    parameter_path,
    picture_path,
    read_record,
    remove_files,
    remove_results,
    stamp_source,
    work_paths,
    write_record,
)
from rgbavatar.track.recording import Recording
from rgbavatar.track.storage import read_first_pass, read_fit, write_first_pass, write_fit
from rgbavatar.track.stream import focal_prior, landmark_errors
from rgbavatar.track.surface import make_surface
from rgbavatar.track.video import FolderFrames, VideoFrame, VideoFrames, is_camera, open_frames
from rgbavatar.track.zones import ZoneFinder
from rgbavatar.training.stop_signal import StopSignal

MakeFinder = Callable[[], AbstractContextManager[FaceFinder]]


@dataclass(frozen=True)
class Done:
    """What was done. kept: results that were there before."""

    record: Record
    kept: int


@dataclass(frozen=True)
class Subject:
    """What is being made. frames: as they were tracked in the pictures of the source; shots: runs of them."""

    options: Options
    template: BlendshapeTemplate
    first: FirstPass
    frames: Sequence[TrackedFrame]


def track(options: Options, make_finder: MakeFinder, workers: int) -> Done:
    """Track a video, or go on where an earlier call was stopped.

    Raises DataError, TemplateError, ConfigError or OutputError, one line on what is wrong, and Stopped for Ctrl-C.
    """
    template = load_blendshape(options.template)
    model = make_face_model(template.data, read_correspondences(options.landmarks, template.data))
    new = Record(options.settings, options.source, _stamp(options))
    old = _open_folder(options, new)
    if old is not None and old.complete:
        return Done(old, len(old.frames))
    try:
        first = _first_pass(options, model, make_finder)
        fit, numbers = _fit_clip(options, template, model, first)
        subject = Subject(options, template, first, tracked_frames(model, fit, first.size))
        return _write_subject(subject, replace(old or new, numbers=numbers), workers)
    except KeyboardInterrupt as stop:
        raise Stopped(signal.SIGINT, "stopped; the same command goes on from here") from stop


def _stamp(options: Options) -> str:
    return "" if is_camera(options.source) else stamp_source(options.source)


def _open_folder(options: Options, new: Record) -> Record | None:
    """The record of an earlier call to go on from. Raises OutputError where the folder may not be touched."""
    old = read_record(options.subject)
    if old is not None and options.overwrite:
        remove_results(options.subject, old)
        old = None
    if old is not None:
        check_same(options.subject, old, new)
    else:
        open_frames(options.source, options.frames_per_second)
        write_record(options.subject, new)
    return old


def _first_pass(options: Options, model: FaceModel, make_finder: MakeFinder) -> FirstPass:
    kept = options.subject / WORK / SEEN
    if kept.is_file():
        return read_first_pass(kept)
    frames = open_frames(options.source, options.frames_per_second)
    if is_camera(options.source):
        with StopSignal() as stop:
            found = _watch(options, model, make_finder, Recording(frames, options.subject / RECORDED), stop)
    else:
        found = _watch(options, model, make_finder, frames, None)
    write_first_pass(kept, found)
    return found


def _watch(
    options: Options, model: FaceModel, make_finder: MakeFinder, frames: VideoFrames, stop: StopSignal | None
) -> FirstPass:
    """Look at all pictures, until a signal where there is one. Raises DataError where no face was tracked."""
    run = FirstPassRun(model, options.focal)
    total = frames.count if options.most_frames is None else options.most_frames
    with make_finder() as finder, tqdm(total=total, desc="track", unit="frame", leave=False) as bar:
        limited = _Limited(frames, options.most_frames)
        with closing(run_first_pass(limited, finder, run)) as seen:
            for one in seen:
                _tell_progress(options, bar, run, one)
                if stop is not None and stop.requested:
                    break
    if not run.tracked:
        why = next(iter(run.lost.values()), "no picture")
        raise DataError(
            f"{frames.name}: {why} in all {len(run.lost)} pictures, expected the face of a person in most of them"
        )
    return run.result()


def _tell_progress(options: Options, bar: tqdm, run: FirstPassRun, seen: Seen) -> None:
    if bar.n == 0:
        options.check_focal((seen.frame.picture.shape[1], seen.frame.picture.shape[0]))
    bar.set_postfix(lost=len(run.lost), refresh=False)
    bar.update()


@dataclass(frozen=True)
class _Limited:
    """The first of some pictures. most: None for all."""

    frames: VideoFrames
    most: int | None

    @property
    def name(self) -> str:
        return self.frames.name

    @property
    def count(self) -> int | None:
        return self.frames.count

    def __iter__(self) -> Iterator[VideoFrame]:
        return islice(iter(self.frames), self.most)


def _fit_clip(
    options: Options, template: BlendshapeTemplate, model: FaceModel, first: FirstPass
) -> tuple[Fit, Mapping[str, float]]:
    """The fit of the whole clip, and the numbers of the report: how far landmarks were off before pictures had a say."""
    seen = observe(model, first.faces)
    fitted = _second_pass(options, model, first, seen)
    fit = _third_pass(options, template, model, first, fitted) if options.align else fitted
    degrees, millimetres, expression = correction_size(fitted.motion, fit.motion)
    errors = 100 * landmark_errors(model, fitted.person, fitted.motion, seen)
    return fit, {
        "error_percent": float(errors.mean()),
        "error_percent_worst": float(errors.max()),
        "focal": fit.person.focal,
        "pictures": first.pictures,
        "pictures_per_second": first.rate,
        "aligned_degrees": degrees,
        "aligned_millimetres": millimetres,
        "aligned_expression": expression,
    }


def _second_pass(options: Options, model: FaceModel, first: FirstPass, seen: Observed) -> Fit:
    """All frames fitted to their landmarks together."""
    kept = options.subject / WORK / FITTED
    if kept.is_file():
        return read_fit(kept)
    prior = focal_prior(first.size, options.focal)
    start = Fit(first.person, first.motion)
    with tqdm(total=len(seen), desc="refine", unit="frame", leave=False) as bar:
        fit = refine_clip(model, seen, start, first.seconds, first.shots, prior, bar.update)
    write_fit(kept, fit)
    return fit


def _third_pass(options: Options, template: BlendshapeTemplate, model: FaceModel, first: FirstPass, fit: Fit) -> Fit:
    """Poses and expressions corrected by the pictures."""
    kept = options.subject / WORK / ALIGNED
    if kept.is_file():
        return read_fit(kept)
    surface = make_surface(template.data, model, fit.person.identity)
    eye = float(np.median([face.eye_distance for face in first.faces]))
    pictures = partial(_pictures, options, first.numbers)
    with tqdm(total=len(first.numbers), desc="align", unit="frame", leave=False) as bar:
        aligned = align_clip(surface, fit, eye, first.seconds, first.shots, pictures, bar.update)
    write_fit(kept, aligned)
    return aligned


def _write_subject(subject: Subject, record: Record, workers: int) -> Done:
    """Cut heads out, and write pictures and parameters that are not there yet."""
    options, first = subject.options, subject.first
    masks = _open_masks(subject)
    window = _survey(subject, masks)
    record = replace(
        record,
        frames=first.numbers,
        seconds=[round(float(second), 6) for second in first.seconds],
        lost=first.lost,
        cuts=first.cuts,
        crowded=first.crowded,
        window=window,
        size=window.fitted(options.size),
    )
    kept = finished(options.subject, record)
    for path in (picture_path(options.subject, 0), parameter_path(options.subject, 0)):
        make_folder(path.parent)
    write_record(options.subject, record)
    with tqdm(total=len(first.numbers), desc="cut out", unit="frame", leave=False) as bar:
        bar.update(len(kept))
        run_all(_jobs(subject, record, masks, kept), workers, bar.update)
    record = replace(record, complete=True)
    write_record(options.subject, record)
    remove_files(work_paths(options.subject))
    return Done(record, len(kept))


def _open_masks(subject: Subject) -> MaskSource:
    options = subject.options
    finder = ZoneFinder(subject.template)
    if options.masks is not None:
        classes = None if options.classes is None else parse_classes(options.classes)
        return FolderMasks(options.masks, classes, subject.first.numbers)
    if options.segmenter is not None:
        from rgbavatar.track.mediapipe_segmenter import MediaPipeSegmenter

        return SegmenterMasks(MediaPipeSegmenter(options.segmenter), finder, subject.frames)
    return CutMasks(finder, subject.frames, subject.first.shots)


def _survey(subject: Subject, masks: MaskSource) -> Window:
    """Let the masks see what they have to, and choose the window of all pictures by some of them."""
    first, options = subject.first, subject.options
    samples = sorted({round(i) for i in np.linspace(0, len(first.numbers) - 1, SAMPLES)})
    needed = set(masks.wanted()) | set(samples)
    with tqdm(total=len(needed), desc="look", unit="frame", leave=False) as bar:
        pictures = {}
        for position, picture in _pictures(options, first.numbers, needed):
            pictures[position] = picture
            bar.update()
    masks.learn(pictures)
    width, height = first.size
    if options.framing is Framing.WHOLE:
        return Window(0, 0, width, height)
    places = HeadPlace(
        np.stack([face.middle for face in first.faces]), np.array([face.eye_distance for face in first.faces])
    )
    reach = measure_reach(places, [(position, masks.coverage(position, pictures[position])) for position in samples])
    return choose_window(places, reach, options.margin, width, height)


def _pictures(options: Options, numbers: Sequence[int], positions: Iterable[int]) -> Iterator[tuple[int, np.ndarray]]:
    """The pictures at some positions, in their order. Raises DataError where the source has fewer than it had."""
    wanted = {numbers[position]: position for position in positions}
    last = max(wanted)
    with closing(iter(_source_of(options))) as frames:  # type: ignore[type-var]
        for frame in frames:
            if frame.number in wanted:
                yield wanted.pop(frame.number), frame.picture
            if frame.number >= last:
                break
    if wanted:
        raise DataError(
            f"{options.source}: found no picture {min(wanted)} any more, expected what was tracked; copy it again"
        )


def _source_of(options: Options) -> VideoFrames:
    if is_camera(options.source):
        return FolderFrames(options.subject / RECORDED, options.frames_per_second)
    return open_frames(options.source, options.frames_per_second)


def _jobs(subject: Subject, record: Record, masks: MaskSource, kept: set[int]) -> Iterator[Callable[[], None]]:
    """What is left to write; pictures are decoded and masked here, one after the other, and finished by whoever runs the jobs.

    The frame before one that is missing is masked again, for its mask tells of the next.
    """
    todo = set(range(len(record.frames))) - kept
    if not todo:
        return
    needed = todo | {position - 1 for position in todo if position}
    for position, picture in _pictures(subject.options, subject.first.numbers, needed):
        coverage = masks.coverage(position, picture)
        if position in todo:
            yield partial(_write_result, subject, record, position, picture, coverage)


def _write_result(subject: Subject, record: Record, position: int, picture: np.ndarray, coverage: np.ndarray) -> None:
    frame, folder = subject.frames[position], subject.options.subject
    if record.window is None or record.size is None:
        raise ConfigError("the record has no window")
    edge = max(2, round(min(frame.width, frame.height) / EDGE_SHARE))
    image = make_picture(Raw(frame, picture, coverage), record.window, record.size, Matting.SOFT, edge)
    save_png(picture_path(folder, position), image)
    write_parameter_file(parameter_path(folder, position), fit_frame(frame, record.window, *record.size))
