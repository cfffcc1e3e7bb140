"""Pictures of a trained avatar on CUDA as fast as they come: half-precision bases, no state for gradients, 8-bit pictures
straight from the sweep, and a CUDA graph for each batch size.

What it draws is what `TrainedAvatar.render` draws, to a level of 8 bits.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from gaussian_rasterization import fused
from torch import Tensor

from rgbavatar.geometry.camera import Camera
from rgbavatar.model.avatar import parameters_in_order
from rgbavatar.trained import TrainedAvatar

_HEADROOM = 1.5  # of the buffers over the largest picture seen
_FIRST_PAIRS = 3  # pairs of splat and tile that a splat is given room for at first


@dataclass(frozen=True)
class View:
    """What a batch of pictures shows. codes [B, C]; vertices [B, V, 3] metres; camera: one, or one for each; background [B,
    3] in [0, 1]. All on the avatar's device."""

    codes: Tensor
    vertices: Tensor
    camera: Camera
    background: Tensor

    def __len__(self) -> int:
        return self.codes.shape[0]


class PictureRenderer:
    """Renders one avatar. Each size of batch and picture gets memory and a graph of its own when it first comes."""

    def __init__(self, avatar: TrainedAvatar) -> None:
        self._avatar = avatar
        values = [value.detach() for value in parameters_in_order(avatar.model)]
        self._values = [value.half() if value.ndim == 3 else value for value in values]  # [K, N, D]: the bases
        self._mesh = avatar.binding.to_fused()
        self._lanes: dict[tuple[int, int, int, int], list[_Lane]] = {}
        self._turn = 0

    def render(self, view: View) -> Tensor:
        """Pictures [B, H, W, 4] uint8: colour over the background, and coverage. Valid until the second call after."""
        return self.submit(view).wait()

    def stream(self, views: Iterable[View]) -> Iterator[Tensor]:
        """The pictures of each view in turn, each rendered while the one before is looked at. Valid for one turn."""
        before: _Lane | None = None
        for view in views:
            now = self.submit(view)
            if before is not None:
                yield before.wait()
            before = now
        if before is not None:
            yield before.wait()

    def submit(self, view: View) -> _Lane:
        """Begin to render, in the memory of the call before the last. Waits for nothing."""
        camera = view.camera
        key = (len(view), len(camera), camera.width, camera.height)
        if key not in self._lanes:
            self._lanes[key] = [_Lane(self._avatar, self._values, self._mesh, view) for _ in range(2)]
        self._turn ^= 1
        lane = self._lanes[key][self._turn]
        lane.start(view)
        return lane


class _Lane:
    """Memory and graph for views of one size: copies of what they show, and the pictures."""

    def __init__(self, avatar: TrainedAvatar, values: list[Tensor], mesh: fused.Mesh, like: View) -> None:
        self._values, self._mesh, self._network = values, mesh, avatar.model.network
        self._bases = avatar.model.shape.bases if avatar.uses_bases else 0
        device, count, camera = like.codes.device, len(like), like.camera
        self._frames = fused.Frames(
            images=torch.empty(0, dtype=torch.uint8, device=device),
            vertices=torch.empty_like(like.vertices, memory_format=torch.contiguous_format),
            codes=torch.empty_like(like.codes, memory_format=torch.contiguous_format),
            world_to_camera=camera.world_to_camera.clone(memory_format=torch.contiguous_format),
            intrinsics=camera.intrinsics.clone(memory_format=torch.contiguous_format),
        )
        self._schedule = fused.Schedule(
            slots=torch.arange(count, dtype=torch.int32, device=device)[None],
            background=torch.empty(1, count, 3, device=device),
            rates=torch.empty(0, device=device),
            frames=torch.empty(0, dtype=torch.int32, device=device),
        )
        frames = self._frames
        poses = [frames.vertices, frames.codes, frames.world_to_camera, frames.intrinsics]
        self._inputs = [*poses, self._schedule.background[0]]
        self._state = fused.new_state(device)
        self._num_invalid = torch.zeros(1, dtype=torch.int32, device=device)
        self._pictures = torch.empty(count, camera.height, camera.width, 4, dtype=torch.uint8, device=device)
        self._progress = torch.empty(self._state.shape, dtype=self._state.dtype, pin_memory=True)
        self._end = torch.cuda.Event()
        self._record(int(_FIRST_PAIRS * count * avatar.binding.count))

    def start(self, view: View) -> None:
        """Begin to render the view."""
        codes = self._network.limited(view.codes)
        shown = [view.vertices, codes, view.camera.world_to_camera, view.camera.intrinsics, view.background]
        torch._foreach_copy_(self._inputs, shown)
        self._run()

    def wait(self) -> Tensor:
        """The pictures; where there was no room for all pairs, rendered again with more."""
        self._end.synchronize()
        while (progress := fused.read_progress(self._progress)).missing:
            self._record(int(progress.pairs * _HEADROOM))
            self._run()
            self._end.synchronize()
        return self._pictures

    def _run(self) -> None:
        self._graph.replay()
        self._progress.copy_(self._state, non_blocking=True)
        self._end.record()

    def _record(self, capacity: int) -> None:
        """Memory and graph for that many pairs. The kernels run once before, so that all that is made lazily exists."""
        count, height, width, _ = self._pictures.shape
        shape = fused.Shape(0, count, count, self._bases, width, height, capacity)
        size = fused.workspace_bytes(self._frames, self._schedule, self._mesh, self._values, shape, training=False)
        workspace = torch.empty(size, dtype=torch.uint8, device=self._pictures.device)

        def render() -> None:
            fused.rewind(self._state, 0)
            fused.render_into(
                self._frames, self._schedule, self._mesh, self._values, self._state, self._num_invalid, workspace, shape,
                pictures=self._pictures,
            )  # fmt: skip

        render()
        self._workspace = workspace  # the graph holds its address alone
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            render()
