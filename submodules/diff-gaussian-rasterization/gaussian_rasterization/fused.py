"""The fused path on CUDA: a training step, or a rendering, as a fixed sequence of kernels that a CUDA graph can hold.

It computes what the plain operators and `torch.optim.Adam` compute one by one, for the L1 loss: the network that weighs the
bases, blending, activation, binding, projection, sorting, both sweeps, and Adam in place. Nothing waits for the host. What
changes from step to step is a row of a schedule on the device; a counter there says which row is next. Where asked to, a step
also corrects the tracking of its frames: it turns and shifts the head, which is moving the camera the other way.

Symbols as in the package, and: M images of a batch over all processes, B of them in this process; S slots that frames lie
in; R processes; C code entries; G rows of a schedule; F frames whose tracking is corrected.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from gaussian_rasterization._library import NAMESPACE as NAMESPACE

RATES = 20
"""Numbers in a row of rates: the learning rate over Adam's first bias correction for mean, rotation, colour, opacity, scale,
the bases' mean, rotation and colour, and the network; then 1 / sqrt of the second bias correction of what trains from the
start, and of bases and network; then the share of the network's numbers that weight decay takes; then Adam's
epsilon for mean, rotation, colour, opacity, scale, and the bases' mean, rotation and colour."""

ERRORS = 3
"""Sums that the loss of an image is told by: of absolute differences of the colours, of squared ones, and of 1 - SSIM of their
blocks where it is in the loss, else 0."""

BLOCK = (4, 8)
"""Rows and columns of the blocks that SSIM is computed of. They tile the picture from its first pixel; the last have fewer."""

VALUES = 14
"""Tensors of an avatar, in order: mean [N, 3], rotation [N, 4], sh [N, 3], log_scale [N, 3], opacity_logit [N]; bases mean
[K, N, 3], rotation [K, N, 4], sh [K, N, 3]; then weight and bias of the network's three layers."""

_ROW, _OVERFLOW, _PAIRS = range(3)  # of the state


@dataclass(frozen=True)
class Frames:
    """Frames in slots. images [S, H, W, 4] uint8 straight RGBA; vertices [S, V, 3]; codes [S, C]; world_to_camera [S or 1,
    3, 4]; intrinsics [S or 1, 4]. A rendering takes no images: any [0] uint8 tensor will do."""

    images: Tensor
    vertices: Tensor
    codes: Tensor
    world_to_camera: Tensor
    intrinsics: Tensor


@dataclass(frozen=True)
class Mesh:
    """As bind_to_mesh takes it, indices int32: faces [F, 3], tangents [F, 2], face_ids [N], barycentrics [N, 3]."""

    faces: Tensor
    tangents: Tensor
    face_ids: Tensor
    barycentrics: Tensor


@dataclass(frozen=True)
class Schedule:
    """What each of G steps takes. slots [G, M] int32; background [G, M, 3]; rates [G, RATES]; frames [G, M] int32: the rows of
    the corrections."""

    slots: Tensor
    background: Tensor
    rates: Tensor
    frames: Tensor


@dataclass(frozen=True)
class Shape:
    """Sizes of one step: this process has the images [first_image, first_image + images) of all_images; bases that take
    part (0 or all K); pixels; capacity: pairs of splat and tile that the workspace holds."""

    first_image: int
    images: int
    all_images: int
    bases: int
    width: int
    height: int
    capacity: int

    def as_list(self) -> list[int]:
        return [
            self.first_image,
            self.images,
            self.all_images,
            self.bases,
            self.width,
            self.height,
            self.capacity,
        ]


@dataclass(frozen=True)
class Progress:
    """What the device says of a schedule: rows done; pairs: the most that a step has had; missing: 0, or the pairs for
    which there was no room (1 where it was another process that had none): that step, and those after it, changed nothing."""

    rows: int
    pairs: int
    missing: int


def new_state(device: torch.device) -> Tensor:
    """The counter and flags that steer a sequence, at row 0."""
    return torch.zeros(3, dtype=torch.int64, device=device)


def rewind(state: Tensor, row: int) -> None:
    """Begin at a row, with no overflow noted. In place; waits for nothing."""
    state[: _OVERFLOW + 1].zero_()
    if row:
        state[_ROW].fill_(row)


def suspend(state: Tensor) -> None:
    """Make all that follows change nothing, until `rewind`. In place; waits for nothing."""
    state[_OVERFLOW].fill_(1)


def read_progress(state: Tensor) -> Progress:
    """Waits for the device, unless the state is a copy on the CPU."""
    values = state.tolist()
    return Progress(values[_ROW], values[_PAIRS], values[_OVERFLOW])


def exchange_length(gaussians: int, images: int) -> int:
    """Floats that a process gives to the others in a step."""
    return int(torch.ops.gaussian_rasterization.fused_exchange_length(gaussians, images))


def fits_device(all_images: int, bases: int, device: torch.device) -> bool:
    """Whether the device has the shared memory that a training step on that many images, with that many bases, takes."""
    with torch.cuda.device(device):
        return bool(torch.ops.gaussian_rasterization.fused_fits_device(all_images, bases))


def workspace_bytes(
    frames: Frames, schedule: Schedule, mesh: Mesh, values: Sequence[Tensor], shape: Shape, training: bool
) -> int:
    """Bytes of scratch memory. Raises ValueError where fits_device does not hold."""
    arguments = (_frames(frames, schedule), _mesh(mesh), list(values), shape.as_list(), training)
    return int(torch.ops.gaussian_rasterization.fused_workspace_bytes(*arguments))


