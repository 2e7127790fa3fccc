"""Learn from a person's corrections: features once, decoder many times, in a process of its own.

`finetune` is the whole of it for callers; the events it yields are in `vivim.finetune.events`.
"""

from __future__ import annotations

from vivim.finetune.api import finetune
from vivim.finetune.events import FinetuneEvent, Finished, Preparing, Scored, Step

__all__ = ["Finished", "FinetuneEvent", "Preparing", "Scored", "Step", "finetune"]
