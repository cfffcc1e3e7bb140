"""Whether the package is there that the viewer's page comes with. It is needed for nothing else."""

from __future__ import annotations

import re
from importlib import metadata

from rgbavatar.errors import ConfigError

_OLDEST = (1, 1)  # of viser: the first that pages can be asked in


def require_viser() -> None:
    """Raise ConfigError, with what to do, unless viser is installed and new enough."""
    advice = f"the viewer needs it: pip install 'viser>={_OLDEST[0]}.{_OLDEST[1]}'"
    try:
        version = metadata.version("viser")
    except metadata.PackageNotFoundError as error:
        raise ConfigError(f"viser is not installed; {advice}") from error
    found = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if found < _OLDEST:
        raise ConfigError(f"viser {version} is installed, which is too old; {advice}")
