"""What is the CUDA backend's alone.

It agrees with the CPU's on scenes of many batches, repeats itself to the bit, and keeps to its stream, device and type.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import gaussian_rasterization as gr
import pytest
import torch
from torch import Tensor

from tests.extension.test_bind_to_mesh import random_gaussians, random_mesh
from tests.extension.test_color_sums import random_targets, share_clearance, sums_of
from tests.helpers import scenes, thresholds, tolerances
from tests.helpers.rasterization import NAMES, Result, run_kernel
from tests.helpers.scenes import Scene

pytestmark = pytest.mark.gpu
OPS = torch.ops.gaussian_rasterization


@pytest.fixture(autouse=True)
def _cuda() -> None:
    _need_devices(1)


def _need_devices(count: int) -> None:
    if torch.cuda.device_count() < count or "cuda" not in gr.backends():
        pytest.skip(f"needs the CUDA backend and {count} CUDA devices")


def crowded(gaussians: int = 1200) -> Scene:
    """Hundreds of splats in each tile: several batches of a block, in many of which all its pixels finish early."""
    return scenes.cloud(seed=1, images=2, gaussians=gaussians, width=96, height=80)


def assert_same_bits(actual: Result, expected: Result) -> None:
    assert torch.equal(actual.color.cpu(), expected.color.cpu())
    assert torch.equal(actual.alpha.cpu(), expected.alpha.cpu())
    for name, a, b in zip(NAMES, actual.gradients, expected.gradients, strict=True):
        assert torch.equal(a.cpu(), b.cpu()), name


def mesh_on(device: str) -> tuple[Tensor, ...]:
    return tuple(x.to(device, torch.float32) if x.is_floating_point() else x.to(device) for x in random_mesh())


def gaussians_on(device: str) -> tuple[Tensor, ...]:
    return tuple(x.to(device, torch.float32) for x in random_gaussians())


def blend_arguments(images: int, bases: int, gaussians: int, width: int, device: str = "cuda") -> tuple[Tensor, ...]:
    g = scenes.generator_of(2)
    shapes = [(gaussians, width), (bases, gaussians, width), (images, bases)]
    return tuple(scenes.normal(g, *shape).to(device, torch.float32) for shape in shapes)


def test_a_crowded_scene_equals_the_cpus() -> None:
    scene = crowded()
    assert thresholds.clearance(scene) > 1e-5
    actual = run_kernel(scene.to("cuda", torch.float32))
    expected = run_kernel(scene.to("cpu", torch.float32))
    tolerances.assert_close(actual.color, expected.color, tolerances.COLOR_FLOAT32, "color")
    tolerances.assert_close(actual.alpha, expected.alpha, tolerances.COLOR_FLOAT32, "alpha")
    for name, a, b in zip(NAMES, actual.gradients, expected.gradients, strict=True):
        tolerances.assert_close(a, b, tolerances.GRADIENT_FLOAT32, f"gradient to {name}")


def test_color_sums_of_a_crowded_scene_equal_the_cpus() -> None:
    scene = scenes.cloud(seed=7, images=2, gaussians=500, width=70, height=50, max_opacity=0.95)
    assert share_clearance(scene) > 3e-6
    targets = random_targets(scene)
    unseen = scenes.uniform(scenes.generator_of(1), scene.gaussians) < 0.7
    actual = sums_of(scene.to("cuda", torch.float32), targets, unseen)
    expected = sums_of(scene.to("cpu", torch.float32), targets, unseen)
    tolerances.assert_close(actual.rgb, expected.rgb, tolerances.COLOR_FLOAT32, "rgb")
    tolerances.assert_close(actual.weight, expected.weight, tolerances.COLOR_FLOAT32, "weight")


def test_a_large_blend_equals_the_cpus() -> None:
    """Two groups of images, thousands of parts of each weight's sum, and a last warp with few elements."""

    def run(device: str) -> list[Tensor]:
        inputs = [x.requires_grad_() for x in blend_arguments(10, 20, 20_001, 3, device)]
        out = gr.blend(*inputs)
        upstream = scenes.normal(scenes.generator_of(3), *out.shape).to(out)
        return [out, *torch.autograd.grad(out, inputs, upstream)]

    for name, actual, expected in zip(("out", "base", "basis", "weights"), run("cuda"), run("cpu"), strict=True):
        tolerances.assert_close(actual, expected, tolerances.BLEND_FLOAT32, name)


