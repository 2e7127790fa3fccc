"""The workers: some processes on this machine, one a device, or those of a Dask scheduler that runs already.

Workers hold the model and one window of one video; the scheduler and this process see paths and short summaries.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import pkgutil
import re
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim import __version__
from vivim.devices import available_devices
from vivim.errors import BatchError
from vivim.utils.atomic_files import own_name, sweep
from vivim.utils.system import ONE_HEAP

if TYPE_CHECKING:
    from distributed import Client, SpecCluster

ATTEMPTS = 3
"""So many workers may die over one video before it counts as failed."""
THREADS = 4
"""Threads of a process on the CPU, unless a number of processes is asked for: more gain little."""
CONNECT_SECONDS = 20
ADDRESS = re.compile(r"(tcp|tls|ucx|ws|wss)://\S+")
LOCAL = re.compile(r"local(?::([1-9]\d{0,3}))?")


def is_cluster(text: str) -> bool:
    """Whether a text means workers: ``local``, ``local:N``, or the address of a scheduler."""
    return bool(LOCAL.fullmatch(text) or ADDRESS.fullmatch(text))


@contextmanager
def connected(text: str, device: str) -> Iterator[Client]:
    """A client of the workers that a text means. ``local`` ones end with the block.

    ``"local"`` means a process for each GPU, or for every `THREADS` cores; ``"local:N"`` N of them, GPUs and threads
    divided among them; else it is the address of a scheduler.
    """
    if importlib.util.find_spec("distributed") is None:
        raise BatchError("Clusters need one more package: pip install 'napari-vivim[cluster]'.")
    from distributed import Client

    match = LOCAL.fullmatch(text)
    if match is None:
        try:
            client = Client(text, timeout=CONNECT_SECONDS)
        except (OSError, TimeoutError, ValueError) as error:
            raise BatchError(
                f"No scheduler answers at {text}. Start one with `dask scheduler`, or check the address."
            ) from error
        with client:
            check_installed(client)
            yield client
        return
    scratch = Path(tempfile.gettempdir())
    sweep(scratch)  # what the workers of a killed program have left
    with (
        # workers that are killed may be writing there yet
        tempfile.TemporaryDirectory(prefix=own_name("vivim-dask"), ignore_cleanup_errors=True) as folder,
        local_cluster(int(match[1]) if match[1] else None, device, folder=folder) as cluster,
        Client(cluster) as client,
    ):
        yield client


def local_cluster(
    workers: int | None, device: str, threads: int | None = None, folder: str | None = None
) -> SpecCluster:
    """Worker processes on this machine that only this machine can reach. One that dies is started again.

    All cores, or `threads` each, are divided among them. Dask keeps its own files in `folder`, or where it likes.
    """
    import dask
    from dask.system import CPU_COUNT
    from distributed import Nanny, Scheduler, SpecCluster

    gpus = _gpus() if device in ("auto", "cuda") else []
    on_mps = device == "mps" or (device == "auto" and available_devices()[0] == "mps")
    count = workers or len(gpus) or (1 if on_mps else max(1, CPU_COUNT // THREADS))
    threads = threads or max(1, CPU_COUNT // count)
    dashboard = {
        "dashboard": importlib.util.find_spec("bokeh") is not None,
        "dashboard_address": "127.0.0.1:0",
    }
    settings: dict[str, Any] = {
        "temporary-directory": folder or dask.config.get("temporary-directory"),  # the scheduler's
        "distributed.scheduler.allowed-failures": ATTEMPTS - 1,
        "distributed.scheduler.worker-saturation": 1.0,
        f"distributed.nanny.pre-spawn-environ.{ONE_HEAP[0]}": ONE_HEAP[1],
    }
    with dask.config.set(settings):
        return SpecCluster(
            workers={
                i: {"cls": Nanny, "options": _options(threads, gpus[i % len(gpus)] if gpus else None, folder)}
                for i in range(count)
            },
            scheduler={"cls": Scheduler, "options": {"host": "127.0.0.1", "port": 0, **dashboard}},
            silence_logs=logging.CRITICAL,
        )


def _options(threads: int, gpu: str | None, folder: str | None) -> dict[str, Any]:
    """How one worker process is started. No limit on memory: a paused worker with a model in it would never go on."""
    environment = {name: str(threads) for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    if gpu is not None:
        environment["CUDA_VISIBLE_DEVICES"] = gpu
    return {
        "nthreads": 1,
        "host": "127.0.0.1",
        "memory_limit": 0,
        "local_directory": folder,
        "dashboard": False,
        "preload": ["vivim.batch.dask_worker"],
        "env": environment,
        "silence_logs": logging.CRITICAL,
    }


def address_of(client: Client) -> str:
    """Where the scheduler of a client is."""
    return str(client.scheduler_info(n_workers=0)["address"])


def dashboard_of(client: Client) -> str | None:
    """Where Dask's dashboard is, if the scheduler has one."""
    services = client.scheduler_info(n_workers=0).get("services", {})
    return client.dashboard_link if services.get("dashboard") else None


