"""One page: what it is shown, when, and how large. All but the delivery of pictures happens in the viewer's thread."""

from __future__ import annotations

import bisect
import math
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from rgbavatar.errors import OutputError
from rgbavatar.geometry.camera import Camera
from rgbavatar.io.images import encode_png
from rgbavatar.viewer.camera import PageCamera, fit_pixels, middle_of, page_to_camera, start_view
from rgbavatar.viewer.controls import Controls, Menu, Settings
from rgbavatar.viewer.delivery import Delivery
from rgbavatar.viewer.frames import Offsets, Pose, PoseSource
from rgbavatar.viewer.pace import Pace
from rgbavatar.viewer.painter import Look, Painter
from rgbavatar.viewer.playback import Playback
from rgbavatar.viewer.saving import save_new_picture

if TYPE_CHECKING:
    import viser

_STILL_AFTER = 0.2  # seconds without a change
_TELL_EVERY = 0.5  # seconds between two changes of the line at the top
_IMAGE_EVERY = 0.2  # seconds between two pictures of the activity's
_MOVING_QUALITY, _STILL_QUALITY = 80, 95  # of JPEG
_NOTICE_SECONDS = 6.0  # that a notice stays


class Progress(Protocol):
    """How the activity goes that changes what is shown: training, or a camera that drives the avatar."""

    @property
    def text(self) -> str:
        """In Markdown."""

    @property
    def buttons(self) -> Mapping[str, str]:
        """Labels by name: always the same names."""

    @property
    def images(self) -> Mapping[str, np.ndarray]:
        """Pictures by their labels, uint8 [H, W, 3]; another array when another has come."""

    def press(self, name: str) -> str | None:
        """A button was pressed. Returns what is to be told the user, if anything."""


class Exhibit(Protocol):
    """What is shown. poses: the frames. pictures: the folder for pictures that are kept. progress: of what goes on beside it.

    menu: what pages offer. share: of the time that rendering may take. most_pixels: of a picture.
    """

    @property
    def poses(self) -> PoseSource: ...

    @property
    def pictures(self) -> Path: ...

    @property
    def progress(self) -> Progress | None: ...

    @property
    def menu(self) -> Menu: ...

    @property
    def share(self) -> float: ...

    @property
    def most_pixels(self) -> int: ...

    def painter(self) -> Painter | None:
        """Of the avatar as it is: another painter where the avatar has changed. None where there is none yet."""


