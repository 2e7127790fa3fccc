"""The process a fine-tune runs in: ``python -m vivim.finetuning.worker JOB``.

JOB is a folder. Once everything is loaded, a line on stdin says that ``job.json`` lies there; events leave as lines of
JSON on stdout, the new weights as ``result.safetensors``. Nothing else is written, so killing this process at any
moment loses nothing. Where stdin ends without a line, whoever asked is gone, and so is this process.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import torch

from vivim.devices import telling_of_full_memory
from vivim.errors import DeviceError, VivimError
from vivim.finetuning.events import to_line
from vivim.finetuning.feature_store import FeatureCache
from vivim.finetuning.job import Trained, run
from vivim.finetuning.warmup import warm_up_masks_layer
from vivim.network import Vivim, VivimConfig
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.session import Session


def work(job: Path) -> None:
    """Run the job described in ``job/job.json``."""
    task = json.loads((job / "job.json").read_text())
    sessions = [Session.open(folder, read_only=True) for folder in task["sessions"]]
    try:
        model = load_checkpoint(Path(task["model"]))
        for event in run(sessions, model, task["scope"], task["device"], task["seed"], FeatureCache()):
            if isinstance(event, Trained):
                save_checkpoint(event.model, job / "result.safetensors", event.model.provenance)
                line = json.dumps({"kind": "trained", "promoted": event.promoted, "seconds": event.seconds})
            else:
                line = to_line(event)
            print(line, flush=True)
    finally:
        for session in sessions:
            session.close()


def make_ready() -> None:
    """Load what is only loaded at first use: kernels, and what PyTorch's optimisers import."""
    small = Vivim(VivimConfig(size="b0", input_size=(64, 64), guided=True))
    warm_up_masks_layer(small, torch.device("cpu"))


def main() -> int:
    """Entry point; a `VivimError` becomes one line of JSON, so that its sentence reaches the person."""
    make_ready()
    if not sys.stdin.readline():
        return 0
    try:
        with telling_of_full_memory():
            work(Path(sys.argv[1]))
    except VivimError as error:
        said = {"kind": "error", "message": str(error), "device": isinstance(error, DeviceError)}
        print(json.dumps(said), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