@dataclass(frozen=True)
class FrameTable:
    """Three numbers of each frame, which Adam moves when it is shown. values, averages, squares [F, 3]; visits [F] float32: how
    often. rate: of Adam. stiffness: times a number, the gradient of what keeps it small, for each time that it is shown."""

    values: Tensor
    averages: Tensor
    squares: Tensor
    visits: Tensor
    rate: float
    stiffness: float


@dataclass(frozen=True)
class Corrections:
    """Of the tracking of F frames. turns: axis times angle, radians, of the mesh about its middle; shifts: of the mesh; both in
    the axes of the world, less what all frames have in common. middles [F, 3]. doubt_turn: radians; the network's weight decay
    is multiplied by the root mean square of the turns over that, between least_doubt and 1. 0: it stays as it is."""

    turns: FrameTable
    shifts: FrameTable
    middles: Tensor
    doubt_turn: float
    least_doubt: float

    def tensors(self, schedule: Schedule) -> list[Tensor]:
        tables = [[table.values, table.averages, table.squares, table.visits] for table in (self.turns, self.shifts)]
        return [*tables[0], *tables[1], self.middles, schedule.frames]

    def numbers(self) -> list[float]:
        rates = [self.turns.rate, self.shifts.rate, self.turns.stiffness, self.shifts.stiffness]
        return [*rates, self.doubt_turn, self.least_doubt]


@dataclass(frozen=True)
class TrainingMemory:
    """What a training step changes: values, averages, squares (each VALUES tensors: the parameters and Adam's moments), seen
    [N] bool, state, exchange [R, exchange_length], errors [G, B, ERRORS] (added to), num_invalid [G] int32 (added to),
    workspace uint8."""

    values: Sequence[Tensor]
    averages: Sequence[Tensor]
    squares: Sequence[Tensor]
    seen: Tensor
    state: Tensor
    exchange: Tensor
    errors: Tensor
    num_invalid: Tensor
    workspace: Tensor


def compute_gradients(
    frames: Frames,
    schedule: Schedule,
    mesh: Mesh,
    memory: TrainingMemory,
    shape: Shape,
    process: int,
    loss_scale: float,
    structure: float,
    color_init: bool,
    corrections: Corrections | None = None,
) -> None:
    """The first half of a step: this process's images, up to the gradients it has to give to the others.

    loss_scale: what the sum of absolute differences of all images is multiplied by. structure: weight of 1 - SSIM, summed over
    pixels and colours, where that of absolute differences is 1; SSIM is that of blocks of BLOCK pixels. color_init: gather first
    colours.
    """
    torch.ops.gaussian_rasterization.fused_gradients(
        _frames(frames, schedule),
        _mesh(mesh),
        list(memory.values),
        memory.seen,
        memory.state,
        memory.exchange[process],
        memory.errors,
        memory.num_invalid,
        memory.workspace,
        *_corrections(corrections, schedule),
        shape.as_list(),
        loss_scale,
        structure,
        color_init,
    )


def update_parameters(
    frames: Frames,
    schedule: Schedule,
    mesh: Mesh,
    memory: TrainingMemory,
    shape: Shape,
    color_init: bool,
    corrections: Corrections | None = None,
) -> None:
    """The second half: Adam on all parameters, and the corrections, from the gradients of all processes; moves the state on by
    a row."""
    torch.ops.gaussian_rasterization.fused_update(
        _frames(frames, schedule),
        _mesh(mesh),
        list(memory.values),
        list(memory.averages),
        list(memory.squares),
        memory.seen,
        memory.state,
        schedule.rates,
        memory.exchange,
        memory.workspace,
        *_corrections(corrections, schedule),
        shape.as_list(),
        color_init,
    )


def render_into(
    frames: Frames,
    schedule: Schedule,
    mesh: Mesh,
    values: Sequence[Tensor],
    state: Tensor,
    num_invalid: Tensor,
    workspace: Tensor,
    shape: Shape,
    *,
    pictures: Tensor | None = None,
    color: Tensor | None = None,
    alpha: Tensor | None = None,
) -> None:
    """Render row 0 of the schedule. The bases may be float16.

    pictures [B, H, W, 4] uint8: colour over the background, and coverage. color [B, 3, H, W] and alpha [B, 1, H, W]: as
    rasterize returns them. What is given is written, unless the state then says that room was missing.
    """
    torch.ops.gaussian_rasterization.fused_render(
        _frames(frames, schedule),
        _mesh(mesh),
        list(values),
        state,
        num_invalid,
        workspace,
        shape.as_list(),
        pictures,
        color,
        alpha,
    )


def _frames(frames: Frames, schedule: Schedule) -> list[Tensor]:
    poses = [frames.images, frames.vertices, frames.codes, frames.world_to_camera, frames.intrinsics]
    return [*poses, schedule.slots, schedule.background]


def _corrections(corrections: Corrections | None, schedule: Schedule) -> tuple[list[Tensor], list[float]]:
    return ([], []) if corrections is None else (corrections.tensors(schedule), corrections.numbers())


def _mesh(mesh: Mesh) -> list[Tensor]:
    return [mesh.faces, mesh.tangents, mesh.face_ids, mesh.barycentrics]
