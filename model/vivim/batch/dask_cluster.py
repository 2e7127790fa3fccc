"""The workers: some processes on this machine, one a device, or those of a Dask scheduler that runs already.

Workers hold the model and one window of one video; the scheduler and this process see paths and short summaries.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vivim.batch.version_check import check_installed
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

    `text`: ``"local"``: a process for each GPU, or for every `THREADS` cores; ``"local:N"``: N of them, GPUs
    and threads divided among them; or the address of a scheduler. `device`: as `vivim.devices.choose_device`
    takes it. Raises `BatchError` if Dask is not installed, the scheduler does not answer, or it or a worker
    lacks this napari-vivim.
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

    By default there is one for each GPU, or for every `THREADS` cores, and all cores, or `threads` each, are divided
    among them. Dask keeps its own files in `folder`, by default where it likes.
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
