"""Class expansion: one more plane of logits for each class that a network is to learn."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from vivim.errors import CheckpointError
from vivim.network.config import MOST_CLASSES, class_names
from vivim.network.vivim import Vivim


def with_classes(model: Vivim, names: Sequence[str]) -> Vivim:
    """Copy a model and add planes of logits for new classes.

    Its own classes stay the first. Each new one starts as a copy of the last of these, so that the model finds its own
    classes only until it is fine-tuned.

    Raises
    ------
    CheckpointError
        If there are fewer names than classes, more than masks have labels for, or two are alike.
    """
    names, have = tuple(name.strip() for name in names), model.config.num_classes
    if not have <= len(names) <= MOST_CLASSES or class_names(len(names), names) != names:
        raise CheckpointError(
            f"Name {have} to {MOST_CLASSES} classes, no two alike: those of the model come first, and it has {have}."
        )
    wider = Vivim(replace(model.config, num_classes=len(names)))
    rows = torch.arange(len(names)).clamp(max=have - 1)
    state = dict(model.state_dict())
    for name in ("decoder.classify.weight", "decoder.classify.bias"):
        state[name] = state[name][rows.to(state[name].device)].clone()
    wider.load_state_dict(state)
    wider.name, wider.classes, wider.provenance = model.name, names, dict(model.provenance)
    return wider.eval()
