"""``vivim demo``: the whole job on a synthetic video; in a napari window, or without one where there is no display."""

from __future__ import annotations

import argparse
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

from vivim.cli.arguments import add_device
from vivim.errors import VivimError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument(
        "--headless", action="store_true", help="without a window, also where there is a display"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("vivim-demo"), metavar="DIR", help="folder to write into"
    )
    add_device(parser)


def run(args: argparse.Namespace) -> dict:
    """Show the window if there can be one, else run the loop by itself."""
    reason = why_headless(args.headless)
    if reason is None:
        return show(args.out)
    from vivim.demo import run_demo

    print(f"Without a window, because {reason}.")
    return run_demo(args.out, device=args.device)


def why_headless(asked: bool) -> str | None:
    """The reason not to open a window; None where one can be opened."""
    if asked:
        return "--headless was given"
    if importlib.util.find_spec("napari") is None:
        return 'napari is not installed (pip install "napari-vivim[all]")'
    unix = sys.platform not in ("win32", "darwin")
    if unix and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return None


def show(out: Path) -> dict:
    """Write the synthetic video and open it in napari with the panel "Vivim Segment"; returns when it is closed.

    napari runs in a process of its own: this package imports nothing of it.

    Raises
    ------
    VivimError
        If napari ends with an error.
    """
    from vivim.video import make_phantom, write_video

    out.mkdir(parents=True, exist_ok=True)
    phantom = make_phantom(frames=60, seed=7)
    video = write_video(out / "phantom.mp4", phantom.frames, phantom.fps)
    print(
        f"Opening {video} in napari: press Propose in the panel, then paint over what is wrong.", flush=True
    )
    command = [sys.executable, "-m", "napari", "--plugin", "napari-vivim", str(video)]
    code = subprocess.call([*command, "--with", "napari-vivim", "Vivim Segment"])
    if code != 0:
        raise VivimError(f"napari ended with exit code {code}. `vivim demo --headless` needs no window.")
    return {"video": str(video)}
