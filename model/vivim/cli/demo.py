"""``vivim demo``: the whole job on a video that goes badly at first, with or without a napari window.

Models and settings of a demo are kept in its own folder, so that those of the person stay as they are.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from vivim.cli.options import add_device
from vivim.errors import VivimError
from vivim.registry.registry import load_model
from vivim.utils.atomic_files import free_path

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.video.phantom import Phantom

PHANTOM = {"frames": 36, "size": (160, 160), "texture": "speckle", "seed": 4}
"""A synthetic ultrasound video on which the starter does badly. Its last third is kept for the new model."""
CORRECTIONS = 3
CINE_FRAMES, CINE_CLICK = 16, (100, 182)
"""How much of pydicom's cine is shown, and the row and column of the click into the heart's chamber."""
SHOWN, WIDTH, GAP, LINE = 4, 220, 6, 20
"""Frames in a row of the picture, their width, and pixels between them and for a line of text."""


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
    print(f"Without a window, because {reason}. What is made lies in {args.out.absolute()}.", flush=True)
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
    phantom = make_phantom(**PHANTOM)  # type: ignore[arg-type]
    video, home = write_video(out / "phantom.mp4", phantom.frames, phantom.fps), out.absolute() / "vivim-home"
    print(
        f"Opening {video} in napari. The first masks will be bad: press Propose masks, then S, and click the dark "
        f"lesion. Press Propose masks again.\nModels and settings of this window are kept in {home}, apart from yours.",
        flush=True,
    )
    command = [sys.executable, "-m", "napari", "--plugin", "napari-vivim", str(video)]
    environment = {**os.environ, "VIVIM_HOME": str(home)}
    code = subprocess.call([*command, "--with", "napari-vivim", "Vivim Segment"], env=environment)
    if code != 0:
        raise VivimError(f"napari ended with exit code {code}. `vivim demo --headless` needs no window.")
    return {"video": str(video)}


class Row(NamedTuple):
    """A row of the picture: a title, and frames with their masks and, where it is known, the truth."""

    title: str
    frames: NDArray
    masks: NDArray
    truth: NDArray | None


class Step(NamedTuple):
    """What the masks are worth after a step."""

    title: str
    dice: NDArray[np.float64]


def run_demo(out: str | Path, *, device: str = "auto", report: Callable[[str], None] = print) -> dict:
    """Run the demo into folder `out`.

    Returns ``before``, ``after_click``, ``after_corrections`` and ``after``: mean Dice over the frames not touched;
    ``next_before`` and ``next_after``: that of the starter and of the new model, both by themselves, on the frames
    after those; ``corrected``: the touched frames; ``files``: what was written. Raises `VivimError` if the folder
    cannot be written or the starter model is missing.
    """
    from vivim.video import make_phantom

    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    report(
        "The starter meets a video that it does badly on. Then one click, three corrections, and it learns."
    )
    with _own_home(folder):
        starter = load_model("starter")
        scores, rows = _learn(starter, make_phantom(**PHANTOM), folder, device, report)  # type: ignore[arg-type]
        report("A real video: an ultrasound cine of a heart, which comes with pydicom ...")
        cine = _fresh_session(folder, "cine")
        rows += _real_cine(starter, cine, device)
    draw(rows, folder / "before-after.png")
    more = (folder / "before-after.png", folder / "scores.json", cine)
    scores["files"] = sorted({*scores["files"], *map(str, more)})
    (folder / "scores.json").write_text(json.dumps(scores, indent=2) + "\n")
    report(
        f"See {folder / 'before-after.png'} first: masks are green, true outlines white. All of it:\n  "
        + "\n  ".join(scores["files"])
    )
    report("Your own models and settings are as they were.")
    return scores


@contextmanager
def _own_home(folder: Path) -> Iterator[None]:
    """Keep models, caches and settings in a folder that is removed at the end."""
    before = os.environ.get("VIVIM_HOME")
    with tempfile.TemporaryDirectory(prefix="home-", dir=folder, ignore_cleanup_errors=True) as home:
        os.environ["VIVIM_HOME"] = str(Path(home).absolute())
        try:
            yield
        finally:
            del os.environ["VIVIM_HOME"]
            if before is not None:
                os.environ["VIVIM_HOME"] = before


def _learn(
    starter: Vivim, phantom: Phantom, folder: Path, device: str, report: Callable[[str], None]
) -> tuple[dict, list[Row]]:
    """Annotate the first two thirds of the phantom, fine-tune, and try the new model on the last third."""
    from vivim.analysis.active_learning import suggest_frames
    from vivim.api import finetune, propose
    from vivim.evaluation.simulated_annotator import clicking
    from vivim.finetuning.events import Finished
    from vivim.inference.proposals import segment_frames
    from vivim.io.export import export
    from vivim.session import Session
    from vivim.video import write_video

    count = 2 * len(phantom.frames) // 3
    frames, truth, later, later_truth = (
        pixels[part]
        for part in (slice(count), slice(count, None))
        for pixels in (phantom.frames, phantom.masks)
    )
    video = write_video(folder / "phantom.mp4", frames, phantom.fps)
    steps, kept = list[Step](), list[NDArray]()
    with Session.open(video, folder=_fresh_session(folder), author="simulated annotator") as session:

        def step(title: str, model: Vivim) -> None:
            _drain(propose(session, model, device=device))
            kept.append(np.asarray(session.masks[:]))
            steps.append(Step(title, _dice(kept[-1], truth)))
            report(f"  {title}")

        step("proposed by the starter", starter)
        (first,) = suggest_frames(session, 1)
        session.correct(
            first.frame, clicking(1, device)(session, starter, first.frame, truth[first.frame])[0]
        )
        step(f"after one click, on frame {first.frame}", starter)
        for number in range(CORRECTIONS):
            (suggested,) = suggest_frames(session, 1)
            session.correct(suggested.frame, truth[suggested.frame])
            if number < CORRECTIONS - 1:
                _drain(propose(session, starter, device=device))
        step(f"after {CORRECTIONS} corrections", starter)
        touched = session.frames_with("corrected")
        report(f"It learns from these {len(touched)} frames, in a process of its own ...")
        *_, finished = finetune([session], starter, device=device)
        assert isinstance(finished, Finished)
        shutil.copyfile(finished.path, folder / "fine-tuned.safetensors")
        tuned = load_model(finished.name)
        step("proposed by the new model", tuned)
        events = export(session, folder, ("png", "mp4", "csv"))
        files = {str(event.path) for event in events if event.done == event.total}
    alone = [segment_frames(model, later, device=device) for model in (starter, tuned)]
    rest = np.setdiff1d(np.arange(count), touched)
    steps = [Step(title, dice[rest]) for title, dice in steps]
    after = [
        Step(f"{name}, nothing corrected", _dice(masks, later_truth))
        for name, masks in zip(("starter", "new model"), alone, strict=True)
    ]
    report(table(f"Dice over the {len(rest)} frames that nobody touched", steps))
    report(table(f"The next {len(later)} frames, which no model has seen", after))
    report(
        f"A window would {'go on with the new model' if finished.promoted else 'stay with the starter'}: with your "
        f"other corrections beside it, Dice on a held-out one is {finished.before:.3f} before and "
        f"{finished.after:.3f} after.\n"
    )
    picks = rest[_spread(len(rest))]
    rows = [
        Row(_titled(one), frames[picks], masks[picks], truth[picks])
        for one, masks in zip(steps[:-1], kept[:-1], strict=True)  # the new model's look like those before
    ]
    picks = _spread(len(later))
    rows += [
        Row(f"next frames, {_titled(one)}", later[picks], masks[picks], later_truth[picks])
        for one, masks in zip(after, alone, strict=True)
    ]
    names = ("before", "after_click", "after_corrections", "after", "next_before", "next_after")
    means = [round(float(one.dice.mean()), 4) for one in (*steps, *after)]
    return {
        **dict(zip(names, means, strict=True)),
        "held_out_before": finished.before,
        "held_out_after": finished.after,
        "promoted": finished.promoted,
        "corrected": touched,
        "files": [*files, str(video), str(session.folder), str(folder / "fine-tuned.safetensors")],
    }, rows


def _real_cine(model: Vivim, home: Path, device: str) -> list[Row]:
    """Click once into the heart of pydicom's cine. It holds no lesion, and nobody has drawn a truth."""
    from pydicom.examples import get_path

    from vivim.api import propose
    from vivim.prompting import PromptedFrame, encode_session_frame
    from vivim.session import Session

    picks = np.array([t * (CINE_FRAMES - 1) // (SHOWN - 1) for t in range(SHOWN)])
    rows = list[Row]()
    with Session.open(get_path("ybr_color"), folder=home, author="simulated") as session:
        frames = np.stack([session.video.frame(int(t)) for t in picks])
        for title in ("a real heart: the starter finds no lesion", "after one click into it, on frame 0"):
            if rows:
                prompted = PromptedFrame(encode_session_frame(session, model, 0, device))
                prompted.add_point(*CINE_CLICK, 1)
                session.correct(0, prompted.mask.astype(np.uint8))
            _drain(propose(session, model, device=device, frames=range(CINE_FRAMES)))
            rows.append(Row(title, frames, np.stack([session.masks[int(t)] for t in picks]), None))
    return rows


def _drain(events) -> None:
    for _ in events:
        pass


def _fresh_session(folder: Path, name: str = "session") -> Path:
    """A folder that does not exist yet, so that earlier demos stay as they are."""
    return free_path(lambda n: folder / (f"{name}.vivim" if n == 1 else f"{name}-{n}.vivim"))


def _dice(masks: NDArray, truth: NDArray) -> NDArray[np.float64]:
    from vivim.imaging.metrics import dice

    return np.array([dice(mask > 0, true > 0) for mask, true in zip(masks, truth, strict=True)])


def _spread(count: int) -> NDArray[np.int64]:
    return np.linspace(0, count - 1, SHOWN).astype(int)


def _titled(step: Step) -> str:
    return f"{step.title}: Dice {step.dice.mean():.2f}"


def table(title: str, steps: Sequence[Step]) -> str:
    """The steps as a small table for people."""
    lines = [f"{one.title:44} {one.dice.mean():10.3f} {one.dice.min():12.3f}" for one in steps]
    return "\n".join(["", f"{title:44} {'mean':>10} {'worst frame':>12}", "-" * 68, *lines, ""])


def draw(rows: Sequence[Row], path: Path) -> None:
    """Picture of all rows: masks in green, the true outlines in white."""
    from vivim.imaging.drawing import tinted
    from vivim.imaging.metrics import outline

    heights = [row.frames.shape[1] * WIDTH // row.frames.shape[2] for row in rows]
    sheet = Image.new("RGB", (SHOWN * (WIDTH + GAP) + GAP, sum(heights) + len(rows) * (LINE + GAP)), "white")
    pen, y = ImageDraw.Draw(sheet), 0
    for row, height in zip(rows, heights, strict=True):
        pen.text((GAP, y + 3), row.title, fill="black", font_size=14)
        for column, (frame, mask) in enumerate(zip(row.frames, row.masks, strict=True)):
            rgb = tinted(frame, mask, ["#28c878"])
            if row.truth is not None:
                rgb[outline(row.truth[column])] = 255
            shown = Image.fromarray(rgb).resize((WIDTH, height))
            sheet.paste(shown, (GAP + column * (WIDTH + GAP), y + LINE))
        y += height + LINE + GAP
    sheet.save(path)
