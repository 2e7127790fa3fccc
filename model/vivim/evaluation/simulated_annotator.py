"""Simulate an annotator, to score masks after 1, 3, 5 corrections beside baselines that do not learn.

It does what a person would do in the window: propose, take the frame the tool suggests, correct it (with the true
mask), fine-tune, propose again. Scores are over the frames that were NOT corrected. As these are others after each
correction, they are also over those that the whole run leaves alone. To see what the suggestions are worth, the same
can be done with evenly spaced frames.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from vivim.analysis.active_learning import suggest_frames
from vivim.errors import VivimError
from vivim.evaluation.simulated_clicks import click
from vivim.evaluation.simulation_report import SimulationResult
from vivim.finetuning.feature_store import FeatureStore
from vivim.finetuning.job import Trained, run
from vivim.imaging.metrics import boundary_f, dice, jaccard, label_dice
from vivim.imaging.resize import resize_mask
from vivim.imaging.signed_distance import blend, class_distances, signed_distance
from vivim.inference.proposals import propose
from vivim.inference.session_inputs import ResizedFrames
from vivim.network import Vivim
from vivim.prompting import PromptedFrame, encode_session_frame
from vivim.prompting.encoding import check_takes_prompts
from vivim.propagation.mask_propagator import REACH
from vivim.propagation.optical_flow import Motion, chain_flow, identity, sample
from vivim.session import Session
from vivim.training.datasets import Part, binary_mask, find_clips, pair_files, read_labels


def interpolate(masks: Mapping[int, NDArray[np.uint8]], frames: int) -> NDArray[np.uint8]:
    """Label masks ``(frames, H, W)``: signed distances mixed linearly between known masks, the ends held."""
    known = sorted(masks)
    shape = masks[known[0]].shape
    distances = {t: class_distances(masks[t]) for t in known}
    out = np.empty((frames, *shape), np.uint8)
    for t in range(frames):
        before = max((k for k in known if k <= t), default=known[0])
        after = min((k for k in known if k >= t), default=known[-1])
        share = 0.0 if before == after else (t - before) / (after - before)
        out[t] = blend(distances[before], distances[after], share, shape)
    return out


def propagate(
    masks: Mapping[int, NDArray[np.uint8]], frames: int, motion: Motion, size: tuple[int, int], classes: int
) -> NDArray[np.uint8]:
    """Label masks ``(frames, H, W)``: known masks propagated along the optical flow at `size`, and nothing else.

    Between two known frames distances are mixed linearly in time; beyond `REACH` frames nothing is found.
    """
    known = sorted(masks)
    height, width = masks[known[0]].shape
    labels = range(1, classes + 1)
    weights = np.zeros(frames)
    mixed = np.zeros((classes, frames, height, width), np.float32)
    for anchor, step in [(t, step) for t in known for step in (-1, 1)]:
        beyond = next((t for t in known[::step] if (t - anchor) * step > 0), None)
        stop = (frames if step > 0 else -1) if beyond is None else beyond
        ahead = range(anchor + step, anchor + step * (min(abs(stop - anchor) - 1, REACH) + 1), step)
        small = resize_mask(masks[anchor], size)
        distances = [signed_distance(small == label) for label in labels]
        for t, maps in zip(ahead, chain_flow(motion, identity(size), ahead), strict=True):
            for total, distance in zip(mixed, distances, strict=True):
                total[t] += cv2.resize(sample(distance, maps), (width, height)) / abs(t - anchor)
            weights[t] += 1 / abs(t - anchor)
    mixed /= np.maximum(weights, 1e-9)[:, None, None]
    found = np.where(mixed.max(0) > 0, mixed.argmax(0) + 1, 0).astype(np.uint8)
    for t in known:
        found[t] = masks[t]
    return found


CHOICES = ("queue", "even", "both", "first")
"""How frames are chosen: by the tool's queue, one after the other; evenly spaced, for an annotator who knows beforehand
how many there will be; both in turn, to be compared; or the first frame alone, from which the tool goes forward, as
trackers of video objects are scored."""

ENOUGH = 0.90
"""Dice at which the robot is content with a frame."""

Annotate = Callable[[Session, "Vivim", int, NDArray[np.uint8]], tuple[NDArray[np.uint8], int]]
"""From a session, its present model, a frame and its true mask to the mask that is drawn, and the clicks it took."""


@dataclass(frozen=True)
class _State:
    """Dice of every frame ``(T,)`` after some corrections, of the tool and, where asked for, of the baselines."""

    corrected: tuple[int, ...]
    dice: NDArray[np.floating]
    interpolation: NDArray[np.floating] | None
    propagation: NDArray[np.floating] | None
    promoted: bool
    seconds: float
    total_clicks: int = 0


def true_masks(clip: Path, classes: int = 1) -> NDArray[np.uint8]:
    """Masks ``(T, H, W)`` uint8 of a clip folder, at their own size.

    With one class 0 and 1; with several the labels as they are, those beyond the classes being background.
    """
    labels = [read_labels(path) for _, path in pair_files(clip)]
    masks = [binary_mask(one) if classes == 1 else np.where(one > classes, 0, one) for one in labels]
    if len({mask.shape for mask in masks}) > 1:
        raise VivimError(f"The masks of {clip} have different sizes.")
    return np.stack(masks).astype(np.uint8)


@contextmanager
def new_session(clip: Path, classes: int) -> Iterator[tuple[Session, NDArray[np.uint8]]]:
    """Open an empty temporary session of a clip, beside the clip's true masks ``(T, H, W)``."""
    truth = true_masks(clip, classes)
    frames = pair_files(clip)[0][0].parent
    with (
        tempfile.TemporaryDirectory(prefix="vivim-simulate-") as folder,
        Session.open(frames, folder=Path(folder) / "session", author="simulated annotator") as session,
    ):
        if session.masks.shape != truth.shape:
            raise VivimError(
                f"Frames and masks of {clip} differ in size: {session.masks.shape} and {truth.shape}."
            )
        yield session, truth


