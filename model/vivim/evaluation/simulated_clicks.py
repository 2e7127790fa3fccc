"""A robot that clicks, to count the clicks that a mask takes.

As in the literature on interactive segmentation: each click goes to the place deepest inside the largest wrong region
of the mask so far, lesion where it is missed and not where it is too much. NoC85 and NoC90 are the mean numbers of
clicks until Dice reaches 0.85 and 0.90.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from operator import methodcaller
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.errors import VivimError
from vivim.imaging.metrics import dice
from vivim.inference.sliding_windows import in_context
from vivim.network import Vivim
from vivim.prompting import PromptedFrame, encode_frame
from vivim.prompting.encoding import check_takes_prompts
from vivim.training.datasets import (
    Part,
    binary_mask,
    find_clips,
    pair_files,
    read_frame,
    read_labels,
    split_label,
)

MOST_CLICKS = 20
"""Clicks after which the robot gives up, and what counts where a Dice is never reached."""

REPORTED = (1, 2, 3, 5, 10)
"""Numbers of clicks after which Dice is reported."""

FRAMES_A_CLIP, MOST_STILLS = 6, 150

BOX_JITTER = 5 / 256
"""Part of the picture's side that each side of a box is off by at most."""


@dataclass(frozen=True)
class PromptItem:
    """One lesion mask of one frame to be prompted."""

    clip: str
    frames: NDArray[np.uint8]
    """``(T, H, W, 3)``: the frame and its neighbours."""
    at: int
    truth: NDArray[np.bool_]
    class_id: int
    box: tuple[float, float, float, float]
    """The true box, each side off at random."""


@dataclass(frozen=True)
class ClickResult:
    """What the robot has reached on one item."""

    clip: str
    dice: tuple[float, ...]
    """After 1, 2, 3 ... clicks. The last stays."""
    box_dice: float
    """With the jittered box instead of clicks."""
    ms_per_click: float

    def after(self, clicks: int) -> float:
        """Dice after so many clicks."""
        return self.dice[min(clicks, len(self.dice)) - 1]

    def clicks_until(self, wanted: float) -> int:
        """Clicks until Dice is as wanted, `MOST_CLICKS` where it never is."""
        return next((n for n, value in enumerate(self.dice, 1) if value >= wanted), MOST_CLICKS)


def next_click(mask: NDArray[np.bool_], truth: NDArray[np.bool_]) -> tuple[int, int, int] | None:
    """Row, column and label of the robot's next click. None where nothing is wrong."""
    missed, extra = _depth(truth & ~mask), _depth(mask & ~truth)
    label = int(missed.max() >= extra.max())
    deepest = missed if label else extra
    if not deepest.any():
        return None
    y, x = np.unravel_index(int(deepest.argmax()), deepest.shape)
    return int(y), int(x), label


