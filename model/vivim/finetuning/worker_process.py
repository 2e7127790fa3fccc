"""Run fine-tunes in processes of their own, one of which can be kept ready.

Loading PyTorch takes seconds, which a process that is ready beforehand saves.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.devices import choose_device
from vivim.errors import DeviceError, FinetuneError
from vivim.finetuning.events import FinetuneEvent, Trained, from_line
from vivim.utils.atomic_files import own_name, sweep

if TYPE_CHECKING:
    from vivim.network import Vivim
    from vivim.session import Session

KEPT_SECONDS = 600.0
"""How long a process is kept ready that nobody asks for. It holds some 250 MB."""


class WorkerProcess:
    """A process ``python -m vivim.finetuning.worker`` with a folder of its own, which waits for its job.

    It ends with this program, however that ends, because its standard input is closed then.
    """

    def __init__(self) -> None:
        sweep(Path(tempfile.gettempdir()))
        self._folder = tempfile.TemporaryDirectory(prefix=own_name("vivim-finetune"))
        self.folder = Path(self._folder.name)
        self._errors = (self.folder / "stderr.txt").open("w+")
        self.process = subprocess.Popen(
            [sys.executable, "-m", "vivim.finetuning.worker", self._folder.name],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
        )

    def begin(self, task: Mapping[str, Any]) -> None:
        """Give the process its only job. A process that has ended meanwhile sends no events."""
        (self.folder / "job.json").write_text(json.dumps(dict(task)))
        assert self.process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.write("begin\n")
            self.process.stdin.flush()

    @property
    def lives(self) -> bool:
        """Whether the process has not ended."""
        return self.process.poll() is None

    def unexpected_end(self) -> FinetuneError:
        """Tell how the process ended, by the last line that it wrote to its standard error."""
        self._errors.seek(0)
        last_words = (self._errors.read().strip().splitlines() or ["it left no message"])[-1]
        return FinetuneError(
            f"Fine-tuning stopped unexpectedly (exit code {self.process.returncode}: {last_words}). The model is as it "
            "was; close other programs if memory is short, and try again."
        )

    def close(self) -> None:
        """Kill the process and remove its folder. Safe to call twice."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None and self.process.stdout is not None
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        self.process.stdout.close()
        self._errors.close()
        self._folder.cleanup()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Standby:
    """A process kept ready for the next fine-tune for a limited time. Safe to use from any thread."""

    def __init__(self, seconds: float = KEPT_SECONDS) -> None:
        self._seconds = seconds
        self._lock = threading.Lock()
        self._waiting: WorkerProcess | None = None
        self._given_up: threading.Timer | None = None
        self._closed = False

    def start(self) -> None:
        """Start a process unless there is one, and restart its time limit. Returns at once."""
        with self._lock:
            if self._closed:
                return
            if self._waiting is not None and not self._waiting.lives:
                self._drop()
            if self._waiting is None:
                self._waiting = WorkerProcess()
            self._count_down()

    def take(self) -> WorkerProcess:
        """Hand over the process that is ready, or a new one. The caller has to close it."""
        with self._lock:
            found, self._waiting = self._waiting, None
            self._stop_counting()
        if found is None:
            return WorkerProcess()
        if found.lives:
            return found
        found.close()
        return WorkerProcess()

    def close(self) -> None:
        """End the process that waits, and start no other. Safe to call twice."""
        with self._lock:
            self._closed = True
            self._drop()

    def _give_up(self) -> None:
        with self._lock:
            if threading.current_thread() is self._given_up:  # else somebody has asked for it meanwhile
                self._drop()

    def _drop(self) -> None:
        self._stop_counting()
        if self._waiting is not None:
            self._waiting.close()
            self._waiting = None

    def _count_down(self) -> None:
        self._stop_counting()
        self._given_up = threading.Timer(self._seconds, self._give_up)
        self._given_up.daemon = True
        self._given_up.start()

    def _stop_counting(self) -> None:
        if self._given_up is not None:
            self._given_up.cancel()
            self._given_up = None


def in_own_process(
    sessions: Sequence[Session], model: Vivim, scope: str, device: str, seed: int, standby: Standby | None
) -> Iterator[FinetuneEvent | Trained]:
    """Fine-tune in a process of its own, with the events of `vivim.finetuning.job.run`.

    Frames are encoded here while the process loads, because proposing uses the same optical flow.
    """
    import torch

    from vivim.finetuning.precompute import precompute_features
    from vivim.network.checkpoints import load_checkpoint, save_checkpoint

    with WorkerProcess() if standby is None else standby.take() as worker:
        if scope != "all":
            yield from precompute_features(sessions, model, choose_device(device))
        save_checkpoint(model, worker.folder / "parent.safetensors", model.provenance, dtype=torch.float32)
        worker.begin(
            {
                "sessions": [str(session.folder) for session in sessions],
                "model": str(worker.folder / "parent.safetensors"),
                "scope": scope,
                "device": device,
                "seed": seed,
            }
        )
        promoted = yield from _relay(worker.process)
        if worker.process.wait() != 0 or promoted is None:
            raise worker.unexpected_end()
        tuned = load_checkpoint(worker.folder / "result.safetensors")
    yield Trained(tuned, promoted)


def _relay(process: subprocess.Popen[str]) -> Generator[FinetuneEvent, None, bool | None]:
    """Yield the events of a worker, and return whether the new version is promoted, or None if it never said."""
    assert process.stdout is not None
    promoted: bool | None = None
    for text in process.stdout:
        if not text.startswith("{"):
            continue  # a library's own chatter
        values: dict[str, Any] = json.loads(text)
        if values["kind"] == "error":
            raise (DeviceError if values.get("device") else FinetuneError)(values["message"])
        if values["kind"] == "trained":
            promoted = values["promoted"]
        else:
            yield from_line(text)
    return promoted