def draw_truth(
    session: Session, model: Vivim, frame: int, truth: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], int]:
    """Draw the true mask by hand."""
    return truth, 0


def clicking(most: int, device: str) -> Annotate:
    """Make an annotator that clicks on what is proposed, at most so often a frame."""

    def annotate(
        session: Session, model: Vivim, frame: int, truth: NDArray[np.uint8]
    ) -> tuple[NDArray[np.uint8], int]:
        drawn, clicks = np.array(session.masks[frame]), 0
        encoded = encode_session_frame(session, model, frame, device)
        for class_id in np.union1d(np.unique(drawn), np.unique(truth)).tolist():
            wanted, have = truth == class_id, drawn == class_id
            if class_id == 0 or dice(have, wanted) >= ENOUGH:
                continue
            prompted = PromptedFrame(encoded, class_id, have if have.any() else None)
            clicks += sum(1 for _ in click(prompted, wanted, most - clicks, ENOUGH))
            drawn = np.where(prompted.mask, class_id, np.where(have, 0, drawn)).astype(np.uint8)
        return drawn, clicks

    return annotate


def simulate_clip(
    clip: Path, model: Vivim, corrections: Sequence[int], device: str, report: Callable[[str], None],
    annotate: Annotate = draw_truth,
) -> Iterator[SimulationResult]:  # fmt: skip
    """Run the loop on one clip with the queue, and yield a result for each number of corrections asked for."""
    with new_session(clip, model.config.num_classes) as (session, truth):
        mark, current = time.monotonic(), model
        _propose(session, current, device)
        states = [_state(session, truth, model, False, mark, 0 in corrections)]
        for number in range(1, max(corrections, default=0) + 1):
            mark = time.monotonic()
            queue = suggest_frames(session, 1)
            if not queue:
                report(f"{clip.name}: every frame is corrected after {number - 1} corrections")
                break
            t = queue[0].frame
            drawn, clicks = annotate(session, current, t, truth[t])
            session.correct(t, drawn)
            tuned = _finetune(session, model, device)
            current = tuned or current
            _propose(session, current, device)
            clicks += states[-1].total_clicks
            states.append(
                _state(session, truth, model, tuned is not None, mark, number in corrections, clicks)
            )
            report(
                f"{clip.name}: correction {number} at frame {queue[0].frame} ({queue[0].reason}), "
                f"Dice {_over_rest(states[-1].dice, states[-1].corrected):.3f}, {states[-1].seconds:.1f} s"
            )
    for number, state in enumerate(states):
        if number in corrections:
            spent = [s.seconds for s in states[1 : number + 1]] or [state.seconds]
            yield _result(clip, states, number, float(np.mean(spent)), "queue")


