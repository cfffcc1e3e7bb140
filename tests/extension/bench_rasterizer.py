"""Times the operators at the workload "standard". Run it by hand: python -m tests.extension.bench_rasterizer [device]."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

import gaussian_rasterization as gr
import torch

from tests.helpers import scenes


def time_ms(f: Callable[[], object], device: str, repeats: int = 7) -> float:
    """The fastest of several runs, milliseconds."""
    times = []
    for _ in range(repeats):
        synchronize(device)
        start = time.perf_counter()
        f()
        synchronize(device)
        times.append(1e3 * (time.perf_counter() - start))
    return min(times)


def synchronize(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)


def report(name: str, f: Callable[[], object], device: str) -> None:
    sys.stdout.write(f"{name:42s}{time_ms(f, device):9.2f} ms\n")


def time_rasterizer(device: str) -> None:
    scene = scenes.head().to(device, torch.float32)
    arguments = scene.arguments()
    ops = torch.ops.gaussian_rasterization
    color, alpha, _, splats, bins = ops.rasterize(*arguments)
    gradient = torch.sign(torch.rand_like(color) - 0.5), torch.zeros_like(alpha)
    report("rasterize", lambda: ops.rasterize(*arguments), device)
    report(
        "rasterize_backward",
        lambda: ops.rasterize_backward(*gradient, color, alpha, splats, bins, *arguments[:8]),
        device,
    )
    targets = torch.randint(0, 256, (scene.images, scene.height, scene.width, 4), dtype=torch.uint8, device=device)
    unseen = torch.ones(scene.gaussians, dtype=torch.bool, device=device)
    report("rasterize_with_color_sums", lambda: ops.rasterize_with_color_sums(*arguments, targets, unseen), device)


def time_blend(device: str, images: int = 10, bases: int = 20, gaussians: int = 58_500) -> None:
    base = torch.randn(gaussians, 10, device=device)
    basis = torch.randn(bases, gaussians, 10, device=device)
    weights = torch.randn(images, bases, device=device)
    gradient = torch.randn(images, gaussians, 10, device=device)
    report("blend (10 values per Gaussian)", lambda: gr.blend(base, basis, weights), device)
    backward = torch.ops.gaussian_rasterization.blend_backward
    report("blend_backward", lambda: backward(gradient, basis, weights), device)


def time_binding(
    device: str, images: int = 10, gaussians: int = 58_500, vertices: int = 5023, faces: int = 9976
) -> None:
    mesh = (
        torch.randn(images, vertices, 3, device=device),
        torch.randint(0, vertices, (faces, 3), device=device),
        torch.randn(faces, 2, device=device),
        torch.randint(0, faces, (gaussians,), device=device),
        torch.rand(gaussians, 3, device=device),
    )
    means, rotations = (
        torch.randn(images, gaussians, 3, device=device),
        torch.randn(images, gaussians, 4, device=device),
    )
    backward = torch.ops.gaussian_rasterization.bind_to_mesh_backward
    report("bind_to_mesh", lambda: gr.bind_to_mesh(means, rotations, *mesh), device)
    report("bind_to_mesh_backward", lambda: backward(means, rotations, rotations, *mesh), device)


if __name__ == "__main__":
    chosen = sys.argv[1] if len(sys.argv) > 1 else "cpu"
    sys.stdout.write(f"device {chosen}, {torch.get_num_threads()} threads, backends {sorted(gr.backends())}\n")
    time_rasterizer(chosen)
    time_blend(chosen)
    time_binding(chosen)
