"""Learn from a person's corrections: encode frames once, train the decoder many times, in a process of its own.

Callers use `vivim.finetune`, whose events are in `vivim.finetuning.events`.
"""

from vivim.finetuning.events import (
    FinetuneEvent,
    Finished,
    HeldOut,
    PassedOver,
    Preparing,
    Scored,
    Step,
    Waiting,
)
from vivim.finetuning.worker_process import Standby

__all__ = [
    "FinetuneEvent",
    "Finished",
    "HeldOut",
    "PassedOver",
    "Preparing",
    "Scored",
    "Standby",
    "Step",
    "Waiting",
]
