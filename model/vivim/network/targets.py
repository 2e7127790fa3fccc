"""What a network is to find: lesions, or the organs that the starter was taught beside them."""

from dataclasses import replace

from vivim.errors import CheckpointError
from vivim.network.vivim import Vivim

TARGETS = ("lesion", "organ")


def for_target(model: Vivim, target: str) -> Vivim:
    """Copy a model so that it finds `target`, or return it as it is for lesions.

    For organs its plane of logits for organs takes the place of that for lesions, and what it says of the presence of
    lesions is left out.

    Raises
    ------
    ValueError
        If the target is unknown.
    CheckpointError
        If the model was not taught organs.
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