def evenly(frames: int, number: int) -> list[int]:
    """Middles of `number` stretches of equal length."""
    return [int((place + 0.5) * frames / number) for place in range(number)]


def simulate_even(
    clip: Path, model: Vivim, corrections: Sequence[int], device: str, report: Callable[[str], None]
) -> Iterator[SimulationResult]:
    """Correct evenly spaced frames at once, from the beginning for each number of corrections."""
    states = []
    for number in corrections:
        with new_session(clip, model.config.num_classes) as (session, truth):
            mark = time.monotonic()
            chosen = evenly(len(truth), min(number, len(truth)))
            for t in chosen:
                session.correct(t, truth[t])
            tuned = _finetune(session, model, device)
            _propose(session, tuned or model, device)
            states.append(_state(session, truth, model, tuned is not None, mark, True))
            score = _over_rest(states[-1].dice, states[-1].corrected)
            report(
                f"{clip.name}: evenly spaced frames {chosen}, Dice {score:.3f}, {states[-1].seconds:.1f} s"
            )
    for place, state in enumerate(states):
        yield _result(clip, states, place, state.seconds, "even")


def simulate_first(
    clip: Path, model: Vivim, corrections: Sequence[int], device: str, report: Callable[[str], None]
) -> Iterator[SimulationResult]:
    """Give the first frame, go forward, and score the frames after it."""
    with new_session(clip, model.config.num_classes) as (session, truth):
        mark = time.monotonic()
        session.correct(0, truth[0])
        _propose(session, model, device)
        state = _state(session, truth, model, False, mark, True)
        pairs = [(np.asarray(session.masks[t]), truth[t]) for t in range(1, len(truth))]
    overlap = float(np.mean([jaccard(*pair) for pair in pairs])) if pairs else 1.0
    outline = float(np.mean([boundary_f(*pair) for pair in pairs])) if pairs else 1.0
    report(f"{clip.name}: from the first frame on, J&F {(overlap + outline) / 2:.3f}")
    result = _result(clip, [state], 0, state.seconds, "first")
    yield replace(result, jaccard=overlap, boundary_f=outline, j_and_f=(overlap + outline) / 2)


def _propose(session: Session, model: Vivim, device: str) -> None:
    for _ in propose(session, model, device=device):
        pass


def _finetune(session: Session, base: Vivim, device: str) -> Vivim | None:
    """Tune `base` on all corrections so far. None where that did not help on held-out ones."""
    if len(session.frames_with("corrected", "accepted")) < 2:
        return None  # nothing could be held out, so nothing can be promoted
    for event in run([session], base, device=device, cache=FeatureStore(session.folder / "features")):
        if isinstance(event, Trained) and event.promoted:
            event.model.version = f"{base.version}-tuned"
            return event.model
    return None


def _state(
    session: Session, truth: NDArray, model: Vivim, promoted: bool, began: float, baselines: bool,
    clicks: int = 0,
) -> _State:  # fmt: skip
    """Score the masks of a session and, if asked for, the baselines; and take the time since `began`."""
    seconds = time.monotonic() - began
    corrected = tuple(session.frames_with("corrected"))
    interpolated = propagated = None
    if corrected and baselines:
        classes, size = model.config.num_classes, model.config.input_size
        motion, known = ResizedFrames(session, size).motion, {t: truth[t] for t in corrected}
        interpolated = _dice(interpolate(known, len(truth)), truth)
        propagated = _dice(propagate(known, len(truth), motion, size, classes), truth)
    return _State(corrected, _dice(session.masks, truth), interpolated, propagated, promoted, seconds, clicks)


def _dice(masks: Any, truth: NDArray) -> NDArray[np.floating]:
    """Dice ``(T,)`` of label masks ``(T, H, W)``."""
    return np.array([label_dice(np.asarray(masks[t]), truth[t]) for t in range(len(truth))])