def test_a_scene_gives_the_same_bits_again_while_the_device_is_busy() -> None:
    scene = crowded().to("cuda", torch.float32)
    expected = run_kernel(scene)
    other = torch.cuda.Stream()
    for _ in range(5):
        with torch.cuda.stream(other):
            torch.randn(2000, 2000, device="cuda") @ torch.randn(2000, 2000, device="cuda")
        assert_same_bits(run_kernel(scene), expected)


def test_color_sums_and_blend_gradients_give_the_same_bits_again() -> None:
    scene = crowded().to("cuda", torch.float32)
    targets = random_targets(scene)
    first, second = sums_of(scene, targets), sums_of(scene, targets)
    assert torch.equal(first.rgb, second.rgb)
    assert torch.equal(first.weight, second.weight)
    base, basis, weights = blend_arguments(10, 20, 20_001, 3)
    upstream = gr.blend(base, basis, weights)
    once, twice = OPS.blend_backward(upstream, basis, weights), OPS.blend_backward(upstream, basis, weights)
    assert all(torch.equal(x, y) for x, y in zip(once, twice, strict=True))


def test_gradients_on_a_side_stream_are_the_same() -> None:
    scene = crowded().to("cuda", torch.float32)
    expected = run_kernel(scene)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        actual = run_kernel(scene)
    stream.synchronize()
    assert_same_bits(actual, expected)


def test_a_second_device_works_while_the_first_is_current() -> None:
    _need_devices(2)
    scene = crowded()
    with torch.cuda.device(0):
        actual = run_kernel(scene.to("cuda:1", torch.float32))
    assert actual.color.device == torch.device("cuda:1")
    assert_same_bits(actual, run_kernel(scene.to("cuda:0", torch.float32)))


def test_a_side_streams_render_does_not_wait_for_the_default_stream() -> None:
    """What it launches and the memory it takes are the side stream's: the default stream is asleep meanwhile."""
    scene = crowded(100).to("cuda", torch.float32)
    stream, asleep = torch.cuda.Stream(), torch.cuda.Event()
    torch.cuda.synchronize()
    with torch.cuda.stream(stream):
        gr.rasterize(*scene.arguments())  # loads the kernels and fills the stream's pool of memory
    torch.cuda.synchronize()
    torch.cuda._sleep(2_000_000_000)  # clock cycles: about a second
    asleep.record()
    with torch.cuda.stream(stream):
        gr.rasterize(*scene.arguments())
    stream.synchronize()
    assert not asleep.query()
    torch.cuda.synchronize()


def captured(function: Callable[[], tuple[Tensor, ...]]) -> tuple[Tensor, ...]:
    """Outputs of one replay of the function's CUDA graph. Capturing fails where the function waits for the device."""
    function()  # loads the kernels
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function()
    graph.replay()
    torch.cuda.synchronize()
    return tuple(x.clone() for x in outputs)  # the graph's own memory goes with the graph


def assert_captures(function: Callable[[], tuple[Tensor, ...]]) -> None:
    expected = function()
    assert all(torch.equal(x, y) for x, y in zip(captured(function), expected, strict=True))


def test_blending_and_binding_never_wait_for_the_device() -> None:
    base, basis, weights = blend_arguments(10, 20, 300, 3)
    out = gr.blend(base, basis, weights)
    assert_captures(lambda: (OPS.blend(base, basis, weights), *OPS.blend_backward(out, basis, weights)))
    means, rotations = gaussians_on("cuda")
    mesh = mesh_on("cuda")
    assert_captures(lambda: OPS.bind_to_mesh(means, rotations, *mesh))
    assert_captures(lambda: OPS.bind_to_mesh_backward(means, rotations, rotations, *mesh))


