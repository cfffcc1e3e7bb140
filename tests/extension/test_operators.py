"""How the operators are registered with torch, and how the library is found and built."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import gaussian_rasterization as gr
import pytest
import torch
from gaussian_rasterization import _library

from tests.extension.test_bind_to_mesh import random_gaussians, random_mesh
from tests.helpers import scenes

PROJECT = Path(__file__).parents[2] / "submodules" / "diff-gaussian-rasterization"
OPS = torch.ops.gaussian_rasterization


def test_the_rasterizer_is_a_correct_operator(device: str) -> None:
    scene = scenes.cloud(gaussians=6, width=9, height=8).to(device, torch.float32).requiring_grad()
    torch.library.opcheck(OPS.rasterize.default, scene.arguments())


def test_the_rasterizer_with_color_sums_is_a_correct_operator(device: str) -> None:
    scene = scenes.cloud(gaussians=6, width=9, height=8, shared=False).to(device, torch.float32).requiring_grad()
    targets = torch.full((2, 8, 9, 4), 200, dtype=torch.uint8, device=device)
    unseen = torch.ones(6, dtype=torch.bool, device=device)
    torch.library.opcheck(OPS.rasterize_with_color_sums.default, (*scene.arguments(), targets, unseen))


def test_blending_is_a_correct_operator(device: str) -> None:
    shapes = [(5, 3), (4, 5, 3), (2, 4)]
    inputs = tuple(torch.randn(s, generator=scenes.generator_of(0)).to(device).requires_grad_() for s in shapes)
    torch.library.opcheck(OPS.blend.default, inputs)


def test_binding_is_a_correct_operator(device: str) -> None:
    def moved(x: torch.Tensor) -> torch.Tensor:
        return x.to(device, torch.float32) if x.is_floating_point() else x.to(device)

    gaussians = [moved(x).requires_grad_() for x in random_gaussians()]
    torch.library.opcheck(OPS.bind_to_mesh.default, (*gaussians, *map(moved, random_mesh())))


def test_there_is_always_a_cpu_backend() -> None:
    assert "cpu" in gr.backends()


def test_a_device_without_a_backend_is_named() -> None:
    if torch.cuda.is_available() or "cuda" in gr.backends():
        pytest.skip("every device here has a backend")
    with pytest.raises(RuntimeError, match=r"tensors are on mps:0, but this build has kernels for cpu only"):
        gr.ops._require_backend(_OnDevice("mps:0"))  # type: ignore[arg-type]


class _OnDevice:
    """Stands in for a tensor on a device this machine does not have."""

    def __init__(self, device: str) -> None:
        self.device = torch.device(device)


def test_a_missing_library_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ImportError, match=r"no compiled library .* Build it: pip install"):
        _library.load_library(tmp_path)


def test_a_broken_library_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "_C.abi3.so").write_bytes(b"not a library")
    with pytest.raises(ImportError, match=r"does not load with torch .* build it again"):
        _library.load_library(tmp_path)


def test_the_package_does_not_import_its_oracle() -> None:
    code = "import sys, gaussian_rasterization; sys.exit('gaussian_rasterization.reference' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_shared_arithmetic_includes_neither_torch_nor_cuda() -> None:
    for path in (PROJECT / "csrc" / "core").iterdir():
        lines = [line for line in path.read_text().splitlines() if line.startswith("#include")]
        assert not [line for line in lines if any(word in line for word in ("torch", "ATen", "c10", "cuda"))], path


def run_setup(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code, "--version"],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_building_without_torch_is_one_clear_line() -> None:
    result = run_setup("import sys, runpy; sys.modules['torch'] = None; runpy.run_path('setup.py')")
    assert result.returncode != 0
    assert result.stderr.count("\n") == 1
    assert "install torch>=2.9 in this environment first" in result.stderr


def test_asking_for_cuda_where_it_cannot_be_built_is_one_clear_line() -> None:
    code = "import runpy; import torch; torch.version.cuda = None; runpy.run_path('setup.py')"
    result = run_setup(code, GAUSSIAN_RASTERIZATION_CUDA="1")
    assert result.returncode != 0
    assert "CUDA was asked for (GAUSSIAN_RASTERIZATION_CUDA=1), but " in result.stderr.splitlines()[-1]


def test_a_build_without_cuda_says_so() -> None:
    result = run_setup("import runpy; runpy.run_path('setup.py')", GAUSSIAN_RASTERIZATION_CUDA="0")
    assert result.returncode == 0, result.stderr
    assert "building for the CPU only: GAUSSIAN_RASTERIZATION_CUDA=0" in result.stderr
