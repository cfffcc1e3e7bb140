"""The compiled library: finding it, loading it, and saying which backends it holds."""

from __future__ import annotations

from pathlib import Path

import torch

NAMESPACE = "gaussian_rasterization"


def load_library(folder: Path) -> None:
    """Register the compiled operators with torch. folder: where `_C*.so` lies. ImportError where it is missing or does
    not load."""
    found = sorted(folder.glob("_C*.so")) + sorted(folder.glob("_C*.pyd"))
    if not found:
        raise ImportError(
            f"gaussian_rasterization: no compiled library (_C*.so) in {folder}. "
            "Build it: pip install submodules/diff-gaussian-rasterization"
        )
    try:
        torch.ops.load_library(str(found[0]))
    except OSError as error:
        raise ImportError(
            f"gaussian_rasterization: {found[0]} does not load with torch {torch.__version__} ({error}). "
            "It was built for another torch or Python; build it again: "
            "pip install --force-reinstall --no-deps submodules/diff-gaussian-rasterization"
        ) from error


def backends() -> frozenset[str]:
    """Device types that the compiled library has kernels for: "cpu", and "cuda" where it was built."""
    has_kernel = torch._C._dispatch_has_kernel_for_dispatch_key
    return frozenset(key.lower() for key in ("CPU", "CUDA") if has_kernel(f"{NAMESPACE}::rasterize", key))


load_library(Path(__file__).parent)
