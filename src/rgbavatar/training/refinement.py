"""Refining the tracking while an avatar is trained: small corrections, learnt through the renderer's gradient.

Each frame that is trained on has a turn, a shift and a code offset of its own; the focal correction is common to all
(rgbavatar.model.corrections). They are rows of tables (rgbavatar.training.frame_table); what the rows of all frames have in
common is taken away after each step. Symbols: n frames, B frames of a batch, C code entries.
"""

from __future__ import annotations

import math

import torch
from gaussian_rasterization import fused
from torch import Tensor

from rgbavatar.config import RefinementConfig
from rgbavatar.datasets.base import HeadDataset
from rgbavatar.model.corrections import Correction, Corrections
from rgbavatar.model.tracking_habits import frame_features
from rgbavatar.training.frame_table import make_table, shown_frames
from rgbavatar.training.processes import Processes
from rgbavatar.types import Batch

_OF_FRAMES = ("turns", "shifts", "codes")
_LEAST_DOUBT = 0.25
_SMALLEST = torch.finfo(torch.float32).tiny
_MILLIMETRES = 1e3  # in a metre


class Refinement:
    """The corrections of a dataset in training. `update` and `restore` alone change them."""

    def __init__(self, dataset: HeadDataset, settings: RefinementConfig, device: torch.device) -> None:
        self._after = settings.after
        self._learns_camera = settings.focal > 0.0
        self._numbers = dataset.numbers
        self._middles = dataset.vertices.mean(dim=1).to(device)
        self._weight = settings.weight
        self._doubt_turn = math.radians(settings.doubt_turn)
        self._examples = _examples_of(dataset) if settings.predict else {}
        count, width = dataset.codes.shape
        spread = dataset.codes.double().std(dim=0, correction=0).float().to(device)
        code_size = (settings.code_size * spread).clamp_min(_SMALLEST)
        self._tables = {
            "turns": make_table(count, 3, settings.rotation, settings.rotation_size, device),
            "shifts": make_table(count, 3, settings.translation, settings.translation_size, device),
            "codes": make_table(count, width, settings.code * spread, code_size, device),
            "focal": make_table(1, 1, settings.focal, settings.focal_size, device),
        }

    def correct(self, batch: Batch, images_seen: int) -> Correction | None:
        """The corrections of a batch of the dataset, differentiable to those that have joined; None where there are none yet.

        Those of frames join after some images, the focal one at once: an avatar soon takes on the camera that it is seen with.
        """
        joined = images_seen >= self._after
        if not joined and not self._learns_camera:
            return None
        rows = {name: self._tables[name].values[batch.indices] for name in _OF_FRAMES}
        frames = {name: row if joined else row.detach() for name, row in rows.items()}
        return Correction(**frames, focal=self._tables["focal"].values[0, 0])

    def penalty(self, correction: Correction) -> Tensor:
        """What keeps corrections small: their squares in units of their usual sizes, mean over the frames, summed."""
        parts = [self._tables[name].penalty(getattr(correction, name)) for name in _OF_FRAMES]
        return torch.stack([*parts, self._tables["focal"].penalty(correction.focal.view(1, 1))]).sum()

    @torch.no_grad()
    def update(self, positions: Tensor, processes: Processes) -> None:
        """A step of Adam by the gradients that the last loss left, on the frames at positions [B] of all processes."""
        shown = shown_frames(len(self._numbers), positions, processes)
        tables = {name: table for name, table in self._tables.items() if table.values.grad is not None}
        processes.mean(table.values.grad for table in tables.values() if table.values.grad is not None)
        for name, table in tables.items():
            table.step(shown if name in _OF_FRAMES else shown.new_ones(1, dtype=torch.bool))
            if name in _OF_FRAMES:
                table.center()

    def doubt(self, images_seen: int) -> Tensor | float:
        """How wrong the tracking is found to be, [] on the device or a number: the root mean square of the turns over that of a
        tracking that is wrong, between _LEAST_DOUBT and 1; 1 before corrections of frames have joined.

        A network can explain what a wrong tracking leaves unexplained by learning frames by heart; the better the tracking, the
        less weight decay has to keep it from that.
        """
        if images_seen < self._after or self._doubt_turn == 0.0:
            return 1.0
        turns = self._tables["turns"].values.detach()
        return (turns.square().sum(dim=1).mean().sqrt() / self._doubt_turn).clamp(_LEAST_DOUBT, 1.0)

    def to_fused(self, batch_size: int) -> fused.Corrections:
        """Turns and shifts for the fused step, which updates them where they lie. batch_size: over all processes."""
        penalty = self._weight / batch_size
        turns, shifts = (self._tables[name].to_fused(penalty) for name in ("turns", "shifts"))
        return fused.Corrections(turns, shifts, self._middles, self._doubt_turn, _LEAST_DOUBT)

    def corrections(self) -> Corrections:
        """What has been found so far; the tensors are those in use."""
        values = {name: table.values.detach() for name, table in self._tables.items()}
        return Corrections(numbers=self._numbers, **(values | {"focal": values["focal"][0, 0]}), **self._examples)

    def state(self) -> dict[str, dict[str, Tensor]]:
        """Adam's state, for a checkpoint; the tensors are those in use."""
        return {name: table.state() for name, table in self._tables.items()}

    @torch.no_grad()
    def restore(self, corrections: Corrections, state: dict[str, dict[str, Tensor]]) -> None:
        """Go on from copies of what was found and of Adam's state. Raises ValueError where they are of other frames."""
        if not torch.equal(corrections.numbers.cpu(), self._numbers.cpu()):
            raise ValueError(
                f"it has corrections of {len(corrections.numbers)} frames, which are not the {len(self._numbers)} of this split"
            )
        for name, table in self._tables.items():
            table.restore(getattr(corrections, name), state[name])

    def describe(self) -> str:
        """How large the corrections are, root mean square over the frames. Waits for the device."""
        found = self.corrections()
        turn, shift = (float(part.square().sum(dim=1).mean().sqrt()) for part in (found.turns, found.shifts))
        text = f"turns of {math.degrees(turn):.2f} degrees, shifts of {_MILLIMETRES * shift:.2f} mm"
        return f"{text}, focal length x {math.exp(float(found.focal)):.3f}" if self._learns_camera else text


def _examples_of(dataset: HeadDataset) -> dict[str, Tensor]:
    """What predicts the corrections of other frames, by the names of `Corrections`."""
    reference = dataset.vertices[0]
    features = frame_features(dataset.vertices, dataset.codes.to(reference.device), reference)
    return {"features": features.float(), "reference": reference}
