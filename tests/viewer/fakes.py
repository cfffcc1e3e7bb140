"""A page without a browser: what viser's handle of a client offers that a session uses."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import numpy as np


class FakeControl:
    """Any control. Setting a value from outside, as a user would, calls what was registered."""

    def __init__(self, label: str, value: object = None) -> None:
        self.label, self.value, self.content, self.image = label, value, label, None
        self.callbacks: list[Callable[[object], None]] = []

    def on_update(self, callback: Callable[[object], None]) -> None:
        self.callbacks.append(callback)

    on_click = on_update

    def use(self, value: object = None) -> None:
        self.value = value
        for callback in self.callbacks:
            callback(None)

    @contextmanager
    def add_tab(self, label: str) -> Iterator[None]:
        yield

    def __enter__(self) -> FakeControl:
        return self

    def __exit__(self, *error: object) -> None:
        pass


class FakeGui:
    """controls: by label."""

    def __init__(self) -> None:
        self.controls: dict[str, FakeControl] = {}

    def _add(self, label: str, value: object = None) -> FakeControl:
        self.controls[label] = control = FakeControl(label, value)
        return control

    def add_slider(self, label: str, low: float, high: float, step: float, value: float) -> FakeControl:
        assert low <= value <= high
        assert step > 0
        return self._add(label, value)

    def add_checkbox(self, label: str, value: bool, hint: str | None = None) -> FakeControl:
        return self._add(label, value)

    def add_rgb(self, label: str, value: tuple[int, int, int]) -> FakeControl:
        return self._add(label, value)

    def add_dropdown(self, label: str, options: list[str]) -> FakeControl:
        return self._add(label, options[0])

    def add_button(self, label: str, hint: str | None = None) -> FakeControl:
        return self._add(label)

    def add_markdown(self, content: str) -> FakeControl:
        return self._add(content or "status")

    def add_folder(self, label: str, expand_by_default: bool = True) -> FakeControl:
        return self._add(f"folder {label}")

    def add_tab_group(self) -> FakeControl:
        return self._add("tabs")

    def add_image(self, image: np.ndarray, label: str, format: str) -> FakeControl:
        control = self._add(label)
        control.image = image
        return control


class FakeCamera:
    """Looks along the world's -z, as a tracked camera does."""

    def __init__(self, width: int, height: int) -> None:
        self.wxyz = np.array([0.0, 1.0, 0.0, 0.0])
        self.position, self.look_at = np.zeros(3), np.array([0.0, 0.0, -1.0])
        self.up_direction: Any = (0.0, 1.0, 0.0)
        self.fov, self.image_width, self.image_height = 0.3, width, height
        self.callbacks: list[Callable[[object], None]] = []

    def on_update(self, callback: Callable[[object], None]) -> None:
        self.callbacks.append(callback)

    def move(self) -> None:
        """A little; what is shown is of no account."""
        for callback in self.callbacks:
            callback(self)

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, np.array(value) if isinstance(value, tuple) else value)


class FakeClient:
    """pictures: sent, with their quality. notices, downloads: likewise."""

    def __init__(self, width: int = 400, height: int = 300) -> None:
        self.gui, self.camera = FakeGui(), FakeCamera(width, height)
        self.pictures: list[tuple[np.ndarray, int]] = []
        self.notices: list[tuple[str, str]] = []
        self.downloads: list[tuple[str, bytes]] = []
        self.scene = SimpleNamespace(set_background_image=self._send)
        self.local_storage = SimpleNamespace(get_item=self._answer)

    def use(self, label: str, value: object = None) -> None:
        self.gui.controls[label].use(value)

    def flush(self) -> None:
        pass

    def add_notification(self, title: str, body: str, auto_close_seconds: float) -> None:
        self.notices.append((title, body))

    def send_file_download(self, filename: str, content: bytes, save_immediately: bool) -> None:
        self.downloads.append((filename, content))

    def _send(self, picture: np.ndarray, format: str, jpeg_quality: int) -> None:
        self.pictures.append((picture, jpeg_quality))

    def _answer(self, key: str, timeout: float) -> None:
        return None
