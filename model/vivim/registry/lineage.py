"""Lineage of model versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from vivim.errors import CheckpointError

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.session import Session


def untouched_ancestor(model: Vivim, sessions: Sequence[Session]) -> Vivim:
    """Find the nearest ancestor of `model` that has not learned from any of `sessions`.

    A model that has seen these corrected frames cannot be judged on them. Starting from its ancestor, with all
    corrected frames there are now, keeps the held-out scores honest. A model whose ancestor is gone is returned itself.
    """
    from vivim.registry.info import session_key
    from vivim.registry.registry import load_model, model_of_version

    keys = {session_key(session) for session in sessions}
    while keys & set(model.provenance.get("learned_from", [])):
        ancestor = model_of_version(model.provenance.get("parent_version"), model.provenance.get("parent"))
        if ancestor is None:
            break
        try:
            model = load_model(ancestor.path)
        except CheckpointError:
            break
    return model