def test_the_backward_render_never_waits_for_the_device() -> None:
    *tensors, width, height = crowded(200).to("cuda", torch.float32).arguments()
    color, alpha, _, splats, bins = OPS.rasterize(*tensors, width, height)
    assert_captures(lambda: OPS.rasterize_backward(color, alpha, color, alpha, splats, bins, *tensors))


def test_float64_is_refused() -> None:
    scene = scenes.cloud(gaussians=4).to("cuda", torch.float64)
    with pytest.raises(TypeError, match="rasterize: means is Double; expected float32"):
        gr.rasterize(*scene.arguments())
    unseen = torch.ones(4, dtype=torch.bool, device="cuda")
    with pytest.raises(TypeError, match="rasterize_with_color_sums: means is Double; expected float32"):
        gr.rasterize_with_color_sums(*scene.arguments(), random_targets(scene).cuda(), unseen)
    with pytest.raises(TypeError, match="blend: base is Double; expected float32"):
        gr.blend(*(x.double() for x in blend_arguments(2, 3, 4, 3)))
    with pytest.raises(TypeError, match="bind_to_mesh: rotations is Double; expected float32"):
        gr.bind_to_mesh(
            *(x.double() if x.is_floating_point() else x for x in (*gaussians_on("cuda"), *mesh_on("cuda")))
        )


def test_tensors_of_several_devices_are_refused() -> None:
    scene = scenes.cloud(gaussians=4).to("cuda", torch.float32)
    with pytest.raises(ValueError, match="rotations is on cuda:0; expected cpu"):
        gr.rasterize(*replace(scene, means=scene.means.cpu()).arguments())
    with pytest.raises(ValueError, match="background is on cpu; expected cuda:0"):
        gr.rasterize(*replace(scene, background=scene.background.cpu()).arguments())
    base, basis, weights = blend_arguments(2, 3, 4, 3)
    with pytest.raises(ValueError, match="weights is on cpu; expected cuda:0"):
        gr.blend(base, basis, weights.cpu())
    vertices, *rest = mesh_on("cuda")
    with pytest.raises(ValueError, match="vertices is on cpu; expected cuda:0"):
        gr.bind_to_mesh(*gaussians_on("cuda"), vertices.cpu(), *rest)


@pytest.mark.parametrize("of", ["face_ids", "faces"])
def test_a_gaussian_of_a_face_that_does_not_exist_is_nan_and_gets_no_gradient(of: str) -> None:
    """On the CPU this is an IndexError; here to look would be to wait for the device. rasterize counts it as invalid."""
    vertices, faces, tangents, face_ids, barycentrics = mesh_on("cuda")
    faces[0] = torch.tensor([0, 1, 2 if of == "face_ids" else vertices.shape[1]])
    face_ids[:] = 1
    face_ids[3], face_ids[4] = (faces.shape[0], -1) if of == "face_ids" else (0, 0)
    means, rotations = (x.requires_grad_() for x in gaussians_on("cuda"))
    world_means, world_rotations = gr.bind_to_mesh(means, rotations, vertices, faces, tangents, face_ids, barycentrics)
    (world_means.sum() + world_rotations.sum()).backward()
    lost = torch.zeros(means.shape[1], dtype=torch.bool)
    lost[3:5] = True
    for world, leaf in ((world_means, means), (world_rotations, rotations)):
        assert leaf.grad is not None
        assert torch.equal(world.isnan().all(-1).cpu(), lost.expand(world.shape[0], -1))
        assert torch.equal(world.isfinite().all(-1).cpu(), ~lost.expand(world.shape[0], -1))
        assert torch.equal((leaf.grad == 0).all(-1).cpu(), lost.expand(world.shape[0], -1))
