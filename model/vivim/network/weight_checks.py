"""What tensors of a file can be weights: dense, finite floating-point numbers under names that are text."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from vivim.errors import CheckpointError

ADVICE = "Weights are finite floating-point numbers, stored whole. Choose another file."


def check_stored(tensors: Mapping[str, Tensor], source: object) -> None:
    """Make sure that tensors are dense and named by text, before anything is asked of them.

    Raises
    ------
    CheckpointError
        If one is sparse, quantised, nested or without data, or its name is no text.
    """
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise CheckpointError(
                f"{source} cannot be used: the name {name!r} of a weight is no text. {ADVICE}"
            )
        if value.layout != torch.strided or value.is_quantized or value.is_nested or value.is_meta:
            raise CheckpointError(
                f"{source} cannot be used: {name} is sparse, packed or without data. {ADVICE}"
            )


def check_weights(tensors: Mapping[str, Tensor], own: Mapping[str, Tensor], source: object) -> None:
    """Make sure that tensors can be copied into those of a network without a change of meaning.

    Parameters
    ----------
    tensors, own : mapping of str to Tensor
        What is loaded, and what the network has; names that it does not have are passed over.
    source : object
        What the message calls the file.

    Raises
    ------
    CheckpointError
        If a weight is complex, a whole number or a truth value, or holds values that are no finite numbers.
    """
    for name, value in tensors.items():
        if name not in own:
            continue
        wanted = own[name].dtype
        counter = not wanted.is_floating_point and value.dtype in (torch.int64, torch.int32)
        if not counter and (not value.is_floating_point() or not wanted.is_floating_point):
            kind = str(value.dtype).removeprefix("torch.")
            raise CheckpointError(f"{source} cannot be used: {name} holds {kind} numbers. {ADVICE}")
        if not counter and not bool(torch.isfinite(value.float()).all()):
            raise CheckpointError(
                f"{source} cannot be used: {name} holds values that are no finite numbers. The training that made it "
                "went wrong; take an earlier checkpoint of it."
            )
