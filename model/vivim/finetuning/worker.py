"""The process a fine-tune runs in: ``python -m vivim.finetuning.worker JOB``.

JOB is a folder. The process loads everything first, then waits for a line on stdin, which says that ``job.json`` is in
the folder. It writes events as lines of JSON to stdout, and the new weights to ``result.safetensors``. Nothing else is
written, so killing this process at any moment loses nothing. It also ends when stdin ends without a line, because the
program that started it is gone.
"""

import json
import sys
from pathlib import Path

import torch

from vivim.devices import telling_of_full_memory
from vivim.errors import DeviceError, VivimError
from vivim.finetuning.events import Trained, to_line
from vivim.finetuning.feature_store import FeatureStore
from vivim.finetuning.job import run
from vivim.finetuning.warmup import warm_up_finetuning
from vivim.network import Vivim, VivimConfig
from vivim.network.checkpoints import load_checkpoint, save_checkpoint
from vivim.session import Session


def work(job: Path) -> None:
    """Run the job described in ``job/job.json``."""
    task = json.loads((job / "job.json").read_text())
    sessions = [Session.open(folder, read_only=True) for folder in task["sessions"]]
    try:
        model = load_checkpoint(Path(task["model"]))
        for event in run(sessions, model, task["scope"], task["device"], task["seed"], FeatureStore()):
            if isinstance(event, Trained):
                save_checkpoint(event.model, job / "result.safetensors", event.model.provenance)
                line = json.dumps({"kind": "trained", "promoted": event.promoted})
            else:
                line = to_line(event)
            print(line, flush=True)
    finally:
        for session in sessions:
            session.close()


def main() -> int:
    """Wait for the job and do it. A `VivimError` becomes one line of JSON, so that its sentence reaches the person."""
    # load what is otherwise loaded at first use: kernels, and the imports of PyTorch's optimisers
    small = Vivim(VivimConfig(size="b0", input_size=(64, 64), guided=True))
    warm_up_finetuning(small, torch.device("cpu"))
    if not sys.stdin.readline():
        return 0
    try:
        with telling_of_full_memory():
            work(Path(sys.argv[1]))
    except VivimError as error:
        failure = {"kind": "error", "message": str(error), "device": isinstance(error, DeviceError)}
        print(json.dumps(failure), flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