def worker_command(address: str) -> str:
    """The command that starts a worker on another machine. One for each GPU."""
    variables = f"{'='.join(ONE_HEAP)} OMP_NUM_THREADS={THREADS}"
    return f"{variables} dask worker {address} --nthreads 1 --memory-limit 0 --no-dashboard"


def _gpus() -> list[str]:
    """GPUs that this process may use, as the variable ``CUDA_VISIBLE_DEVICES`` names them."""
    import torch

    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    count = torch.cuda.device_count()
    names = [name.strip() for name in named.split(",")] if named else [str(i) for i in range(count)]
    return names[:count]


ASKED = "vivim:__version__"
"""Looked up by a function of Python's own, since one of ours is what they may lack."""

AT_ONCE = 10.0
"""A worker that ends within so many seconds of its coming, not told to, has most likely ended at our first word."""

_log = logging.getLogger(__name__)


def check_installed(client: Client) -> None:
    """Ask all of them for the version of napari-vivim, and say which has none or another, and what to do."""
    scheduler = f"The scheduler at {client.scheduler_info(n_workers=0)['address']}"
    try:
        _check(scheduler, client.run_on_scheduler(pkgutil.resolve_name, ASKED))
    except (ImportError, AttributeError) as error:
        _check(scheduler, error)
    for address, found in client.run(pkgutil.resolve_name, ASKED, on_error="return").items():
        _check(f"The worker at {address}", found)


class Newcomers:
    """Workers that come while the work goes on: those that cannot do it are named in the log, once each.

    Workers that this process starts by itself run what it runs: those that come are ones that died, started again.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._came: dict[str, float] = {}
        self._asked: set[str] = set()

    def begin(self) -> None:
        """Listen from now on."""
        if self._client.cluster is None:
            self._client.subscribe_topic("all", self._on_event)

    def end(self) -> None:
        """Listen no longer."""
        if self._client.cluster is None:
            self._client.unsubscribe_topic("all")

    def ask(self, there: Collection[str]) -> None:
        """Ask those `there` that have come since. The others' end has been heard of."""
        new = [address for address in dict(self._came) if address in there and address not in self._asked]
        self._asked.update(new)
        if new:
            answers = self._client.run(pkgutil.resolve_name, ASKED, workers=new, on_error="return")
            for address, found in answers.items():
                if problem := _problem(f"The worker at {address}", found):
                    _log.warning("%s", problem)

    def _on_event(self, event: tuple[float, dict[str, Any]]) -> None:
        """What the scheduler says of its workers, in the client's own thread."""
        told = event[1]
        if told.get("action") == "add-worker":
            self._came[told["worker"]] = time.monotonic()
        elif told.get("action") == "remove-worker" and not told.get("expected"):
            came = self._came.pop(told["worker"], None)
            if came is not None and time.monotonic() - came < AT_ONCE:
                _log.warning(
                    "The worker at %s ended as soon as it was given work. Most likely it lacks napari-vivim: "
                    "install napari-vivim[cluster] %s there, as here, and start it again. If it has it, the video "
                    "crashed it, and is named once it has failed.",
                    told["worker"],
                    __version__,
                )


def _check(who: str, found: str | Exception) -> None:
    if problem := _problem(who, found):
        raise BatchError(problem)


def _problem(who: str, found: str | Exception) -> str | None:
    """What is wrong with a process that gave this answer, and what to do. None if it is gone, or as this one."""
    if found == __version__ or isinstance(found, OSError):
        return None
    what = f"cannot load napari-vivim ({found})" if isinstance(found, Exception) else f"has version {found}"
    return f"{who} {what}: install napari-vivim[cluster] {__version__} there, as here, and start it again."
