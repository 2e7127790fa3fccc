"""The training loop of fine-tuning: few gentle steps, frozen normalisation, weights kept near the parent's."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from vivim.devices import unprepared
from vivim.errors import FinetuneError
from vivim.finetuning.events import Step
from vivim.network import Vivim
from vivim.registry.info import NEW_CLASSES

Scores = dict[tuple[int, int], float]
"""Dice by (session, frame)."""

STEP_CHOICES = (10, 20)
"""Lengths of training that are tried. Held-out frames choose among them."""

NEW_CLASS_STEPS = (40, 80)
"""`STEP_CHOICES` of a model that has yet to learn its classes."""

WARM_UP = 5
"""Steps until the full learning rate."""

PULL = 0.05
"""Weight of the squared distance to the parent's weights."""


def knows_its_classes(model: Vivim) -> bool:
    """Whether a model has been fine-tuned since classes were added to it.

    Until then there is nothing to stay near to. It takes longer and bolder training, without a pull to the parent, to
    tell the new classes apart.
    """
    return not model.provenance.get(NEW_CLASSES, False)


def step_choices(model: Vivim) -> tuple[int, ...]:
    """Lengths of training that are tried with a model."""
    return STEP_CHOICES if knows_its_classes(model) else NEW_CLASS_STEPS


def trainable_parameters(module: nn.Module) -> list[nn.Parameter]:
    """Parameters that fine-tuning moves: all but those of BatchNorm."""
    frozen = {id(p) for m in module.modules() if isinstance(m, nn.BatchNorm2d) for p in m.parameters()}
    return [p for p in module.parameters() if id(p) not in frozen]


def freeze_normalisation(module: nn.Module) -> None:
    """Set training mode for all layers but BatchNorm and dropout.

    BatchNorm keeps its statistics. So few gentle steps, pulled towards the parent, do not overfit: dropout took a
    quarter of their time and changed no score.
    """
    module.train()
    for part in module.modules():
        if isinstance(part, nn.BatchNorm2d | nn.Dropout):
            part.eval()


def train(
    parameters: Sequence[Mapping[str, Any]],
    losses: Callable[[], Tensor],
    steps: int,
    fold: int,
    max_gradient: float | None = None,
    pull: float = PULL,
) -> Iterator[Step]:
    """Take `steps` steps on the loss, pulled towards the first weights, and yield after each.

    `parameters` are an optimiser's groups, each ``lr`` warmed up over `WARM_UP` steps. `max_gradient` clips the norm,
    `pull` weighs the squared distance to the first weights.
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
            away = torch.stack([(a - b).square().sum() for a, b in zip(moved, parents, strict=True)]).sum()
            (loss + pull * away).backward()
        if max_gradient is not None:
            nn.utils.clip_grad_norm_(moved, max_gradient)
        for group, given in zip(optimiser.param_groups, parameters, strict=True):
            group["lr"] = given["lr"] * min(1.0, step / WARM_UP)
        optimiser.step()
        yield Step(step, steps, float(loss.detach()), fold)
