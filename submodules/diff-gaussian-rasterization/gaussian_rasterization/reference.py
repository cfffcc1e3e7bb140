"""The operators once more, as readable dense torch: the oracle of the compiled ones. Imported by tests only.

Every Gaussian meets every pixel, so keep scenes small. Any floating type and device; gradients by torch's autograd.
Written from the papers' equations in another way than the kernels where there is one: determinants and inverses
directly, no tiles, no ellipses.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import normalize

MIN_ALPHA = 1 / 255
MAX_ALPHA = 0.99
MAX_OPACITY = 1e6
MIN_TRANSMITTANCE = 1e-4
NEAR = 0.2
BLUR = 0.3
JACOBIAN_LIMIT = 1.3
MAX_VARIANCE = 1e12
MIN_QUATERNION_NORM = 1e-12
MIN_EDGE_LENGTH = 1e-12
MIN_FACE_SINE = 1e-6
MIN_SEEN_WEIGHT = 0.1


@dataclass(frozen=True)
class Projected:
    """Splats of one image. centers [N, 2] pixels; covariances [N, 2, 2] pixels squared; depths [N]; visible [N] bool."""

    centers: Tensor
    covariances: Tensor
    depths: Tensor
    visible: Tensor


@dataclass(frozen=True)
class Image:
    """color [3, H, W]; alpha [1, H, W]; shares [N, H, W] alpha times transmittance of each Gaussian in each pixel;
    num_invalid."""

    color: Tensor
    alpha: Tensor
    shares: Tensor
    num_invalid: int


def rotation_matrices(quaternions: Tensor) -> Tensor:
    """[..., 4] unit WXYZ to [..., 3, 3]: the columns are the axes turned by v -> v + 2 u x (u x v + w v), u = (x, y,
    z)."""
    w, u = quaternions[..., :1], quaternions[..., 1:]
    axes = torch.eye(3, dtype=quaternions.dtype, device=quaternions.device)
    columns = []
    for axis in axes:
        axis = axis.expand_as(u)
        columns.append(axis + 2 * torch.linalg.cross(u, torch.linalg.cross(u, axis) + w * axis))
    return torch.stack(columns, -1)


def has_direction(quaternions: Tensor) -> Tensor:
    """[..., 4] to [...] bool: the squared norm is finite and not (nearly) 0."""
    norm2 = (quaternions**2).sum(-1)
    return norm2.isfinite() & (norm2 >= MIN_QUATERNION_NORM**2)


def valid_gaussians(means: Tensor, rotations: Tensor, scales: Tensor, opacities: Tensor, colors: Tensor) -> Tensor:
    """[N] bool: all attributes finite, an opacity within bounds, and a rotation that has a direction."""
    finite = [x.isfinite().all(-1) for x in (means, scales, colors)]
    opaque = opacities.isfinite() & (opacities <= MAX_OPACITY)
    return finite[0] & finite[1] & finite[2] & opaque & has_direction(rotations)


def project(
    means: Tensor, rotations: Tensor, scales: Tensor, pose: Tensor, intrinsics: Tensor, width: int, height: int
) -> Projected:
    """3D Gaussian Splatting, equations 5 and 6. means [N, 3], rotations [N, 4], scales [N, 3], pose [3, 4], intrinsics
    [4]."""
    fx, fy, cx, cy = intrinsics
    in_camera = means @ pose[:, :3].T + pose[:, 3]
    x, y, z = in_camera.unbind(-1)
    in_front = z > NEAR
    z_safe = torch.where(in_front, z, 1)
    centers = torch.stack([fx * x / z_safe + cx - 0.5, fy * y / z_safe + cy - 0.5], -1)
    u = _clamped(x / z_safe, JACOBIAN_LIMIT * width / (2 * fx))
    v = _clamped(y / z_safe, JACOBIAN_LIMIT * height / (2 * fy))
    zero = torch.zeros_like(z)
    jacobian = torch.stack([fx / z_safe, zero, -fx * u / z_safe, zero, fy / z_safe, -fy * v / z_safe], -1).reshape(
        -1, 2, 3
    )
    rotation = rotation_matrices(normalize(rotations, dim=-1))
    covariance = rotation @ torch.diag_embed(scales**2) @ rotation.mT
    to_screen = jacobian @ pose[:, :3]
    screen = to_screen @ covariance @ to_screen.mT + BLUR * torch.eye(2, dtype=means.dtype, device=means.device)
    small = (screen.diagonal(dim1=-2, dim2=-1) <= MAX_VARIANCE).all(-1)
    return Projected(centers, screen, z, in_front & small & centers.isfinite().all(-1))


def _clamped(value: Tensor, limit: Tensor) -> Tensor:
    """Between -limit and limit, without a gradient where the limit holds."""
    return torch.maximum(torch.minimum(value, limit), -limit)


def alphas_of(splats: Projected, opacities: Tensor, width: int, height: int) -> Tensor:
    """[N, H, W]: min(0.99, opacity exp(-1/2 d^T inv(covariance) d)), 0 under 1/255. The clamp passes the gradient as if
    it were not there."""
    rows, columns = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    pixels = torch.stack([columns, rows], -1).reshape(1, -1, 2).to(opacities)
    offsets = pixels - splats.centers[:, None]
    forms = torch.einsum("npi,nij,npj->np", offsets, torch.linalg.inv(splats.covariances), offsets)
    unclamped = opacities[:, None] * torch.exp(-0.5 * forms)
    alphas = unclamped - (unclamped - MAX_ALPHA).clamp_min(0).detach()
    return torch.where(alphas >= MIN_ALPHA, alphas, 0).reshape(-1, height, width)


def composite(alphas: Tensor) -> tuple[Tensor, Tensor]:
    """alphas [N, H, W], nearest first -> shares alpha T [N, H, W], and the transmittance left [H, W].

    A pixel is finished before the first Gaussian that would take its transmittance under 1e-4.
    """
    through = torch.cumprod(1 - alphas, 0)
    composited = through.detach() >= MIN_TRANSMITTANCE
    before = torch.cat([torch.ones_like(alphas[:1]), through[:-1]])
    shares = torch.where(composited, alphas * before, 0)
    left = torch.where(composited, 1 - alphas, 1).prod(0)
    return shares, left


def render_image(
    means: Tensor,
    rotations: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    pose: Tensor,
    intrinsics: Tensor,
    background: Tensor,
    width: int,
    height: int,
) -> Image:
    """One image: means [N, 3], rotations [N, 4], scales [N, 3], opacities [N], colors [N, 3], pose [3, 4], intrinsics
    [4], background [3]."""
    valid = valid_gaussians(means, rotations, scales, opacities, colors)
    kept = valid.nonzero()[:, 0]
    splats = project(means[kept], rotations[kept], scales[kept], pose, intrinsics, width, height)
    visible = splats.visible.nonzero()[:, 0]
    order = visible[torch.argsort(splats.depths[visible].detach(), stable=True)]
    nearest_first = Projected(
        splats.centers[order], splats.covariances[order], splats.depths[order], splats.visible[order]
    )
    chosen = kept[order]
    shares, left = composite(alphas_of(nearest_first, opacities[chosen], width, height))
    color = torch.einsum("nhw,nc->chw", shares, colors[chosen]) + left * background[:, None, None]
    in_place = shares.new_zeros(means.shape[0], height, width).index_copy(0, chosen, shares)
    return Image(color, (1 - left)[None], in_place, int((~valid).sum()))


def _images(
    means: Tensor,
    rotations: Tensor,
    scales: Tensor,
    opacities: Tensor,
    colors: Tensor,
    world_to_camera: Tensor,
    intrinsics: Tensor,
    background: Tensor,
    width: int,
    height: int,
) -> list[Image]:
    images = means.shape[0]
    scales = scales.expand(images, -1, -1)
    opacities = opacities.expand(images, -1)
    poses, lenses = world_to_camera.expand(images, -1, -1), intrinsics.expand(images, -1)
    each = zip(means, rotations, scales, opacities, colors, poses, lenses, background, strict=True)
    return [render_image(m, r, s, o, c, p, k, b, width, height) for m, r, s, o, c, p, k, b in each]


def rasterize(*arguments: Any) -> tuple[Tensor, Tensor, Tensor]:
    """Arguments as of gaussian_rasterization.rasterize. Returns color [B, 3, H, W], alpha [B, 1, H, W], num_invalid
    [B]."""
    images = _images(*arguments)
    num_invalid = torch.tensor([image.num_invalid for image in images], dtype=torch.int32)
    return torch.stack([i.color for i in images]), torch.stack([i.alpha for i in images]), num_invalid


def color_sums(*arguments: Any, target_images: Tensor, unseen: Tensor) -> tuple[Tensor, Tensor]:
    """rgb [N, 3] and weight [N] as of gaussian_rasterization.rasterize_with_color_sums."""
    shares = torch.stack([image.shares for image in _images(*arguments)])  # [B, N, H, W]
    targets = target_images.to(shares.dtype) / 255
    foreground = targets[..., 3] > 0.5
    counted = torch.where((shares > MIN_SEEN_WEIGHT) & foreground[:, None] & unseen[None, :, None, None], shares, 0)
    return torch.einsum("bnhw,bhwc->nc", counted, targets[..., :3]), counted.sum((0, 2, 3))


def blend(base: Tensor, basis: Tensor, weights: Tensor) -> Tensor:
    """base [N, D] + sum_k weights [B, k] basis [k, N, D]."""
    return base + torch.einsum("bk,knd->bnd", weights, basis)


def unit_or_zero(quaternions: Tensor) -> Tensor:
    """Normalised, and zero where there is no direction."""
    valid = has_direction(quaternions)[..., None]
    safe = torch.where(valid, quaternions, quaternions.new_tensor([1.0, 0, 0, 0]))
    return torch.where(valid, safe / safe.norm(dim=-1, keepdim=True), 0)


def multiply_quaternions(a: Tensor, b: Tensor) -> Tensor:
    """Hamilton product: w = w_a w_b - u_a . u_b, u = w_a u_b + w_b u_a + u_a x u_b."""
    wa, ua, wb, ub = a[..., :1], a[..., 1:], b[..., :1], b[..., 1:]
    w = wa * wb - (ua * ub).sum(-1, keepdim=True)
    return torch.cat([w, wa * ub + wb * ua + torch.linalg.cross(ua, ub)], -1)


def quaternions_of(rotations: Tensor) -> Tensor:
    """[..., 3, 3] to [..., 4], largest component positive: the eigenvector that 4 q q^T - 1, whose entries the matrix
    gives, has."""
    r = rotations
    xx, yy, zz = r[..., 0, 0], r[..., 1, 1], r[..., 2, 2]
    x, y, z = r[..., 2, 1] - r[..., 1, 2], r[..., 0, 2] - r[..., 2, 0], r[..., 1, 0] - r[..., 0, 1]
    xy, xz, yz = r[..., 0, 1] + r[..., 1, 0], r[..., 0, 2] + r[..., 2, 0], r[..., 1, 2] + r[..., 2, 1]
    rows = [xx + yy + zz, x, y, z, x, xx - yy - zz, xy, xz, y, xy, yy - xx - zz, yz, z, xz, yz, zz - xx - yy]
    outer = torch.stack(rows, -1).reshape(*r.shape[:-2], 4, 4)
    quaternions = torch.linalg.eigh(outer).eigenvectors[..., -1]
    largest = quaternions.abs().argmax(-1, keepdim=True)
    return quaternions * quaternions.gather(-1, largest).sign()


def _is_direction(vectors: Tensor) -> Tensor:
    return (vectors**2).sum(-1) >= MIN_EDGE_LENGTH**2


def any_perpendicular(vectors: Tensor) -> Tensor:
    """Unit vectors at a right angle: each crossed with the axis it is least aligned with (the first of equals)."""
    axes = torch.eye(3, dtype=vectors.dtype, device=vectors.device)
    return normalize(torch.linalg.cross(vectors, axes[vectors.abs().argmin(-1)]), dim=-1)


def face_frames(corners: Tensor, tangents: Tensor) -> Tensor:
    """corners [..., 3 (corner), 3], tangents [..., 2] -> rotations [..., 3, 3], columns tangent, bitangent, normal.
    Fallbacks as documented."""
    e1, e2 = corners[..., 1, :] - corners[..., 0, :], corners[..., 2, :] - corners[..., 0, :]
    longer = torch.where(e1.norm(dim=-1, keepdim=True) >= e2.norm(dim=-1, keepdim=True), e1, e2)
    length = longer.norm(dim=-1, keepdim=True)
    point = ~_is_direction(longer)[..., None]
    length = torch.where(point, 1, length)
    normal = torch.linalg.cross(e1 / length, e2 / length)
    flat = normal.norm(dim=-1, keepdim=True) < MIN_FACE_SINE
    normal = torch.where(flat, any_perpendicular(longer / length), normalize(normal, dim=-1))
    normal = torch.where(point, normal.new_tensor([0.0, 0, 1]), normal)
    tangent = any_perpendicular(normal)
    for wanted in (e2, e1, tangents[..., :1] * e1 + tangents[..., 1:] * e2):  # the last one that exists wins
        rest = wanted - (wanted * normal).sum(-1, keepdim=True) * normal
        usable = _is_direction(rest) & (rest.norm(dim=-1) >= MIN_FACE_SINE * wanted.norm(dim=-1))
        tangent = torch.where(usable[..., None], normalize(rest, dim=-1), tangent)
    return torch.stack([tangent, torch.linalg.cross(normal, tangent), normal], -1)


def bind_to_mesh(
    means: Tensor,
    rotations: Tensor,
    vertices: Tensor,
    faces: Tensor,
    tangents: Tensor,
    face_ids: Tensor,
    barycentrics: Tensor,
) -> tuple[Tensor, Tensor]:
    """As of gaussian_rasterization.bind_to_mesh; the world rotation's sign may differ, which is the same rotation."""
    corners = vertices[:, faces[face_ids].long()]  # [B, N, 3 (corner), 3]
    frames = face_frames(corners, tangents[face_ids].expand(means.shape[0], -1, -1))
    anchors = torch.einsum("ni,bnij->bnj", barycentrics, corners)
    world_means = torch.einsum("bnij,bnj->bni", frames, means) + anchors
    return world_means, multiply_quaternions(quaternions_of(frames), unit_or_zero(rotations))