def _over_rest(
    scores: NDArray[np.floating] | None, without: Collection[int], none_left: float = 1.0
) -> float:
    """Mean over all frames but some. NaN where there are no scores, `none_left` where no frame is left."""
    if scores is None:
        return float("nan")
    rest = np.delete(scores, sorted(without))
    return float(rest.mean()) if len(rest) else none_left


def _result(
    clip: Path, states: Sequence[_State], place: int, mean_seconds: float, choose: str
) -> SimulationResult:
    """Result of one state, with the history of those before. The frames that no state corrects are common."""
    state, ever = states[place], {t for s in states for t in s.corrected}
    so_far = states[: place + 1]
    return SimulationResult(
        clip=f"{clip.parent.name}/{clip.name}",
        frames=len(state.dice),
        corrections=len(state.corrected),
        corrected=state.corrected,
        dice=_over_rest(state.dice, state.corrected),
        interpolation_dice=_over_rest(state.interpolation, state.corrected),
        propagation_dice=_over_rest(state.propagation, state.corrected),
        promoted=state.promoted,
        seconds=state.seconds,
        mean_seconds=mean_seconds,
        history=tuple(_over_rest(s.dice, s.corrected) for s in so_far),
        common_frames=len(state.dice) - len(ever),
        common_history=tuple(_over_rest(s.dice, ever, float("nan")) for s in so_far),
        choose=choose,
        all_frames_dice=float(state.dice.mean()),
        total_clicks=state.total_clicks,
    )


def simulate(
    dataset: str | Path,
    model: Vivim,
    corrections: Sequence[int] = (1, 3, 5),
    *,
    device: str = "auto",
    leave_out: tuple[str, ...] = (),
    choose: str = "queue",
    clicks: int = 0,
    part: Part = "all",
    report: Callable[[str], None] = lambda text: None,
) -> Iterator[SimulationResult]:
    """Simulate an annotator on every clip of a dataset.

    Parameters
    ----------
    dataset : str or Path
        A folder of clips, each with ``frames/`` and ``masks/`` of equal stems, or one such clip.
    model : Vivim
        The model to start from. It is not changed.
    corrections : sequence of int
        Numbers of corrected frames to report at. 0 reports the masks before any correction.
    choose : str
        How frames are chosen, one of `CHOICES`. With ``"first"`` there is one correction, whatever is asked for.
    clicks : int
        Where given, the annotator clicks on each frame until Dice is `ENOUGH`, at most so often. Else it draws the
        true mask.
    part : str
        ``"kept out"`` takes only what the starter was never trained on, see `vivim.training.datasets`.
    report : callable
        Called with a line of text as the work goes on.

    Yields
    ------
    SimulationResult
        One for every clip, number of corrections and way to choose.

    Raises
    ------
    VivimError
        If the dataset has no clips, frames and masks do not match, or the model takes no clicks.
    ValueError
        If `choose` is unknown, or not the queue and there are clicks.
    """
    if choose not in CHOICES:
        raise ValueError(f"Unknown way to choose frames {choose!r}; choose one of {', '.join(CHOICES)}.")
    by_queue: Callable[..., Iterator[SimulationResult]] = simulate_clip
    if clicks:
        if choose != "queue":
            raise ValueError("An annotator who clicks takes the frames of the queue: leave `choose` away.")
        check_takes_prompts(model)
        by_queue = partial(simulate_clip, annotate=clicking(clicks, device))
    for folder in find_clips(Path(dataset), leave_out):
        if not pair_files(folder, part=part):
            continue
        with _part_of(folder, part) as clip:
            for name, loop in (("queue", by_queue), ("even", simulate_even), ("first", simulate_first)):
                if choose == name or (choose == "both" and name != "first"):
                    yield from loop(clip, model, sorted(set(corrections)), device, report)


@contextmanager
def _part_of(clip: Path, part: Part) -> Iterator[Path]:
    """Give a folder that holds only a part of a clip."""
    if part == "all":
        yield clip
        return
    with tempfile.TemporaryDirectory(prefix="vivim-simulate-") as folder:
        place = Path(folder) / clip.parent.name / clip.name
        for name, files in zip(
            ("frames", "masks"), zip(*pair_files(clip, part=part), strict=True), strict=True
        ):
            (place / name).mkdir(parents=True)
            for file in files:
                shutil.copy(file, place / name)
        yield place
