"""Train a Vivim from clips and stills, resumable to the step, with averaged weights."""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path

import torch

from vivim.errors import VivimError
from vivim.network import Vivim
from vivim.training.batch import Batch
from vivim.training.config import TrainConfig
from vivim.training.datasets import Clip
from vivim.training.distributed import make_fabric
from vivim.training.sampler import Sampler
from vivim.training.training_state import State
from vivim.training.validation import RunningMeans, TrainEvent, dice_by_clip

ASK_EVERY = 10
"""Steps after which several processes agree whether to pause."""


def train(
    clips: Sequence[Clip],
    stills: Sequence[Clip],
    run: Path,
    config: TrainConfig | None = None,
    *,
    validation: Sequence[Clip] = (),
    validation_clips: Sequence[Clip] = (),
    clip_weights: Sequence[float] | None = None,
    still_weights: Sequence[float] | None = None,
    initial: Vivim | None = None,
    device: torch.device | None = None,
    provenance: dict | None = None,
) -> Iterator[TrainEvent]:
    """Train and write ``run/model.safetensors`` (averaged weights) and ``run/resume.pt``.

    Closing the generator stops the run, which can be resumed from its last checkpoint.

    Parameters
    ----------
    clips, stills : sequence of Clip
        Training material, already at the network's input size.
    run : Path
        Folder of the run; a run found there is resumed.
    config : TrainConfig
        The recipe.
    validation : sequence of Clip
        Clips never trained on; Dice on them is reported and changes nothing.
    validation_clips : sequence of Clip
        Clips never trained on that the best weights are chosen by (``run/best.safetensors``), see
        `TrainConfig.patience`.
    clip_weights, still_weights : sequence of float, optional
        How often each clip and each set of stills is drawn; equally often by default.
    initial : Vivim, optional
        Weights to start from.
    device : torch.device, optional
        The kind of device; which one of several follows from the process. The CPU by default.

    Raises
    ------
    VivimError
        If there is nothing to train on or the loss is no longer a number.
    """
    config = config or TrainConfig()
    if not clips and not stills:
        raise VivimError("Nothing to train on: give at least one dataset of clips or stills.")
    config = _with_steps(config, [*clips, *stills])
    fabric = make_fabric(device or torch.device("cpu"))
    if fabric.world_size > 1 and math.isfinite(config.seconds):
        raise VivimError("Several processes have no common clock: give a number of steps instead of seconds.")
    run.mkdir(parents=True, exist_ok=True)
    state = State(config, run, fabric, initial)
    share = state.share
    sampler = Sampler(
        clips,
        stills,
        fabric.device,
        config.seed,
        config.still_share,
        config.guided_share,
        clip_weights,
        still_weights,
    )
    clock = _Clock(config, state.seconds)

    def draw(number: int) -> Batch:
        count, frames, height, width = config.batch_shape(clock.progress(number), number)
        return sampler.share(number, count, frames, (height, width), config.parts, *share.of(count))

    def judge() -> tuple[dict[str, float] | None, float | None]:
        """Dice by clip of `validation`, and its mean over `validation_clips`, which counts."""
        reported = dice_by_clip(state.average, validation, fabric)
        chosen = dice_by_clip(state.average, validation_clips, fabric)
        if not chosen:
            return reported or None, None
        mean = sum(chosen.values()) / len(chosen)
        state.judged(mean, provenance)
        return reported or None, mean

    def paused() -> bool:
        if fabric.world_size == 1:
            return clock.paused()
        return state.step % ASK_EVERY == 0 and bool(fabric.broadcast(clock.paused()))

    means = RunningMeans()
    with (
        contextlib.closing(sampler),
        contextlib.closing(prefetched(draw, state.step, fabric.device)) as batches,
    ):
        while (
            state.step < config.steps
            and clock.progress(state.step) < 1.0
            and (not config.patience or state.stale < config.patience)
            and not paused()
        ):
            share.take(config.batch_shape(clock.progress(state.step), state.step)[0])
            batch = next(batches)
            means.add(batch, *state.advance(batch, clock.progress(state.step)))
            state.seconds = clock.seconds()
            if state.step == config.steps:
                break
            measured = state.step % config.validate_every == 0
            if measured or state.step % config.log_every == 0:
                scores = judge() if measured else (None, None)
                yield means.event(state.step, state.seconds, *scores, fabric)
                means = RunningMeans()
            if state.step % config.save_every == 0:
                state.save(provenance)
    scores = judge()
    state.save(provenance)
    yield means.event(state.step, state.seconds, *scores, fabric)


def _with_steps(config: TrainConfig, material: Sequence[Clip]) -> TrainConfig:
    """Compute the number of steps of a recipe that gives passes over the frames."""
    if not config.epochs:
        return config
    frames = sum(len(clip.frames) for clip in material)
    return replace(config, steps=math.ceil(config.epochs * frames / config.phases[-1].frames_per_batch))


class _Clock:
    """Progress of a run by steps or by time, whichever is farther, earlier sittings included."""

    def __init__(self, config: TrainConfig, seconds_before: float) -> None:
        self._config, self._sat_down = config, time.monotonic()
        self._began = self._sat_down - seconds_before

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def paused(self) -> bool:
        return time.monotonic() - self._sat_down > self._config.pause_after

    def progress(self, step: int) -> float:
        return max(step / self._config.steps, self.seconds() / self._config.seconds)


IN_ADVANCE = 3
"""Batches that are ready or being made."""


def prefetched(
    draw: Callable[[int], Batch], first: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield ``draw(first)``, ``draw(first + 1)``, ... until closed, in advance on a GPU. A CPU is busy enough."""
    if device.type != "cuda":
        yield from map(draw, count(first))
        return
    stream = torch.cuda.Stream(device)

    def draw_on_stream(number: int) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            batch, drawn = draw(number), torch.cuda.Event()
            drawn.record()
        return batch, drawn

    numbers = count(first)
    with ThreadPoolExecutor(1, thread_name_prefix="vivim-batches") as thread:
        ready = deque(thread.submit(draw_on_stream, next(numbers)) for _ in range(IN_ADVANCE))
        try:
            while True:
                batch, drawn = ready.popleft().result()
                ready.append(thread.submit(draw_on_stream, next(numbers)))
                here = torch.cuda.current_stream(device)
                here.wait_event(drawn)
                for tensor in batch.tensors():
                    tensor.record_stream(here)
                yield batch
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
