"""The controls beside the picture, of one page. Each page has its own: what one user changes, another does not see.

Angles are in degrees on the page and in radians everywhere else.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rgbavatar.viewer.frames import Offsets, PoseSource
from rgbavatar.viewer.overlay import Overlay

if TYPE_CHECKING:
    import viser

_FIRST_EXPRESSIONS = 12  # coefficients with a slider in plain sight
_MOST_EXPRESSIONS = 50  # with a slider at all: later ones hardly move a face
_ACTION_REACH = 1.0  # of a named action, all of it
_EXPRESSION_REACH = 3.0  # standard deviations of the model
_STEPS = 100  # of a slider from 0 to its end
_SLOWEST, _SMALLEST_SCALE = (
    1.0,
    0.1,
)  # frames a second, size of Gaussians; what is typed may lie beyond the slider's ends

_JAW = (("jaw open", 40.0), ("jaw sideways", 20.0), ("jaw tilt", 10.0))  # about x, y, z
_EYES = (("eyes down", 30.0), ("eyes sideways", 40.0))
_NECK = (("head nod", 40.0), ("head turn", 70.0), ("head tilt", 40.0))
_LIDS = (("left eyelid", 1.0), ("right eyelid", 1.0))


@dataclass(frozen=True)
class Menu:
    """What there is to control. numbers: of the frames. expressions: coefficients; names: theirs, if any; joints: of jaw, eyes
    and eyelids, those that there are. bases, reach: weights, and how far theirs go.

    activity: title of the folder that tells what goes on beside the page, such as training; none if empty. streams: whether
    the newest pose is shown as it comes.
    """

    numbers: Sequence[int]
    expressions: int
    names: Sequence[str]
    joints: frozenset[str]
    bases: int
    reach: float
    activity: str = ""
    streams: bool = False


@dataclass(frozen=True)
class Settings:
    """What the controls say. number: the frame's. weights: offsets, K numbers."""

    number: int
    plays: bool
    frames_per_second: float
    offsets: Offsets
    weights: tuple[float, ...]
    freezes: bool
    scale: float
    background: tuple[float, float, float]
    overlay: Overlay


