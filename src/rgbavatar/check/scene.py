"""A few frames taken apart: mesh, head pose, camera and image, each of which a guess about conventions can change.

Symbols: m frames, V vertices, F faces, h x w small pictures of images of H x W. A *pose* is a rigid motion x' = R x + t. The
*local* mesh is in the head's own space: posed by expression and joints, not yet placed. It is placed in the world by the
pose `head`, and seen by the camera through the pose `view` (OpenCV axes).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import normalize

from rgbavatar.datasets.base import HeadDataset, ImageStore
from rgbavatar.datasets.tracking import Tracking
from rgbavatar.geometry.camera import Camera
from rgbavatar.geometry.coverage import cover_pixels
from rgbavatar.geometry.rotation import nearest_rotation
from rgbavatar.templates.base import HeadTemplate, neutral_parameters

SMALL = (
    96  # pixels of the longer side of a small picture: a head is still 40 wide, and all of them are drawn in a few ms
)
SOME_POINTS = 1500  # vertices whose colours are looked at
NEAR = 0.01  # metres: what is nearer to the camera, or behind it, is not drawn
_FIT_ROUNDS = 8
_FIT_SOFTNESS = 0.01  # metres: a vertex this far off counts half in the next round


@dataclass(frozen=True)
class Pose:
    """m rigid motions. rotation [m, 3, 3], translation [m, 3] metres, float64."""

    rotation: Tensor
    translation: Tensor

    def after(self, first: Pose) -> Pose:
        """The motion that does `first`, then this."""
        return Pose(self.rotation @ first.rotation, self.apply(first.translation[:, None])[:, 0])

    def inverse(self) -> Pose:
        back = self.rotation.mT
        return Pose(back, -(back @ self.translation[..., None])[..., 0])

    def apply(self, points: Tensor) -> Tensor:
        """Move points [m, P, 3]."""
        return points @ self.rotation.mT + self.translation[:, None]


@dataclass(frozen=True)
class Scene:
    """m frames. All float64 on the CPU.

    local [m, V, 3] and faces [F, 3]: the mesh. points [P]: vertices whose colours are looked at; normals [m, P, 3]: unit
    normals of a face at each, on the side that it winds around. head, view: the poses. intrinsics [m, 4]: fx, fy, cx, cy in
    pixels of images of width x height. pictures [m, h, w, 4] uint8: the images made small, straight RGBA. tracked: width and
    height of the images that were tracked, as the tracking says.
    """

    local: Tensor
    faces: Tensor
    points: Tensor
    normals: Tensor
    head: Pose
    view: Pose
    intrinsics: Tensor
    width: int
    height: int
    pictures: Tensor
    tracked: tuple[int, int]

    def __len__(self) -> int:
        return len(self.local)

    @property
    def seen(self) -> Pose:
        """From the head's own space to the camera's."""
        return self.view.after(self.head)

    @property
    def masks(self) -> Tensor:
        """[m, h, w] bool."""
        return torch.from_numpy(self.pictures.numpy()[..., 3] > 127)

    def select(self, frames: Tensor) -> Scene:
        """Some of the frames."""
        return replace(
            self,
            local=self.local[frames],
            normals=self.normals[frames],
            head=Pose(self.head.rotation[frames], self.head.translation[frames]),
            view=Pose(self.view.rotation[frames], self.view.translation[frames]),
            intrinsics=self.intrinsics[frames],
            pictures=self.pictures[frames],
        )


def project(scene: Scene) -> tuple[Tensor, Tensor]:
    """Where the mesh lies: pixel coordinates [m, V, 2] in the small pictures, NaN where it is not before the camera, and its
    vertices [m, V, 3] in the camera's space."""
    h, w = scene.pictures.shape[1:3]
    pose = scene.seen
    vertices = scene.local.numpy() @ pose.rotation.mT.numpy() + pose.translation[:, None].numpy()
    scaled = scene.intrinsics.numpy() * np.array([w / scene.width, h / scene.height] * 2)
    focal, centre = scaled[:, None, :2], scaled[:, None, 2:]
    depth = np.where(vertices[..., 2:] > NEAR, vertices[..., 2:], np.nan)
    pixels = vertices[..., :2] / depth * focal + centre - 0.5
    return torch.from_numpy(pixels), torch.from_numpy(vertices)


def silhouettes(scene: Scene) -> Tensor:
    """The pixels of the small pictures that the mesh covers, [m, h, w] bool."""
    h, w = scene.pictures.shape[1:3]
    return cover_pixels(project(scene)[0], scene.faces, w, h)


