"""``vivim demo``: the whole job on a synthetic video, with or without a napari window."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vivim.cli.options import add_device
from vivim.errors import VivimError
from vivim.registry.registry import load_model
from vivim.utils.atomic_files import free_path

if TYPE_CHECKING:
    from vivim.session import Session


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
    print(f"Without a window, because {reason}.")
    return run_demo(args.out, device=args.device)


def why_headless(asked: bool) -> str | None:
    """The reason not to open a window. None where one can be opened."""
    if asked:
        return "--headless was given"
    if importlib.util.find_spec("napari") is None:
        return 'napari is not installed (pip install "napari-vivim[all]")'
    unix = sys.platform not in ("win32", "darwin")
    if unix and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return "there is no display"
    return None


def show(out: Path) -> dict:
    """Write the synthetic video and open it in napari with the panel "Vivim Segment". Returns when it is closed.

    napari runs in a process of its own: this package imports nothing of it. Raises `VivimError` if napari ends with an
    error.
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


CORRECTIONS = 5
GAP = 6


def run_demo(out: str | Path, *, device: str = "auto", report: Callable[[str], None] = print) -> dict:
    """Run the demo into folder `out`.

    Returns ``before`` and ``after``: mean Dice over the frames not corrected, before any correction and at
    the end; ``corrected``: the corrected frames; ``model``: the version in use at the end; ``files``: what
    was written. Raises `VivimError` if the folder cannot be written or the starter model is missing.
    """
    from vivim.analysis.active_learning import suggest_frames
    from vivim.api import finetune, propose
    from vivim.finetuning.events import Finished, Scored
    from vivim.imaging.metrics import dice
    from vivim.io.export import export
    from vivim.session import Session
    from vivim.video import make_phantom, write_video

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    phantom = make_phantom(frames=40, size=(256, 256), texture="speckle", seed=7)
    video = folder / "phantom.mp4"
    report("Making a synthetic ultrasound video with a known lesion ...")
    write_video(video, phantom.frames, phantom.fps)
    model = load_model("starter")
    with Session.open(video, folder=_fresh_session(folder), author="simulated annotator") as session:

        def score() -> NDArray[np.float64]:
            return np.array(
                [dice(np.asarray(session.masks[t]) > 0, phantom.masks[t] > 0) for t in range(len(session))]
            )

        report("Proposing masks with the starter model ...")
        _drain(propose(session, model, device=device))
        first, first_masks = score(), np.asarray(session.masks[:])
        for number in range(CORRECTIONS):
            for suggested in suggest_frames(session, 1):
                session.correct(suggested.frame, phantom.masks[suggested.frame])
                report(f"Correction {number + 1}: frame {suggested.frame}, the one the tool suggests")
            _drain(propose(session, model, device=device))
        corrected = session.frames_with("corrected")
        rest = np.setdiff1d(np.arange(len(session)), corrected)
        guided = score()
        report("Fine-tuning the decoder on the corrected frames, in its own process ...")
        held_out: Scored | None = None
        finished: Finished | None = None
        for event in finetune([session], model, device=device):
            held_out = event if isinstance(event, Scored) else held_out
            finished = event if isinstance(event, Finished) else finished
        assert finished is not None and held_out is not None
        if finished.promoted:
            model = load_model(finished.name)
        _drain(propose(session, model, device=device))
        last = score()
        files = [
            str(event.path)
            for event in export(session, folder, ("png", "mp4", "csv"))
            if event.done == event.total
        ]
        before_after(session, phantom.masks, first_masks, rest, folder / "before-after.png")
    scores = {
        "before": round(float(first[rest].mean()), 4),
        "after_corrections": round(float(guided[rest].mean()), 4),
        "after": round(float(last[rest].mean()), 4),
        "held_out_before": held_out.before,
        "held_out_after": held_out.after,
        "promoted": finished.promoted,
        "model": model.name,
        "corrected": corrected,
        "files": sorted({*files, str(folder / "before-after.png"), str(folder / "scores.json")}),
    }
    (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    report(score_table(scores))
    return scores


def _drain(events) -> None:
    for _ in events:
        pass


def _fresh_session(folder: Path) -> Path:
    """A folder that does not exist yet, so that earlier demos stay as they are."""
    return free_path(lambda n: folder / ("session.vivim" if n == 1 else f"session-{n}.vivim"))


def score_table(scores: dict) -> str:
    """The scores as a small table for people."""
    rows = [
        ("proposed, nothing corrected", scores["before"]),
        (
            f"{len(scores['corrected'])} frames corrected, the others guided by them",
            scores["after_corrections"],
        ),
        (
            "after fine-tuning" if scores["promoted"] else "fine-tune did not help, model kept",
            scores["after"],
        ),
    ]
    lines = ["", "Dice over the frames that were not corrected", "-" * 60]
    return "\n".join([*lines, *(f"{name:50} {value:.3f}" for name, value in rows), "-" * 60])


def before_after(session: Session, truth: NDArray, first: NDArray, frames: NDArray, path: Path) -> None:
    """Picture of a few frames: proposal before and after, with the true outline."""
    picks = frames[np.linspace(0, len(frames) - 1, 4).astype(int)]
    height, width = truth.shape[1:]
    sheet = Image.new("RGB", (4 * (width + GAP) + GAP, 2 * (height + 24) + GAP), "white")
    draw = ImageDraw.Draw(sheet)
    for column, t in enumerate(picks):
        for row, masks in enumerate((first, np.asarray(session.masks[:]))):
            x, y = GAP + column * (width + GAP), row * (height + 24) + 22
            draw.text((x, y - 16), f"frame {t}: {('first proposal', 'at the end')[row]}", fill="black")
            sheet.paste(
                Image.fromarray(_outlined(session.video.frame(int(t)), np.asarray(masks[int(t)]), truth[t])),
                (x, y),
            )
    sheet.save(path)


def _outlined(frame: NDArray, mask: NDArray, truth: NDArray) -> NDArray[np.uint8]:
    """RGB frame with the mask tinted green and the true outline in white."""
    from vivim.imaging.drawing import tinted
    from vivim.imaging.metrics import outline

    rgb = tinted(frame, mask, ["#28c878"])
    rgb[outline(truth)] = 255
    return rgb
