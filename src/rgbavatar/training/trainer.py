"""One training step, and the state that a run carries from step to step.

This is the plain path: autograd over the extension's ops and torch's Adam. It is what every faster path must agree with.
"""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass
from typing import Any

import torch
from gaussian_rasterization import ColorSums
from torch import Tensor

from rgbavatar.binding.mesh_binding import MeshBinding
from rgbavatar.config import Config, config_to_dict
from rgbavatar.errors import CheckpointError, TrainingError
from rgbavatar.geometry.camera import Camera
from rgbavatar.io.checkpoint import Checkpoint
from rgbavatar.losses import LossWeights, composite, target_alpha, total_loss
from rgbavatar.metrics import LpipsMetric
from rgbavatar.model.avatar import AvatarModel
from rgbavatar.model.color_init import ColorInitializer
from rgbavatar.model.corrections import Correction, correct_camera, correct_gaussians
from rgbavatar.renderer import render, render_with_color_sums
from rgbavatar.trained import pack_avatar, strip_prefix, unpack_corrections
from rgbavatar.training.average import ParameterAverage, restore_average
from rgbavatar.training.exposure import Exposure
from rgbavatar.training.neighbors import NO_NEIGHBORS, Neighbors
from rgbavatar.training.network_noise import NetworkNoise
from rgbavatar.training.optimizer import make_optimizer, set_learning_rates
from rgbavatar.training.processes import ALONE, Processes
from rgbavatar.training.randomness import Generators
from rgbavatar.training.refinement import Refinement
from rgbavatar.training.samplers import ErrorBook
from rgbavatar.training.schedule import ImageSchedule, Schedule
from rgbavatar.training.step_report import PlainReport, StepReport
from rgbavatar.types import Batch, Gaussians, Rendering


@dataclass(frozen=True)
class _Posed:
    """A batch ready to be rendered, its tracking corrected. weights [B, K], unless the bases have not joined."""

    gaussians: Gaussians
    camera: Camera
    weights: Tensor | None
    correction: Correction | None


