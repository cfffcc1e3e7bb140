"""The environment as it was before any test: importing mediapipe closes HTTPS for this process and for what it starts."""

from __future__ import annotations

import os

AT_START = dict(os.environ)