class Session:
    """See the module's head. wake: asks the viewer's thread to look at its sessions; may be called anywhere."""

    def __init__(self, client: viser.ClientHandle, exhibit: Exhibit, wake: Callable[[], None]) -> None:
        self._client = client
        self._exhibit = exhibit
        self._wake = wake
        self._changed_at = time.perf_counter()
        self._is_dirty, self._is_full, self._has_started = True, False, False
        self._painted: tuple[Painter, Pose] | None = None
        self._frozen: tuple[float, ...] | None = None
        self._rests_until = self._told_at = self._line_at = self._paint_seconds = 0.0
        self._late: float | None = None
        self._images: dict[str, np.ndarray] = {}
        self._images_at = 0.0
        self._pace = Pace(exhibit.share)
        self._playback = Playback()
        self._delivery = Delivery(client, wake)
        self._controls = Controls(client.gui, exhibit.menu, self.touch)
        client.camera.on_update(lambda _: self.touch())

    def touch(self) -> None:
        """Something has changed that this page shows. May be called anywhere."""
        self._changed_at = time.perf_counter()
        self._is_dirty = True
        self._wake()

    def close(self) -> None:
        """The page is gone."""
        self._delivery.close()

    def join(self) -> None:
        """Wait for what still goes on after `close`."""
        self._delivery.join()

    def due(self, now: float) -> float:
        """Seconds until there is something to do; 0 or less: now."""
        if self._controls.asked:
            return 0.0
        tell = self._images_at + _IMAGE_EVERY - now if self._exhibit.progress else math.inf
        if not self._delivery.is_free:
            return max(tell, 0.0)
        return max(min(tell, max(self._wants_picture_in(now), self._rests_until - now)), 0.0)

    def _wants_picture_in(self, now: float) -> float:
        if self._is_dirty or self._has_news():
            return 0.0
        if self._controls.read().plays:
            return self._playback.next_in(now)
        return math.inf if self._is_full else self._changed_at + _STILL_AFTER - now

    def _has_news(self) -> bool:
        """Whether the avatar, or the newest frame of a stream, is another than the painted one."""
        painter, pose = self._exhibit.painter(), self._exhibit.poses.pose(0, Offsets())
        if painter is None or pose is None:
            return False
        if self._painted is None or painter is not self._painted[0]:
            return True
        return not self._exhibit.poses.numbers and pose is not self._painted[1]

    def serve(self, now: float) -> None:
        """Do what is due."""
        while self._controls.asked:
            self._do(self._controls.asked.popleft())
        self._show_progress(now)
        if self._delivery.is_free and now >= self._rests_until and self._wants_picture_in(now) <= 0.0:
            self._show_picture(now)

    def _show_picture(self, now: float) -> None:
        self._is_dirty = False
        settings, painter = self._controls.read(), self._exhibit.painter()
        pose = self._pose(settings, now)
        if painter is None or pose is None:
            self._controls.tell("waiting for the first frame ...")
            self._is_full = True
            return
        if not self._has_started:
            self._stand_at(pose)
        if self._exhibit.menu.streams and (self._painted is None or pose is not self._painted[1]):
            self._changed_at = now
        moving = settings.plays or now - self._changed_at < _STILL_AFTER
        full = self._camera()
        camera = fit_pixels(full, self._pace.pixel_share * full.width * full.height) if moving else full
        picture = painter.paint(pose, self._look(settings, painter, pose), camera)
        self._paint_seconds = time.perf_counter() - now
        self._delivery.put(picture, _MOVING_QUALITY if moving else _STILL_QUALITY)
        self._painted, self._is_full = (painter, pose), not moving
        if moving:
            self._pace.note(max(self._paint_seconds, self._exhibit.share * self._delivery.seconds))
        self._rests_until = now + self._paint_seconds / self._exhibit.share
        self._tell(now, pose, camera)

    def _pose(self, settings: Settings, now: float) -> Pose | None:
        poses = self._exhibit.poses
        position = bisect.bisect_left(poses.numbers, settings.number)
        if poses.numbers:
            position = self._playback.position(now, settings, position, len(poses.numbers))
            if settings.plays:
                self._controls.show_frame(poses.numbers[position])
        return poses.pose(position, settings.offsets)

    def _look(self, settings: Settings, painter: Painter, pose: Pose) -> Look:
        if not settings.freezes:
            self._frozen = None
        elif self._frozen is None:
            self._frozen = tuple(painter.weights(pose.code)[0].tolist())
        return Look(settings.weights, self._frozen, settings.scale, settings.background, settings.overlay)

    def _camera(self) -> Camera:
        """The page's, in a picture as large as the page, or as allowed."""
        page = self._client.camera
        w, x, y, z = page.wxyz.tolist()
        px, py, pz = page.position.tolist()
        width, height = max(page.image_width, 1), max(page.image_height, 1)  # a page may be folded to nothing
        camera = PageCamera((w, x, y, z), (px, py, pz), page.fov, width, height)
        return fit_pixels(page_to_camera(camera), self._exhibit.most_pixels)

    def _stand_at(self, pose: Pose) -> None:
        """Put the page's camera where the tracked one is."""
        page = self._client.camera
        aspect = max(page.image_width, 1) / max(page.image_height, 1)
        view = start_view(pose.camera, middle_of(pose.vertices[0]), aspect)
        page.up_direction, page.position = view.up, view.position
        page.look_at, page.fov = view.look_at, view.fov
        self._has_started = True

    def _do(self, name: str) -> None:
        progress = self._exhibit.progress
        if progress is not None and name in progress.buttons:
            if notice := progress.press(name):
                self._client.add_notification(notice, "", auto_close_seconds=_NOTICE_SECONDS)
            self._told_at = 0.0
            return
        if self._painted is None:
            return
        if name == "camera":
            self._stand_at(self._painted[1])
        elif name in ("save", "download"):
            self._keep_picture(name)

    def _keep_picture(self, name: str) -> None:
        """The page's picture in full, as a file here or there."""
        assert self._painted is not None
        painter, pose = self._painted
        content = encode_png(painter.paint(pose, self._look(self._controls.read(), painter, pose), self._camera()))
        if name == "download":
            self._client.send_file_download(f"{pose.number:05d}.png", content, save_immediately=True)
            return
        try:
            path = save_new_picture(self._exhibit.pictures, content)
            title, text = f"{path.name} saved", f"in {path.parent}"
        except OutputError as error:
            title, text = "Picture not saved", str(error)
        self._client.add_notification(title, text, auto_close_seconds=_NOTICE_SECONDS)

    def _show_progress(self, now: float) -> None:
        progress = self._exhibit.progress
        if progress is None or now - self._images_at < _IMAGE_EVERY:
            return
        self._images_at = now
        if now - self._told_at >= _TELL_EVERY:
            self._told_at = now
            self._controls.show_progress(progress.text, progress.buttons)
        for label, picture in progress.images.items():
            if self._images.get(label) is not picture:
                self._images[label] = picture
                self._controls.show_image(label, picture)

    def _tell(self, now: float, pose: Pose, camera: Camera) -> None:
        """How late a camera's picture is, is known while it moves; a still one keeps what was told last."""
        if pose.taken is not None and not self._is_full:
            self._late = time.perf_counter() - pose.taken + self._delivery.seconds
        if not self._is_full and now - self._line_at < _TELL_EVERY:
            return
        self._line_at = now
        text = f"frame {pose.number} · {camera.width} × {camera.height}  \nrendered in {1000.0 * self._paint_seconds:.0f} ms"
        delivered = self._delivery.rate.per_second
        text += f", {delivered:.0f} pictures/s delivered" if delivered >= 1.0 else ""
        if pose.taken is not None and self._late is not None:
            text += f"  \n{1000.0 * self._late:.0f} ms from the camera's picture to this one"
        self._controls.tell(text)
