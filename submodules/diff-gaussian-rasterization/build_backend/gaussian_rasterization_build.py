"""The build backend: setuptools' own, after making the user's torch importable.

pip builds in an isolated environment that holds only what pyproject.toml requires. Were torch required there, pip would
download another one, and the library would be compiled against a torch it never runs with. So the site-packages of the
environment that pip itself runs in are appended to the path: what the isolated environment has still comes first.
"""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path

from setuptools import build_meta


def _append_user_site_packages() -> None:
    schemes = [sysconfig.get_paths()]
    if "VIRTUAL_ENV" in os.environ:  # front ends that build in another interpreter than the environment's
        base = os.environ["VIRTUAL_ENV"]
        schemes.append(sysconfig.get_paths(vars={"base": base, "platbase": base}))
    for scheme in schemes:
        for kind in ("purelib", "platlib"):
            if Path(scheme[kind]).is_dir() and scheme[kind] not in sys.path:
                sys.path.append(scheme[kind])


_append_user_site_packages()

get_requires_for_build_wheel = build_meta.get_requires_for_build_wheel
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
build_wheel = build_meta.build_wheel
build_sdist = build_meta.build_sdist
build_editable = build_meta.build_editable