def _depth(region: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Distance to the outside, beyond the border of the picture too."""
    padded = np.pad(region, 1).astype(np.uint8)
    away = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return np.asarray(away[1:-1, 1:-1], np.float32)


def click(
    prompted: PromptedFrame, truth: NDArray[np.bool_], most: int, enough: float
) -> Iterator[tuple[float, float]]:
    """Let the robot click until Dice is enough, and yield Dice and seconds after each click."""
    for _ in range(most):
        place = next_click(prompted.mask, truth)
        if place is None:
            return
        began = time.perf_counter()
        prompted.add_point(*place)
        mask = prompted.mask
        seconds, score = time.perf_counter() - began, dice(mask, truth)
        yield score, seconds
        if score >= enough:
            return


def prompt_items(
    dataset: Path, classes: int, stills: bool = False, leave_out: tuple[str, ...] = (), part: Part = "all"
) -> Iterator[PromptItem]:
    """Masks to be prompted: `FRAMES_A_CLIP` evenly spaced frames of each clip, or up to `MOST_STILLS` stills.

    Frames without a lesion are left out. With several classes, each that a frame has is an item.
    """
    rng = np.random.default_rng(0)
    dataset, wanted = split_label(str(dataset))
    for clip in find_clips(dataset, leave_out):
        pairs = pair_files(clip, part=part)
        count = min(len(pairs), MOST_STILLS if stills else FRAMES_A_CLIP)
        for number in np.linspace(0, len(pairs) - 1, count).astype(int).tolist():
            labels = read_labels(pairs[number][1])
            window = [number] if stills else in_context(number, len(pairs))
            frames = [read_frame(pairs[t][0]) for t in window]
            if any(frame.shape[:2] != labels.shape for frame in frames):
                raise VivimError(f"{pairs[number][0]}, its neighbours and its mask differ in size.")
            for class_id in range(1, classes + 1):
                truth = binary_mask(labels, wanted if classes == 1 else class_id) > 0
                if truth.any():
                    box = _jittered_box(truth, rng)
                    name = f"{clip.parent.name}/{clip.name}"
                    yield PromptItem(name, np.stack(frames), window.index(number), truth, class_id, box)


def _jittered_box(truth: NDArray[np.bool_], rng: np.random.Generator) -> tuple[float, float, float, float]:
    sides = np.array([(at.min(), at.max()) for at in np.nonzero(truth)], float)
    edge = np.array(truth.shape)[:, None]
    low, high = np.clip(sides + rng.uniform(-BOX_JITTER, BOX_JITTER, (2, 2)) * edge, 0, edge - 1).T
    high = np.maximum(low, high)
    return float(low[0]), float(low[1]), float(high[0]), float(high[1])


def simulate_clicks(
    dataset: str | Path,
    model: Vivim,
    *,
    stills: bool = False,
    device: str = "auto",
    leave_out: tuple[str, ...] = (),
    part: Part = "all",
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[ClickResult]:
    """Count the clicks that single frames take, starting from no mask, and yield what was reached on each."""
    check_takes_prompts(model)
    for item in prompt_items(Path(dataset), model.config.num_classes, stills, leave_out, part):
        encoded = encode_frame(model, item.frames, item.at, device)
        boxed = PromptedFrame(encoded, item.class_id)
        boxed.add_box(item.box)
        scores, times = [], []
        for score, seconds in click(PromptedFrame(encoded, item.class_id), item.truth, MOST_CLICKS, 2.0):
            scores.append(score)
            times.append(seconds)
            if len(scores) >= max(REPORTED) and max(scores) >= 0.9:
                break
        result = ClickResult(
            item.clip, tuple(scores), dice(boxed.mask, item.truth), 1000 * float(np.mean(times))
        )
        report(f"{item.clip}: Dice {result.after(1):.3f} after 1 click, {result.after(3):.3f} after 3")
        yield result


def click_summary(results: Sequence[ClickResult]) -> dict[str, Any]:
    """Results as the object that ``vivim simulate --annotator clicks --per-frame --json`` prints."""
    names = list(dict.fromkeys(result.clip for result in results))
    by_clip = [[result for result in results if result.clip == name] for name in names]
    clips = [{"clip": name, "frames": len(of), **_means(of)} for name, of in zip(names, by_clip, strict=True)]
    return {"clips": clips, "mean": {}, "clicks": {"frames": len(results), **_means(results)}}


def _means(results: Sequence[ClickResult]) -> dict[str, Any]:
    if not results:
        return {"dice": dict.fromkeys(map(str, REPORTED)), "noc85": None, "noc90": None, "ms_per_click": None}

    def mean(value: Callable[[ClickResult], float]) -> float:
        return round(float(np.mean([value(result) for result in results])), 4)

    return {
        "dice": {str(n): mean(methodcaller("after", n)) for n in REPORTED},
        "noc85": mean(lambda result: result.clicks_until(0.85)),
        "noc90": mean(lambda result: result.clicks_until(0.90)),
        "ms_per_click": mean(lambda result: result.ms_per_click),
        "box_dice": mean(lambda result: result.box_dice),
    }


def click_table(results: Sequence[ClickResult]) -> str:
    """Results as a table for people."""
    report = click_summary(results)
    rows = [*((row["clip"][-32:], row) for row in report["clips"]), ("all frames", report["clicks"])]
    head = " ".join(f"{f'Dice@{n}':>8}" for n in REPORTED)
    lines = [f"{'clip':34} {'frames':>6} {head} {'NoC85':>6} {'NoC90':>6} {'box':>6} {'ms/click':>9}"]
    for name, row in rows:
        if row["noc85"] is not None:
            scores = " ".join(f"{value:>8.3f}" for value in row["dice"].values())
            counts = f"{row['noc85']:>6.2f} {row['noc90']:>6.2f} {row['box_dice']:>6.3f}"
            lines.append(f"{name:34} {row['frames']:>6} {scores} {counts} {row['ms_per_click']:>9.1f}")
    return "\n".join(lines)
