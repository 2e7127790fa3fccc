"""Vivim: lesion masks in medical video. The library behind the napari plugin; needs neither Qt nor napari.

Importing this package is cheap: PyTorch and the other heavy parts load when first used.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vivim import scan as scan
    from vivim.api import finetune as finetune
    from vivim.api import propose as propose
    from vivim.network import Vivim as Vivim
    from vivim.network import VivimConfig as VivimConfig
    from vivim.registry.registry import load_model as load_model
    from vivim.session import Session as Session
    from vivim.video import open_video as open_video

__version__ = "0.1.0"

# PyTorch's idle threads otherwise spin, and starve the scan's threads, the window, and every other program: with both
# cores of a small machine busy a forward pass took 7.3 s instead of 1.3 s. Read once, when PyTorch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_HOME_OF = {
    "ExportEvent": "vivim.io.export",
    "ImportEvent": "vivim.io.import_masks",
    "ProposeEvent": "vivim.inference.proposals",
    "ProposeOptions": "vivim.inference.proposals",
    "Session": "vivim.session",
    "Vivim": "vivim.network",
    "VivimConfig": "vivim.network",
    "evaluate": "vivim.evaluation.evaluate",
    "export": "vivim.io.export",
    "finetune": "vivim.api",
    "import_masks": "vivim.io.import_masks",
    "list_models": "vivim.registry.registry",
    "load_model": "vivim.registry.registry",
    "open_video": "vivim.video",
    "propose": "vivim.api",
    "segment_frames": "vivim.inference.proposals",
    "suggest_frame": "vivim.analysis.active_learning",
    "suggestions": "vivim.analysis.active_learning",
}
_ROOMS = ("scan",)

__all__ = [*_HOME_OF, *_ROOMS, "__version__"]


def __getattr__(name: str) -> Any:
    if name in _HOME_OF:
        value = getattr(importlib.import_module(_HOME_OF[name]), name)
    elif name in _ROOMS:
        value = importlib.import_module(f"vivim.{name}")
    else:
        raise AttributeError(f"module 'vivim' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