class Trainer:
    """An avatar in training. `step` is the only method that changes it, but for `restore`.

    schedule: the published one, unless whoever trains has another. progress_before: of the means' decay, where the checkpoint
    was written that the trainer was restored from. refinement, exposure: of the frames that batches come from, if any. noise:
    of the network, if any. neighbors: for terms of the loss. region [N]: shares of the Gaussians in what counts more, if any.
    frames: how many are trained on, where that is known. average: of the parameters, which is saved in their place, if any.
    errors: with which frames were last shown, where they are drawn by that.
    """

    def __init__(
        self,
        model: AvatarModel,
        binding: MeshBinding,
        config: Config,
        generators: Generators,
        lpips: LpipsMetric | None = None,
        processes: Processes = ALONE,
        refinement: Refinement | None = None,
        exposure: Exposure | None = None,
        noise: NetworkNoise | None = None,
        neighbors: Neighbors = NO_NEIGHBORS,
        region: Tensor | None = None,
        frames: int | None = None,
    ) -> None:
        self.model = model
        self.binding = binding
        self.config = config
        self.generators = generators
        self.optimizer = make_optimizer(model, config.optimizer, frames)
        self.device = binding.face_ids.device
        self.color_init = ColorInitializer(torch.zeros(binding.count, dtype=torch.bool, device=self.device))
        self.images_seen = 0
        self.schedule: Schedule = ImageSchedule(config)
        self.progress_before = 0.0
        self.processes = processes
        self.refinement = refinement
        self.exposure = exposure
        self.noise = noise
        self.neighbors = neighbors
        self.region = region
        self.errors = ErrorBook(uniform_share=0.0) if config.training.error_sampling > 0.0 else None
        decay = config.training.average
        self.average = ParameterAverage(model, decay) if decay > 0.0 else None
        self._lpips = lpips

    @property
    def uses_bases(self) -> bool:
        """Whether the bases have joined: the base alone is trained first, so that it is not explained away by them."""
        return self.images_seen >= self.config.training.bases_after

    def step(self, batch: Batch) -> PlainReport:
        """Render a batch over random backgrounds, compare, and update the parameters once (Section 3.3 of the paper).

        batch: this process's part, of the same size in each.
        """
        background = self._draw_background(batch)
        posed = self._expose(self._pose(batch, self.noise), batch)
        rendering, sums = self._render(posed, batch.images, background)
        target = composite(batch.images, background)
        loss, terms = self._compute_loss(rendering, target, batch, posed)
        self._update(loss, batch, posed)
        unseen = self.color_init.unseen
        if sums is not None:
            self.processes.sum([sums.rgb, sums.weight])
            self.color_init.apply(sums, self.model.base.sh)
        if self.average is not None:
            self.average.update(self.model, unseen & self.color_init.seen)
        if self.errors is not None:
            self._note_errors(self.errors, batch.indices, (rendering.color.detach() - target).abs().mean(dim=(1, 2, 3)))
        images = len(batch) * self.processes.count
        self.images_seen += images
        return PlainReport(self.images_seen, images, rendering, target, loss.detach(), terms, self.color_init.seen)

    @torch.no_grad()
    def show(self, batch: Batch, background: Tensor) -> Rendering:
        """The avatar as it stands, as the frames of a batch show it, over background [B, 3]."""
        posed = self._pose(batch, None)
        return render(posed.gaussians, posed.camera, background)

    def check_finite(self, report: StepReport) -> None:
        """Raise TrainingError where the loss or a Gaussian is not finite any more. Waits for the device."""
        invalid, loss = report.num_invalid(), report.loss()
        if invalid or not math.isfinite(loss):
            raise TrainingError(
                f"training diverged near image {report.images_seen}: loss {loss:g}, {invalid} Gaussians with "
                f"values that are not finite; lower the rates in the section `optimizer`. The last checkpoint is kept"
            )

    def checkpoint(self) -> Checkpoint:
        """Everything that a later run needs to go on, bit for bit."""
        corrections = None if self.refinement is None else self.refinement.corrections()
        model = pack_avatar(self.model, self.binding, self.color_init.seen, corrections)
        if self.average is not None:
            model |= {f"avatar.{name}": tensor for name, tensor in self.average.tensors().items()}
        return Checkpoint(
            config=config_to_dict(self.config),
            model=model,
            optimizer=self.optimizer.state_dict(),
            generators=self.generators.state(),
            images_seen=self.images_seen,
            extra={"progress": self.schedule.progress(self.images_seen), **self._optional_states()},
        )

    def _optional_states(self) -> dict[str, Any]:
        """Of the parts that this run has beside the published ones, by their names."""
        states: dict[str, Any] = {}
        if self.refinement is not None:
            states["refinement"] = self.refinement.state()
        if self.exposure is not None:
            states["exposure"] = self.exposure.state()
        if self.average is not None:
            states["average"] = self.average.state(self.model)
        if self.errors is not None:
            states["errors"] = self.errors.state()
        return states

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go on from a checkpoint of the same subject and sizes. Raises CheckpointError where they differ."""
        try:
            self.model.load_state_dict(strip_prefix(checkpoint.model, "avatar."))
            restore_average(self.model, self.average, checkpoint.extra.get("average"))
            self.optimizer.load_state_dict(checkpoint.optimizer)
            self.generators.restore(checkpoint.generators)
            self._restore_refinement(checkpoint)
            if self.exposure is not None and "exposure" in checkpoint.extra:
                self.exposure.restore(checkpoint.extra["exposure"])
            if self.errors is not None and "errors" in checkpoint.extra:
                self.errors.restore(checkpoint.extra["errors"])
        except (RuntimeError, ValueError, KeyError) as error:
            reason = " ".join(str(error).split())[:200]
            raise CheckpointError(f"the checkpoint does not fit this configuration and template: {reason}") from error
        self.color_init = ColorInitializer(checkpoint.model["seen"].to(self.device))
        self.images_seen = checkpoint.images_seen
        self.progress_before = float(checkpoint.extra.get("progress", self.schedule.progress(self.images_seen)))

    def _restore_refinement(self, checkpoint: Checkpoint) -> None:
        """Take over the corrections of a checkpoint; where it has none, they begin at nothing."""
        corrections = unpack_corrections(checkpoint.model)
        if corrections is None:
            return
        if self.refinement is None:
            raise ValueError("it was trained with training.refine_tracking=true, so it goes on with that alone")
        self.refinement.restore(corrections, checkpoint.extra["refinement"])

    def _note_errors(self, book: ErrorBook, positions: Tensor, errors: Tensor) -> None:
        """Note the errors [B] of the frames at positions [B] of all processes. Waits for the device."""
        blocks = errors.new_zeros(self.processes.count, 2, len(errors), dtype=torch.float64)
        blocks[self.processes.rank] = torch.stack([positions.double(), errors.double()])
        self.processes.sum([blocks])
        for shown, found in blocks.tolist():
            book.note([int(position) for position in shown], found)

    def _draw_background(self, batch: Batch) -> Tensor:
        images = len(batch) * self.processes.count
        background = torch.rand(images, 3, generator=self.generators["background"])[self.processes.part(images)]
        return background.to(batch.images.device, non_blocking=True)

    def _pose(self, batch: Batch, noise: NetworkNoise | None) -> _Posed:
        correction = None if self.refinement is None else self.refinement.correct(batch, self.images_seen)
        codes = batch.codes if correction is None else batch.codes + correction.codes
        weights = self._weigh(codes, noise) if self.uses_bases else None
        local = self.model.unblended(len(batch)) if weights is None else self.model.blended(weights)
        world = self.binding.to_world(local, batch.vertices)
        if correction is None:
            return _Posed(world, batch.camera, weights, None)
        world = correct_gaussians(world, batch.vertices, batch.camera, correction)
        return _Posed(world, correct_camera(batch.camera, correction), weights, correction)

    def _weigh(self, codes: Tensor, noise: NetworkNoise | None) -> Tensor:
        if noise is None:
            return self.model.weights(codes)
        return self.model.weights(*noise.draw(codes, self.images_seen, self.processes))

    def _expose(self, posed: _Posed, batch: Batch) -> _Posed:
        if self.exposure is None:
            return posed
        return dataclasses.replace(posed, gaussians=self.exposure.expose(posed.gaussians, batch))

    def _render(self, posed: _Posed, images: Tensor, background: Tensor) -> tuple[Rendering, ColorSums | None]:
        if not self.config.training.color_init:
            return render(posed.gaussians, posed.camera, background), None
        return render_with_color_sums(posed.gaussians, posed.camera, background, images, self.color_init.unseen)

    def _compute_loss(
        self, rendering: Rendering, target: Tensor, batch: Batch, posed: _Posed
    ) -> tuple[Tensor, dict[str, Tensor]]:
        basis, weights = self.model.basis, self.config.loss.at(self.images_seen)
        joined = posed.weights is not None
        loss, terms = total_loss(
            rendering,
            target,
            target_alpha(batch.images),
            weights if joined else _without_bases(weights),
            blend_weights=posed.weights,
            bases=(basis.mean, basis.rotation, basis.sh),
            weight_steps=self._weight_steps(batch) if joined else None,
            neighbors=self.neighbors.gaussians,
            region_shares=None if self.region is None else _show_shares(posed, self.region),
            lpips=self._lpips,
        )
        if self.refinement is None or posed.correction is None:
            return loss, terms
        penalty = self.refinement.penalty(posed.correction)
        return loss + self.config.refinement.weight * penalty, terms | {"refinement": penalty.detach()}

    def _weight_steps(self, batch: Batch) -> Tensor | None:
        if self.neighbors.frames is None:
            return None
        offsets = None if self.refinement is None else self.refinement.corrections().codes
        return self.neighbors.frames.weight_steps(self.model, batch.indices, offsets)

    def _update(self, loss: Tensor, batch: Batch, posed: _Posed) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        self.processes.mean(p.grad for p in self.model.parameters() if p.grad is not None)
        set_learning_rates(self.optimizer, self.config.optimizer, self.schedule.next(self.images_seen))
        self.optimizer.step(1.0 if self.refinement is None else self.refinement.doubt(self.images_seen))
        if self.refinement is not None and posed.correction is not None:
            self.refinement.update(batch.indices, self.processes)
        if self.exposure is not None:
            self.exposure.update(batch.indices, self.processes)


@torch.no_grad()
def _show_shares(posed: _Posed, shares: Tensor) -> Tensor:
    """How much of each pixel belongs to what shares [N] of the Gaussians do: [B, 1, H, W]. Nothing is learnt through it."""
    gaussians, count = posed.gaussians, len(posed.gaussians.colors)
    marked = dataclasses.replace(gaussians, colors=shares[None, :, None].expand(count, -1, 3).contiguous())
    return render(marked, posed.camera, shares.new_zeros(count, 3)).color[:, :1]


def _without_bases(weights: LossWeights) -> LossWeights:
    return dataclasses.replace(weights, sparsity=0.0, orthogonality=0.0, smooth_weights=0.0, smooth_bases=0.0)
