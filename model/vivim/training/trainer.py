"""Train a Vivim from clips and stills: one loop, resumable to the step, with an average of the weights kept.

Yields progress; closing the generator stops after a checkpoint was last written.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from vivim.errors import VivimError
from vivim.network import Vivim
from vivim.training.config import TrainConfig
from vivim.training.data import Clip
from vivim.training.prefetch import prefetched
from vivim.training.progress import Seen, TrainEvent, clip_dice
from vivim.training.sampler import Batch, Sampler
from vivim.training.state import State
from vivim.training.teacher import load_teacher


def train(
    clips: Sequence[Clip],
    stills: Sequence[Clip],
    run: Path,
    config: TrainConfig | None = None,
    *,
    validation: Sequence[Clip] = (),
    clip_weights: Sequence[float] | None = None,
    still_weights: Sequence[float] | None = None,
    initial: Vivim | None = None,
    device: torch.device | None = None,
    provenance: dict | None = None,
) -> Iterator[TrainEvent]:
    """Train and write ``run/model.safetensors`` (averaged weights) and ``run/resume.pt``.

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
    initial : Vivim, optional
        Weights to start from.

    Raises
    ------
    VivimError
        If there is nothing to train on or the loss is no longer a number.
    """
    config = config or TrainConfig()
    device = device or torch.device("cpu")
    if not clips and not stills:
        raise VivimError("Nothing to train on: give at least one dataset of clips or stills.")
    run.mkdir(parents=True, exist_ok=True)
    state = State(config, run, device, initial)
    teacher = load_teacher(device) if config.teacher_weight else None
    sampler = Sampler(
        clips,
        stills,
        device,
        config.seed,
        config.still_share,
        config.guided_share,
        clip_weights,
        still_weights,
        teacher,
    )
    clock = _Clock(config, state.seconds)

    def draw(number: int) -> Batch:
        count, frames, height, width = config.batch_shape(clock.progress(number), number)
        return sampler.batch(number, count, frames, (height, width))

    seen = Seen()
    with contextlib.closing(prefetched(draw, state.step, device)) as batches:
        while state.step < config.steps and clock.progress(state.step) < 1.0 and not clock.paused():
            batch = next(batches)
            seen.add(batch, *state.advance(batch, clock.progress(state.step)))
            state.seconds = clock.seconds()
            if state.step % 100 == 0 or state.step == config.steps:
                scores = None
                if validation and state.step % config.validate_every == 0:
                    scores = {clip.name: clip_dice(state.average, clip, device) for clip in validation}
                yield seen.event(state.step, state.seconds, scores)
                seen = Seen()
            if state.step % config.save_every == 0:
                state.save(provenance)
    state.save(provenance)
    scores = {clip.name: clip_dice(state.average, clip, device) for clip in validation} or None
    yield seen.event(state.step, state.seconds, scores)


class _Clock:
    """How far a run is, by steps or by time, whichever is farther; earlier sittings count."""

    def __init__(self, config: TrainConfig, seconds_before: float) -> None:
        self._config, self._sat_down = config, time.monotonic()
        self._began = self._sat_down - seconds_before

    def seconds(self) -> float:
        return time.monotonic() - self._began

    def paused(self) -> bool:
        return time.monotonic() - self._sat_down > self._config.pause_after

    def progress(self, step: int) -> float:
        return max(step / self._config.steps, self.seconds() / self._config.seconds)
