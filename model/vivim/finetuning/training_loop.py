"""How fine-tuning trains, whatever it trains: few gentle steps, frozen normalisation, kept near the parent.

Held-out scores come from training again and again with one block of time left out each round.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from vivim.devices import unprepared
from vivim.errors import FinetuneError
from vivim.finetuning.events import Step
from vivim.registry.info import NEW_CLASSES

if TYPE_CHECKING:
    from vivim.network import Vivim

Scores = dict[tuple[int, int], float]
"""Dice by (session, frame)."""

STEP_CHOICES = (10, 20)
"""Lengths of training that are tried; held-out frames choose among them."""

NEW_CLASS_STEPS = (40, 80)
"""As `STEP_CHOICES`, for a model that has yet to learn its classes."""

WARM_UP = 5
"""Steps until the full learning rate."""

PULL = 0.05
"""Weight of the squared distance to the parent's weights."""


def knows_its_classes(model: Vivim) -> bool:
    """Whether a model has learned its classes; it has not where it was widened for them and never tuned since.

    Then there is nothing to stay near to: longer and bolder training, without a pull to the parent, is what makes it
    tell them apart.
    """
    return not model.provenance.get(NEW_CLASSES, False)


def step_choices(model: Vivim) -> tuple[int, ...]:
    """Lengths of training that are tried with a model."""
    return STEP_CHOICES if knows_its_classes(model) else NEW_CLASS_STEPS


class Trainable(Protocol):
    """Some part of a network in training, with the frames it learns from; see `vivim.finetuning.trainables`."""

    @property
    def keys(self) -> set[tuple[int, int]]:
        """All corrected frames, as (session, frame)."""

    def copy(self) -> Trainable:
        """The same, untouched by what the other learns."""

    def fit(self, keys: set[tuple[int, int]], steps: int, seed: int, fold: int) -> Iterator[Step]:
        """Learn from some of the frames, in place; yields after each step."""

    def score(self, keys: set[tuple[int, int]]) -> Scores:
        """Dice of some of the frames as they are met in use."""


def trainable(module: nn.Module) -> list[nn.Parameter]:
    """Parameters that fine-tuning moves; running statistics and scales of BatchNorm stay."""
    frozen = {id(p) for m in module.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    return [p for p in module.parameters() if id(p) not in frozen]


def freeze_normalisation(module: nn.Module) -> None:
    """Training mode, but for BatchNorm, which keeps the statistics it has, and dropout.

    So few gentle steps, pulled towards the parent, do not overfit; dropout took a quarter of their time and changed
    no score.
    """
    module.train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.Dropout):
            part.eval()


def pull_to(parameters: Sequence[Tensor], parents: Sequence[Tensor]) -> Tensor:
    """Squared distance between weights and their parents."""
    return torch.stack([(a - b).square().sum() for a, b in zip(parameters, parents, strict=True)]).sum()


def train(
    parameters: Sequence[Mapping[str, Any]],
    losses: Callable[[], Tensor],
    steps: int,
    fold: int,
    max_gradient: float | None = None,
    pull: float = PULL,
) -> Iterator[Step]:
    """Take `steps` gentle steps on what `losses` gives, pulled back to where they began; yields after each.

    `parameters` are groups as an optimiser takes them, each with its own ``lr``, warmed up over `WARM_UP` steps.
    Gradients are clipped to the norm `max_gradient`, if one is given.

    Raises
    ------
    FinetuneError
        If the loss is no longer a number.
    """
    moved = [p for group in parameters for p in group["params"]]
    parents = [p.detach().clone() for p in moved]
    optimiser = torch.optim.Adam([dict(group) for group in parameters])
    for step in range(1, steps + 1):
        with unprepared(moved[0].device):
            loss = losses()
            if not math.isfinite(float(loss.detach())):
                raise FinetuneError("The loss is no longer a number. Use the scope 'decoder' instead.")
            optimiser.zero_grad(set_to_none=True)
            (loss + pull * pull_to(moved, parents)).backward()
        if max_gradient is not None:
            nn.utils.clip_grad_norm_(moved, max_gradient)
        for group, given in zip(optimiser.param_groups, parameters, strict=True):
            group["lr"] = given["lr"] * min(1.0, step / WARM_UP)
        optimiser.step()
        yield Step(step, steps, float(loss.detach()), fold)
