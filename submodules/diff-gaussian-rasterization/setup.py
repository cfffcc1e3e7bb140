"""Builds the compiled library. pyproject.toml says everything else.

GAUSSIAN_RASTERIZATION_CUDA=0 leaves CUDA out, =1 makes its absence an error; unset builds it where nvcc and a CUDA
torch are. GAUSSIAN_RASTERIZATION_ARCH_FLAGS replaces -march=native, e.g. by -march=x86-64-v3 for a wheel that other
machines run. TORCH_CUDA_ARCH_LIST and MAX_JOBS mean what they mean to torch.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import setup

ROOT = Path(__file__).parent
DEFAULT_CUDA_ARCHITECTURES = "8.0;9.0+PTX"  # A100 and H100; later cards compile the PTX when they first load it
STABLE_PYTHON_ABI = "0x030A0000"  # 3.10: one library serves every later Python

try:
    import torch
    from torch.utils import cpp_extension
except ImportError as error:
    sys.exit(
        f"gaussian-rasterization: torch is not importable ({error}); install torch>=2.9 in this environment first, "
        "then install this package."
    )


def sources(folder: str, pattern: str) -> list[str]:
    """Files of csrc, named from the root, in a fixed order."""
    return sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "csrc" / folder).glob(pattern))


def why_no_cuda() -> str | None:
    """The reason that CUDA cannot be built here, or None where it can."""
    if not sources("cuda", "*.cu"):
        return "this version has no CUDA kernels"
    if torch.version.cuda is None:
        return f"torch {torch.__version__} was built without CUDA"
    if cuda_toolkit() is None:
        return "no CUDA toolkit with nvcc and its headers was found (CUDA_HOME names it)"
    return None


def cuda_toolkit() -> str | None:
    """torch's guess, or the usual place: an nvcc on the path may be a link that lies far from its headers."""
    for folder in (cpp_extension.CUDA_HOME, "/usr/local/cuda"):
        if folder and all((Path(folder) / part).is_file() for part in ("bin/nvcc", "include/cuda_runtime.h")):
            return folder
    return None


def wants_cuda() -> bool:
    """Whether CUDA is built; says so, and leaves with one line where it was asked for and cannot be."""
    choice = os.environ.get("GAUSSIAN_RASTERIZATION_CUDA", "")
    if choice not in ("", "0", "1"):
        sys.exit(f"gaussian-rasterization: GAUSSIAN_RASTERIZATION_CUDA is {choice!r}; expected 0, 1 or unset.")
    reason = "GAUSSIAN_RASTERIZATION_CUDA=0" if choice == "0" else why_no_cuda()
    if reason is not None and choice == "1":
        sys.exit(f"gaussian-rasterization: CUDA was asked for (GAUSSIAN_RASTERIZATION_CUDA=1), but {reason}.")
    backends = "the CPU and CUDA" if reason is None else f"the CPU only: {reason}"
    sys.stderr.write(f"gaussian-rasterization: building for {backends}.\n")
    return reason is None


def cxx_flags() -> list[str]:
    """Optimised for this machine. IEEE semantics stay (no -ffast-math): NaN and infinity are how bad input is found."""
    arch = os.environ.get("GAUSSIAN_RASTERIZATION_ARCH_FLAGS", "-march=native").split()
    flags = ["-O3", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-Wno-psabi", *arch]
    return [*flags, "-fopenmp"] if sys.platform == "linux" else flags


def cuda_include_folders() -> list[str]:
    """Headers that a slim toolkit lacks, where wheels brought them: cusparse.h and its like for torch, and cub."""
    wheels = Path(torch.__file__).parents[1] / "nvidia"
    found = [wheels / f"cu{torch.version.cuda.split('.')[0]}" / "include", *wheels.glob("*/include")]
    toolkit = Path(cpp_extension.CUDA_HOME) / "include"
    if not any((folder / "cub").is_dir() for folder in (toolkit, toolkit / "cccl")):
        found += [folder / "cccl" for folder in found]
    return [str(folder) for folder in dict.fromkeys(found) if folder.is_dir()]


def extension() -> object:
    """The one extension module, with the backends that can be built."""
    compile_args = {"cxx": cxx_flags()}
    common = {
        "name": "gaussian_rasterization._C",
        "include_dirs": [str(ROOT / "csrc")],
        "define_macros": [("Py_LIMITED_API", STABLE_PYTHON_ABI)],
        "extra_link_args": ["-fopenmp"] if sys.platform == "linux" else [],
        "py_limited_api": True,
    }
    cpu_sources = [*sources("cpu", "*.cpp"), "csrc/torch/bindings_cpu.cpp"]
    if not wants_cuda():
        return cpp_extension.CppExtension(sources=cpu_sources, extra_compile_args=compile_args, **common)
    cpp_extension.CUDA_HOME = cuda_toolkit()
    if not torch.cuda.is_available():
        os.environ.setdefault("TORCH_CUDA_ARCH_LIST", DEFAULT_CUDA_ARCHITECTURES)
    common["include_dirs"] += cuda_include_folders()
    compile_args["nvcc"] = [
        "-O3",
        "-prec-div=false",  # within two units in the last place; NaN and infinity stay what they are
        "-prec-sqrt=false",
        "--expt-relaxed-constexpr",
        "--expt-extended-lambda",
        "-Xcompiler",
        "-fvisibility=hidden",
    ]
    cuda_sources = [*sources("cuda", "**/*.cu"), *sources("cuda", "**/*.cpp")]
    return cpp_extension.CUDAExtension(sources=cpu_sources + cuda_sources, extra_compile_args=compile_args, **common)


setup(
    ext_modules=[extension()],
    cmdclass={"build_ext": cpp_extension.BuildExtension.with_options(use_ninja=True)},
    options={"bdist_wheel": {"py_limited_api": "cp310"}},
)
