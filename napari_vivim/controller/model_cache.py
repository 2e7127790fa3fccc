"""A cache of the model that one video's jobs use."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vivim.network import Vivim


class ModelCache:
    """Loads models by name and keeps the last one. Used in the worker's thread alone."""

    def __init__(self) -> None:
        self._models: dict[tuple[Path, int], Vivim] = {}

    def load(self, name: str) -> Vivim:
        """The model of this name. It is loaded if it is not the last one or its file has changed."""
        from vivim.registry.registry import load_model, model_path

        path = model_path(name)
        key = (path, path.stat().st_mtime_ns)  # another file may be called so by now
        if key not in self._models:
            self._models = {key: load_model(name)}
        return self._models[key]
