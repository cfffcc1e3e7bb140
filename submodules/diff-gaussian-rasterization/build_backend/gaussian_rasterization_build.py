"""The build backend: setuptools' own, after making the user's torch importable.

pip builds in an isolated environment that holds only what pyproject.toml requires. Were torch required there, pip would
download another one, and the library would be compiled against a torch it never runs with. So the site-packages of the
environment that pip itself runs in are appended to the path: what the isolated environment has still comes first.
"""

from __future__ import annotations

import os
import site
import sys
import sysconfig
from pathlib import Path

from setuptools import build_meta


def _sees_base_packages() -> bool:
    """Whether this is no virtual environment, or one made with --system-site-packages."""
    config = Path(sys.prefix) / "pyvenv.cfg"
    return not config.is_file() or "include-system-site-packages = true" in config.read_text().lower()


def _append_user_site_packages() -> None:
    prefixes = [sys.prefix]
    if "VIRTUAL_ENV" in os.environ:  # front ends that build in another interpreter than the environment's
        prefixes.append(os.environ["VIRTUAL_ENV"])
    if _sees_base_packages():
        prefixes.append(sys.base_prefix)
    schemes = [sysconfig.get_paths(vars={"base": prefix, "platbase": prefix}) for prefix in prefixes]
    folders = [scheme[kind] for scheme in schemes for kind in ("purelib", "platlib")]
    if _sees_base_packages():
        folders.append(site.getusersitepackages())
    sys.path.extend(folder for folder in dict.fromkeys(folders) if Path(folder).is_dir() and folder not in sys.path)


_append_user_site_packages()

get_requires_for_build_wheel = build_meta.get_requires_for_build_wheel
get_requires_for_build_sdist = build_meta.get_requires_for_build_sdist
get_requires_for_build_editable = build_meta.get_requires_for_build_editable
prepare_metadata_for_build_wheel = build_meta.prepare_metadata_for_build_wheel
prepare_metadata_for_build_editable = build_meta.prepare_metadata_for_build_editable
build_wheel = build_meta.build_wheel
build_sdist = build_meta.build_sdist
build_editable = build_meta.build_editable
