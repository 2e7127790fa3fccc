"""Copies of a network that find something else: organs instead of lesions, or more classes."""

from collections.abc import Sequence
from dataclasses import replace

import torch

from vivim.errors import CheckpointError
from vivim.network.config import MOST_CLASSES, class_names
from vivim.network.vivim import Vivim

TARGETS = ("lesion", "organ")


def for_target(model: Vivim, target: str) -> Vivim:
    """Copy a model so that it finds `target`, or return it as it is for lesions.

    For organs its plane of logits for organs takes the place of that for lesions, and what it says of the presence of
    lesions is left out. Raises `CheckpointError` if it was not taught organs.
    """
    if target not in TARGETS:
        raise ValueError(f"Unknown target {target!r}; choose one of {', '.join(TARGETS)}.")
    if target == "lesion":
        return model
    if model.decoder.organ is None:
        raise CheckpointError(f"The model {model.name!r} was not taught organs: choose the target lesion.")
    found = Vivim(replace(model.config, num_classes=1, organ=False, presence=False))
    state = dict(model.state_dict())
    state["decoder.classify.weight"] = state.pop("decoder.organ.weight")
    state["decoder.classify.bias"] = state.pop("decoder.organ.bias")
    found.load_state_dict({name: state[name] for name in found.state_dict()})
    found.name, found.version, found.classes = f"{model.name} (organ)", model.version, ("organ",)
    found.provenance = dict(model.provenance)
    return found.eval()


def with_classes(model: Vivim, names: Sequence[str]) -> Vivim:
    """Copy a model and add planes of logits for new classes. Its own classes stay the first.

    Each new one starts as a copy of the last of these, so that the model finds its own classes only until it is
    fine-tuned. Raises `CheckpointError` if the names do not fit.
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
