"""Learn from a person's corrections: features once, decoder many times, in a process of its own.

`finetune` is the whole of it for callers; the events it yields are in `vivim.finetune.events`. The package itself can
be called in its place: ``vivim.finetune(sessions, model)`` works whatever was imported before.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from vivim.finetune.api import finetune
from vivim.finetune.events import (
    FinetuneEvent,
    Finished,
    HeldOut,
    PassedOver,
    Preparing,
    Scored,
    Step,
    Waiting,
)
from vivim.finetune.process import Standby

__all__ = [
    "Finished",
    "FinetuneEvent",
    "HeldOut",
    "PassedOver",
    "Preparing",
    "Scored",
    "Standby",
    "Step",
    "Waiting",
    "finetune",
]


class _CallablePackage(ModuleType):
    def __call__(self, *args: Any, **kwargs: Any) -> Iterator[FinetuneEvent]:
        return finetune(*args, **kwargs)


sys.modules[__name__].__class__ = _CallablePackage