def _sample_surface(vertices: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """Some vertices [P] of meshes [m, V, 3], and the normals [m, P, 3] there: each of one face, which is enough to tell sides."""
    some = faces[spread(len(faces), SOME_POINTS)]
    a, b, c = vertices[:, some].unbind(2)
    return some[:, 0], normalize(torch.linalg.cross(b - a, c - a), dim=-1)


def make_small(images: Tensor, side: int = SMALL) -> Tensor:
    """Images [m, H, W, 4] uint8 with a longer side of `side` pixels, averaged; smaller ones stay as they are."""
    height, width = images.shape[1:3]
    scale = min(1.0, side / max(height, width))
    size = max(1, round(scale * width)), max(1, round(scale * height))
    small = [cv2.resize(image, size, interpolation=cv2.INTER_AREA) for image in images.cpu().numpy()]
    return torch.from_numpy(np.stack(small))


def spread(count: int, wanted: int) -> Tensor:
    """`wanted` positions [m] int64 among `count`, as far apart as can be; all of them where there are fewer."""
    return torch.linspace(0, count - 1, min(count, wanted)).round().long()


def scene_of_tracking(
    tracking: Tracking, template: HeadTemplate, frames: Tensor, pictures: Tensor, size: tuple[int, int]
) -> Scene:
    """The frames at positions [m], posed as they were tracked. pictures: theirs. size: (width, height) of the images."""
    motion = tracking.motion.select(frames)
    head = Pose(motion.root.double(), motion.translation.double())
    camera = tracking.camera.select(frames)
    local = head.inverse().apply(template.pose(motion).double())
    points, normals = _sample_surface(local, template.faces)
    return Scene(
        local=local,
        faces=template.faces,
        points=points,
        normals=normals,
        head=head,
        view=_view_of(camera, len(frames)),
        intrinsics=_intrinsics_of(camera, len(frames)),
        width=size[0],
        height=size[1],
        pictures=pictures,
        tracked=(camera.width, camera.height),
    )


def scene_of_dataset(dataset: HeadDataset, frames: Tensor, pictures: Tensor) -> Scene:
    """The frames at positions [m] of a dataset. Its meshes are placed already: they are taken as they are, head at rest."""
    vertices = dataset.vertices[frames.to(dataset.vertices.device)].cpu().double()
    camera = dataset.camera.to(torch.device("cpu")).select(frames)
    still = neutral_parameters(len(frames), 0, 0)
    points, normals = _sample_surface(vertices, dataset.template.faces)
    return Scene(
        local=vertices,
        faces=dataset.template.faces,
        points=points,
        normals=normals,
        head=Pose(still.root, still.translation),
        view=_view_of(camera, len(frames)),
        intrinsics=_intrinsics_of(camera, len(frames)),
        width=dataset.images.width,
        height=dataset.images.height,
        pictures=pictures,
        tracked=(camera.width, camera.height),
    )


def with_head_pose(scene: Scene, template: HeadTemplate) -> Scene:
    """A scene of placed meshes, taken apart: the head's pose is found by laying the template's rest mesh over each mesh."""
    expression = template.code_layout["expression"]
    rest = template.pose(neutral_parameters(1, 0, expression.stop - expression.start))[0].to(scene.local)
    pose = fit_poses(rest, scene.local)
    back = pose.inverse()
    normals = scene.normals @ back.rotation.mT
    return replace(scene, local=back.apply(scene.local), normals=normals, head=scene.head.after(pose))


def fit_poses(rest: Tensor, placed: Tensor) -> Pose:
    """The pose that lays a mesh [V, 3] best over each of m others [m, V, 3] (Procrustes, vertices that fit badly counting less).

    Expressions move a few vertices, and a neck stays behind when a head turns: neither should turn the result.
    """
    weights = torch.ones(placed.shape[:2], dtype=placed.dtype)
    for _ in range(_FIT_ROUNDS):
        share = (weights / weights.sum(1, keepdim=True))[..., None]
        from_middle, to_middle = (share * rest).sum(1), (share * placed).sum(1)
        cross = ((placed - to_middle[:, None]) * share).mT @ (rest - from_middle[:, None])
        rotation = nearest_rotation(cross)
        pose = Pose(rotation, to_middle - (rotation @ from_middle[..., None])[..., 0])
        miss = (pose.apply(rest.expand_as(placed)) - placed).norm(dim=-1)
        weights = 1 / (1 + (miss / _FIT_SOFTNESS) ** 2)
    return pose


def read_small(images: ImageStore, frames: Tensor, side: int = SMALL, at_once: int = 16) -> Tensor:
    """Small pictures of the images at positions [m], read a few at a time. Raises DataError naming a damaged file."""
    return torch.cat([make_small(images.read(some), side) for some in frames.split(at_once)])


def _view_of(camera: Camera, count: int) -> Pose:
    poses = camera.world_to_camera.double().cpu().repeat(count // len(camera), 1, 1)
    return Pose(poses[..., :3], poses[..., 3])


def _intrinsics_of(camera: Camera, count: int) -> Tensor:
    return camera.intrinsics.double().cpu().repeat(count // len(camera), 1)