class Controls:
    """Builds the controls. changed: called, in some thread, when one of them changes.

    asked: names of the buttons that were pressed, until somebody takes them.
    """

    def __init__(self, gui: viser.GuiApi, menu: Menu, changed: Callable[[], None]) -> None:
        self.asked: deque[str] = deque()
        self._gui = gui
        self._changed = changed
        self._status = gui.add_markdown("")
        self._frame: Any = None
        self._shown_frame: int | None = None
        self._play: Any = None
        self._fps: Any = None
        self._images: dict[str, Any] = {}
        self._buttons: dict[str, Any] = {}
        self._expression: list[Any] = []
        self._jaw: list[Any] = []
        self._eyes: list[Any] = []
        self._lids: list[Any] = []
        self._neck: list[Any] = []
        if menu.activity:
            self._activity = gui.add_folder(menu.activity)
            with self._activity:
                self._progress = gui.add_markdown("")
        tabs = gui.add_tab_group()
        with tabs.add_tab("View"):
            self._add_frames(menu.numbers)
            self._add_look()
            self._add_buttons()
        if menu.expressions:
            with tabs.add_tab("Face"):
                self._add_face(menu)
        with tabs.add_tab("Weights"):
            self._add_weights(menu)

    def read(self) -> Settings:
        """What the controls say now."""
        red, green, blue = (channel / 255.0 for channel in self._background.value)
        return Settings(
            number=0 if self._frame is None else self._frame.value,
            plays=False if self._play is None else self._play.value,
            frames_per_second=_SLOWEST if self._fps is None else max(self._fps.value, _SLOWEST),
            offsets=self._offsets(),
            weights=tuple(slider.value for slider in self._weights),
            freezes=self._freeze.value,
            scale=max(self._scale.value, _SMALLEST_SCALE),
            background=(red, green, blue),
            overlay=Overlay(self._overlay.value),
        )

    def show_frame(self, number: int) -> None:
        """Set the frame slider, which is no change of the user's."""
        self._shown_frame = number
        if self._frame is not None:
            self._frame.value = number

    def tell(self, text: str) -> None:
        """The line at the top, in Markdown."""
        if self._status.content != text:
            self._status.content = text

    def show_progress(self, text: str, buttons: Mapping[str, str]) -> None:
        """How the activity goes, in Markdown, and the labels of its buttons by name."""
        if self._progress.content != text:
            self._progress.content = text
        for name, label in buttons.items():
            if name not in self._buttons:
                with self._activity:
                    self._buttons[name] = self._button(label, name)
            elif self._buttons[name].label != label:
                self._buttons[name].label = label

    def show_image(self, label: str, picture: np.ndarray) -> None:
        """A picture of the activity's, uint8 [H, W, 3], in place of the last one of that label."""
        if label not in self._images:
            with self._activity:
                self._images[label] = self._gui.add_image(picture, label=label, format="jpeg")
        else:
            self._images[label].image = picture

    def _offsets(self) -> Offsets:
        if not self._neck:
            return Offsets()
        left, right = self._values(self._lids) or (0.0, 0.0)
        return Offsets(
            expression=self._values(self._expression),
            jaw=self._turn(self._jaw),
            neck=self._turn(self._neck),
            eyes=self._turn(self._eyes),
            eyelids=(left, right),
        )

    def _values(self, sliders: Sequence[Any]) -> tuple[float, ...]:
        return tuple(slider.value for slider in sliders)

    def _turn(self, sliders: Sequence[Any]) -> tuple[float, float, float]:
        x, y, z = (*(math.radians(slider.value) for slider in sliders), 0.0, 0.0, 0.0)[:3]
        return x, y, z

    def _add_frames(self, numbers: Sequence[int]) -> None:
        if len(numbers) > 1:
            self._frame = self._gui.add_slider("frame", numbers[0], numbers[-1], 1, numbers[0])
            self._frame.on_update(lambda _: self._move_to_frame())
            self._play = self._watch(self._gui.add_checkbox("play", False))
            self._fps = self._watch(self._gui.add_slider("frames a second", _SLOWEST, 60.0, 1.0, 25.0))

    def _move_to_frame(self) -> None:
        if self._frame.value != self._shown_frame:
            self._shown_frame = None
            self._changed()

    def _add_look(self) -> None:
        gui = self._gui
        self._background = self._watch(gui.add_rgb("background", (0, 0, 0)))
        self._scale = self._watch(gui.add_slider("size of Gaussians", _SMALLEST_SCALE, 2.0, 0.05, 1.0))
        self._overlay = self._watch(gui.add_dropdown("mesh", [kind.value for kind in Overlay]))

    def _add_buttons(self) -> None:
        self._button("Camera of the video", "camera")
        self._button("Save picture", "save", hint="as a PNG in the run's folder, pictures/")
        self._button("Download picture", "download")

    def _add_face(self, menu: Menu) -> None:
        self._reset_button("Reset face", lambda: self._face)
        with self._gui.add_folder("Head"):
            self._jaw = self._sliders(_JAW if "jaw" in menu.joints else ())
            self._eyes = self._sliders(_EYES if "eyes" in menu.joints else ())
            self._lids = self._sliders(_LIDS if "eyelids" in menu.joints else ())
            self._neck = self._sliders(_NECK)
        names = _expression_sliders(menu)
        with self._gui.add_folder("Expression"):
            self._expression = self._sliders(names[:_FIRST_EXPRESSIONS])
        if names[_FIRST_EXPRESSIONS:]:
            with self._gui.add_folder("More expression", expand_by_default=False):
                self._expression += self._sliders(names[_FIRST_EXPRESSIONS:])

    def _add_weights(self, menu: Menu) -> None:
        self._gui.add_markdown("Added to what the network says.")
        self._reset_button("Reset weights", lambda: self._weights)
        hint = "keep the network's weights as they are now, whatever the face does"
        self._freeze = self._watch(self._gui.add_checkbox("freeze", False, hint=hint))
        self._weights = self._sliders([(f"weight {k + 1}", menu.reach) for k in range(menu.bases)])

    @property
    def _face(self) -> list[Any]:
        return [*self._jaw, *self._eyes, *self._lids, *self._neck, *self._expression]

    def _sliders(self, names: Sequence[tuple[str, float]]) -> list[Any]:
        """Sliders from -reach to reach, at 0."""
        return [self._watch(self._gui.add_slider(name, -reach, reach, reach / _STEPS, 0.0)) for name, reach in names]

    def _watch(self, control: Any) -> Any:
        control.on_update(lambda _: self._changed())
        return control

    def _button(self, label: str, name: str, hint: str | None = None) -> Any:
        button = self._gui.add_button(label, hint=hint)

        def press(_: object) -> None:
            self.asked.append(name)
            self._changed()

        button.on_click(press)
        return button

    def _reset_button(self, label: str, sliders: Callable[[], Sequence[Any]]) -> None:
        def reset(_: object) -> None:
            for slider in sliders():
                slider.value = 0.0
            self._changed()

        self._gui.add_button(label).on_click(reset)


def _expression_sliders(menu: Menu) -> list[tuple[str, float]]:
    """Label and reach: coefficients with names are shares of an action, others standard deviations."""
    if menu.names:
        return [(name, _ACTION_REACH) for name in menu.names[: menu.expressions]]
    return [(f"expression {i + 1}", _EXPRESSION_REACH) for i in range(min(menu.expressions, _MOST_EXPRESSIONS))]


def menu_of(poses: PoseSource, bases: int, reach: float) -> Menu:
    """What there is to control of frames, and of so many weights."""
    return Menu(poses.numbers, poses.expression_count, poses.expression_names, poses.joints, bases, reach)
