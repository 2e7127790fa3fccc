"""Training recipes as frozen values."""

import math
from dataclasses import dataclass, field

from vivim.network import VivimConfig
from vivim.training.sources import Source


@dataclass(frozen=True)
class Phase:
    """A stretch of a run with batches of one kind."""

    until: float
    """Part of the run (steps or time) at which the phase ends, 1 for the last."""
    frames_per_batch: int
    clip_lengths: tuple[int, ...]
    input_size: tuple[int, int] | None = None
    """Height and width, or None for those of the network."""


@dataclass(frozen=True)
class TrainConfig:
    """A training recipe, by default for b0 on one GPU."""

    network: VivimConfig = field(default_factory=lambda: VivimConfig(size="b0", guided=True, drop_path=0.05))
    clips: tuple[Source, ...] = ()
    stills: tuple[Source, ...] = ()
    """What is learnt from: videos, and single pictures that random motion turns into clips."""
    steps: int = 6000
    phases: tuple[Phase, ...] = (Phase(0.4, 128, (4, 8), (160, 160)), Phase(1.0, 64, (6, 10)))
    learning_rate: float = 7e-4
    final_learning_rate: float = 7e-6
    warm_up_steps: int = 200
    weight_decay: float = 0.03
    gradient_clip: float = 1.0
    average_decay: float = 0.999
    still_share: float = 0.5
    guided_share: float = 0.6
    betas: tuple[float, float] = (0.9, 0.98)
    """Decay of AdamW's two moments. With a weight decay of 0 it is Adam."""
    parts: int = 1
    """Independent draws that make up a batch. Each process makes the draws that it needs, so that a multiple of the
    number of processes saves work. The number is part of the recipe, because it changes what is drawn."""
    boundary_weight: float = 0.0
    """Weight of the boundary-aware affine constraint and of the cross-entropy of edges, 0.3 in the paper."""
    seconds: float = math.inf
    """Stop (after a checkpoint) when this much time has passed, all sittings together. The learning rate and the
    phases then follow the clock. One process only."""
    pause_after: float = math.inf
    """Stop (after a checkpoint) when this sitting has lasted so many seconds. The run goes on when called again."""
    epochs: float = 0.0
    """Passes over the frames of the clips. Where given, they set the number of steps."""
    patience: int = 0
    """Stop when Dice on the validation clips has not risen in so many validations, 0 for never."""
    log_every: int = 100
    validate_every: int = 500
    save_every: int = 500
    seed: int = 0
    record: bool = True
    """On one GPU, record each shape of step once and replay it."""

    def __post_init__(self) -> None:
        if self.network.edge_head and not self.boundary_weight:
            raise ValueError("An edge head learns nothing without a boundary_weight.")
        if self.boundary_weight and self.network.num_classes != 1:
            raise ValueError("The boundary constraint is for one class.")

    def phase(self, progress: float) -> Phase:
        """The phase of a run at `progress` in [0, 1]."""
        return next((phase for phase in self.phases if progress < phase.until), self.phases[-1])

    def batch_shape(self, progress: float, number: int) -> tuple[int, int, int, int]:
        """Clips, frames, height and width of batch `number` of a run at `progress` in [0, 1]."""
        phase = self.phase(progress)
        frames = phase.clip_lengths[number % len(phase.clip_lengths)]
        return (
            max(1, phase.frames_per_batch // frames),
            frames,
            *(phase.input_size or self.network.input_size),
        )

    def shapes(self) -> set[tuple[int, int, int, int]]:
        """All shapes that `batch_shape` can return."""
        starts = [0.0, *(phase.until for phase in self.phases[:-1])]
        return {
            self.batch_shape(start, number)
            for start, phase in zip(starts, self.phases, strict=True)
            for number in range(len(phase.clip_lengths))
        }
