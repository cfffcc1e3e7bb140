"""Templates to test with: the made-up head, coarse, and a tiny random model whose every term matters."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from rgbavatar.templates.flame_data import FlameData
from rgbavatar.templates.procedural_head import make_procedural_head

PROBE = Path(__file__).parents[3] / "shared" / "probe" / "FLAME2020" / "generic_model.pkl"


def make_random_model(vertices: int = 7, seed: int = 0) -> FlameData:
    """A model in FLAME's schema without meaning: all of its arrays are dense, so that no term can hide."""
    generator = np.random.default_rng(seed)
    normal = generator.standard_normal
    weights, regressor = generator.random((vertices, 5)), generator.random((5, vertices))
    return FlameData(
        v_template=normal((vertices, 3)),
        faces=generator.integers(0, vertices, (4, 3)),
        shapedirs=normal((vertices, 3, 400)),
        posedirs=normal((vertices, 3, 36)),
        joint_regressor=regressor / regressor.sum(1, keepdims=True),
        weights=weights / weights.sum(1, keepdims=True),
        uv=generator.random((5, 2)),
        uv_faces=generator.integers(0, 5, (4, 3)),
        eyelids=normal((vertices, 3, 2)),
    )


@pytest.fixture(scope="session")
def random_model() -> FlameData:
    return make_random_model()


@pytest.fixture(scope="session")
def coarse_head() -> FlameData:
    return make_procedural_head(32)


@pytest.fixture(scope="session")
def head() -> FlameData:
    return make_procedural_head()


@pytest.fixture(scope="session")
def probe_path() -> Path:
    """A model file that a program of others wrote; it lies beside a checkout of ours, not in it."""
    if not PROBE.is_file():
        pytest.skip(f"no {PROBE}")
    return PROBE
