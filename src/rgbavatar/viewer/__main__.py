"""The command line: `python -m rgbavatar.viewer output/WORK_NAME/SUBJECT`."""

from __future__ import annotations

import argparse
from pathlib import Path

from rgbavatar.cli import add_viewer_address, choose_device, heavy_imports, run_script, say

_LOOK_SECONDS = 0.2  # between two looks at whether to end


def main() -> None:
    """Parse, open, serve until a signal comes."""
    arguments = _parse()
    with heavy_imports():
        from rgbavatar.training.stop_signal import StopSignal
        from rgbavatar.viewer.installed import require_viser
        from rgbavatar.viewer.recorded import open_run

        require_viser()
        from rgbavatar.viewer.server import Viewer

    device = choose_device(arguments.device)
    exhibit = open_run(arguments.run, arguments.set, device)
    viewer = Viewer(lambda: exhibit, device, arguments.host, arguments.port)
    with StopSignal() as stop:
        viewer.start()
        say(f"open {viewer.url} in a browser{_remark(arguments.port, viewer.port)}; Ctrl-C ends it")
        while not stop.requested and not viewer.wait(_LOOK_SECONDS):
            pass
        viewer.stop()
    if viewer.failure is not None:
        raise viewer.failure


def _remark(asked: int, got: int) -> str:
    return f" (port {asked} is taken)" if asked not in (0, got) else ""


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="rgbavatar.viewer",
        description="Look at a trained avatar in a browser.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("run", type=Path, help="folder of the run: output/WORK_NAME/SUBJECT")
    add_viewer_address(parser)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="change a setting of the run")
    return parser.parse_args()


if __name__ == "__main__":
    run_script(main)
