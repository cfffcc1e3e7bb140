"""Which backends the extension's tests run on."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from pathlib import Path

import gaussian_rasterization as gr
import pytest
import torch

from tests.helpers.rasterization import Backend


def _require(device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    if device not in gr.backends():
        pytest.skip(f"the extension was built without {device}")


@pytest.fixture(params=["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
def device(request: pytest.FixtureRequest) -> str:
    _require(request.param)
    return request.param


@pytest.fixture(
    params=[
        pytest.param(Backend("cpu", torch.float64), id="cpu-float64"),
        pytest.param(Backend("cpu", torch.float32), id="cpu-float32"),
        pytest.param(Backend("cuda", torch.float32), id="cuda-float32", marks=pytest.mark.gpu),
    ]
)
def backend(request: pytest.FixtureRequest) -> Backend:
    _require(request.param.device)
    return request.param


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The shared arithmetic, compiled by itself: core_probe.cpp includes csrc/core and csrc/cpu/lanes.h, and no torch."""
    compiler = os.environ.get("CXX") or shutil.which("g++") or shutil.which("clang++")
    if compiler is None:
        pytest.skip("no C++ compiler")
    here = Path(__file__).parent
    csrc = here.parents[1] / "submodules" / "diff-gaussian-rasterization" / "csrc"
    library = tmp_path_factory.mktemp("core") / "core_probe.so"
    flags = ["-std=c++17", "-O2", "-march=native", "-Wno-psabi", "-shared", "-fPIC", f"-I{csrc}"]
    subprocess.run([*compiler.split(), *flags, str(here / "core_probe.cpp"), "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))
