"""What the scripts share: their common arguments, the choice of the device, and how they end.

Exit codes: 0 done; 2 an error that the user can act on, told in one line; 130 or 143 stopped by Ctrl-C or SIGTERM.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rgbavatar.errors import ConfigError, ExtensionUnavailableError, RgbAvatarError, Stopped
from rgbavatar.io.run_dir import MODES

if TYPE_CHECKING:
    import torch

Tell = Callable[[str], None]
"""Takes a line for the user."""

EXIT_USER_ERROR = 2
_EXTENSION = "submodules/diff-gaussian-rasterization"


def make_parser(description: str) -> argparse.ArgumentParser:
    """A parser with the arguments that all scripts have."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    parser.add_argument("--subject", default="bala", help="folder of the subject below dataset.data_dir")
    parser.add_argument(
        "--work_name", required=True, help="name of the run: results lie in OUTPUT_DIR/WORK_NAME/SUBJECT"
    )
    parser.add_argument("--output_dir", default="output", help="folder of all runs")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="change a setting, such as training.batch_size=5",
    )
    parser.add_argument("--overwrite", action="store_true", help="replace results of an earlier call")
    return parser


def add_training_arguments(parser: argparse.ArgumentParser, config: str) -> None:
    """The arguments that both training scripts have. config: the default configuration file."""
    parser.add_argument("--config", default=config, help="configuration file")
    parser.add_argument("--seed", type=int, help="seed of all random numbers; short for --set seed=N")
    parser.add_argument("--resume", action="store_true", help="go on from the run's checkpoint")
    parser.add_argument(
        "--log", action="store_true", help="write TensorBoard curves and pictures into the run's folder"
    )


def add_viewer_address(parser: argparse.ArgumentParser, prefix: str = "") -> None:
    """Where the viewer is served. prefix: of the options' names."""
    parser.add_argument(
        f"--{prefix}host", default="127.0.0.1", help="address to serve the page on; 0.0.0.0 lets other machines in"
    )
    parser.add_argument(
        f"--{prefix}port", type=port, default=8080, help="port of the page; the next free one where it is taken"
    )


def add_view_arguments(parser: argparse.ArgumentParser, what: str) -> None:
    """The arguments of training that is looked at. what: --view does."""
    parser.add_argument("--view", action="store_true", help=what)
    add_viewer_address(parser, "view_")


def add_result_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of scripts that read a trained avatar: they take the run's own configuration unless told otherwise."""
    parser.add_argument("--config", type=Path, help="configuration file to take in place of the run's own")


def add_render_arguments(parser: argparse.ArgumentParser) -> None:
    """The arguments of render.py."""
    add_result_arguments(parser)
    parser.add_argument("--mode", choices=("frames", *MODES), default="frames", help="what to show")
    parser.add_argument("--split", choices=("train", "test", "val", "all"), default="all", help="frames to show")
    look = parser.add_argument_group("look")
    look.add_argument("--white_bg", action="store_true", help="white background; short for --bg white")
    look.add_argument("--bg", type=color, default="black", metavar="COLOR", help="black, white, grey, green or #rrggbb")
    look.add_argument("--alpha", action="store_true", help="RGBA pictures without a background")
    look.add_argument("--size", type=count, help="pixels of the longer side, in place of the frames' own size")
    video = parser.add_argument_group("video")
    video.add_argument(
        "--video",
        nargs="?",
        const="mp4",
        choices=("mp4", "webm", "gif"),
        help="write MODE.mp4 (or another) instead of pictures",
    )
    video.add_argument("--fps", type=positive, default=25.0, help="pictures in a second of video")
    turntable = parser.add_argument_group("turntable")
    turntable.add_argument("--turntable_frames", type=count, default=120, help="pictures of a full turn")
    turntable.add_argument("--elevation", type=float, default=0.0, help="degrees above the tracked camera")
    turntable.add_argument("--frame", type=int, help="number of the frame to show, in place of the first")
    turntable.add_argument("--play", action="store_true", help="show the frames in turn while the camera circles")
    reenact = parser.add_argument_group("reenact")
    reenact.add_argument("--driver", default="", help="subject whose motion is taken, or a folder of one")
    reenact.add_argument("--neutral", type=int, help="number of the avatar's frame at rest, in place of the one found")
    reenact.add_argument(
        "--driver_neutral", type=int, help="number of the driver's frame at rest, in place of the one found"
    )
    reenact.add_argument("--smooth", type=not_negative, default=0.0, help="seconds over which the motion is smoothed")
    reenact.add_argument("--driver_camera", action="store_true", help="place and camera of the driver's head, too")
    interpolate = parser.add_argument_group("interpolate")
    interpolate.add_argument(
        "--between", type=int, nargs="+", default=[], metavar="N", help="numbers of frames to go through"
    )
    interpolate.add_argument("--leg_frames", type=count, default=25, help="pictures from one frame to the next")


_COLORS = {"black": "#000000", "white": "#ffffff", "grey": "#808080", "gray": "#808080", "green": "#00ff00"}


def color(text: str) -> tuple[float, float, float]:
    """An argument that is a colour: RGB in [0, 1]."""
    code = _COLORS.get(text.lower(), text)
    if not re.fullmatch(r"#[0-9a-fA-F]{6}", code):
        raise ValueError(text)
    red, green, blue = (int(code[i : i + 2], 16) / 255.0 for i in (1, 3, 5))
    return red, green, blue


def not_negative(text: str) -> float:
    """An argument that is a finite number of at least 0."""
    value = float(text)
    if not 0.0 <= value < float("inf"):
        raise ValueError(text)
    return value


def positive(text: str) -> float:
    """An argument that is a finite number above 0."""
    value = float(text)
    if not 0.0 < value < float("inf"):
        raise ValueError(text)
    return value


def count(text: str) -> int:
    """An argument that is a whole number of at least 1."""
    value = int(text)
    if value < 1:
        raise ValueError(text)
    return value


def port(text: str) -> int:
    """An argument that is a TCP port; 0 for any that is free."""
    value = int(text)
    if not 0 <= value <= 65535:
        raise ValueError(text)
    return value


@contextmanager
def heavy_imports() -> Iterator[None]:
    """A context for a script's imports: the many objects that they make are never searched for garbage.

    They live until the end, when the system frees all at once. The search costs a tenth of the imports, and as much again
    when the program ends.
    """
    gc.disable()
    try:
        yield
        gc.freeze()
    finally:
        gc.enable()


def choose_device(name: str) -> torch.device:
    """The device for --device. `auto` takes the first GPU, if the extension was built for it, else the CPU.

    Of processes that torchrun started, each takes the GPU of its number.
    """
    import torch
    from gaussian_rasterization import backends

    usable = torch.cuda.is_available() and "cuda" in backends()
    if name == "auto":
        name = "cuda" if usable else "cpu"
    if name == "cuda":
        name = f"cuda:{os.environ.get('LOCAL_RANK', '0')}"
    elif name.startswith("cuda") and "LOCAL_RANK" in os.environ:
        raise ConfigError(f"--device {name}: torchrun gives each process a GPU of its own; leave --device out")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise ConfigError(f"--device {name}: expected auto, cpu, cuda or cuda:N")
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)
        _check_cuda(device)
        torch.cuda.set_device(device)
    return device


def _check_cuda(device: torch.device) -> None:
    import torch
    from gaussian_rasterization import backends

    available = torch.cuda.device_count()
    if device.index >= available:
        raise ConfigError(f"--device {device}: found {available} CUDA devices; give cpu or a smaller index")
    if "cuda" not in backends():
        raise ExtensionUnavailableError(
            f"--device {device}: the extension was built for the CPU alone; "
            f"install nvcc and run `pip install --force-reinstall --no-deps {_EXTENSION}`, or give --device cpu"
        )


def require_one_process() -> None:
    """Raise ConfigError where torchrun has started several."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count > 1:
        raise ConfigError(
            f"torchrun started {count} processes, expected one: a stream cannot be shared; leave torchrun out"
        )


def say(line: str) -> None:
    """One line for the user on standard output."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def run_script(main: Callable[[], None]) -> None:
    """Call main and leave with the exit codes above. Scripts import heavy modules inside main, so that this sees them fail."""
    try:
        main()
    except RgbAvatarError as error:
        _leave(f"error: {error}", EXIT_USER_ERROR)
    except ImportError as error:
        if "gaussian_rasterization" not in str(error):
            raise
        _leave(
            f"error: the rasterization extension is missing ({error}); run `pip install {_EXTENSION}`", EXIT_USER_ERROR
        )
    except KeyboardInterrupt:
        _leave("stopped", 130)
    except RuntimeError as error:
        if "out of memory" not in str(error):
            raise
        _leave(f"error: {_explain_memory(str(error))}", EXIT_USER_ERROR)
    except Stopped as stopped:
        _leave(str(stopped), stopped.exit_code)


def _explain_memory(message: str) -> str:
    """One line of torch's many on memory that is missing, and what to lower."""
    asked = re.search(r"Tried to allocate ([0-9.]+ [KMGT]?i?B)", message)
    what = f"{asked.group(1)} more were asked for" if asked else "an allocation failed"
    return (
        f"out of GPU memory: {what} than are free; lower training.frame_memory_gib (frames then pass through), "
        f"training.batch_size or model.tex_size, or choose another GPU with --device"
    )


def _leave(line: str, exit_code: int) -> None:
    sys.stderr.write(line + "\n")
    raise SystemExit(exit_code)
