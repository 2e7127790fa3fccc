"""Make the next batches while the network trains: a thread, and on a GPU a stream, of their own."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator

import torch

from vivim.training.batch import Batch

AHEAD = 2
"""Batches that wait ready."""


def prefetched(
    draw: Callable[[int], Batch], first: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield ``draw(first)``, ``draw(first + 1)``, ...; closing the generator stops the thread.

    On the CPU, where the network needs all cores, batches are drawn in turn instead.
    """
    if device.type != "cuda":
        number = first
        while True:
            yield draw(number)
            number += 1
    ready: queue.Queue[tuple[Batch, torch.cuda.Event] | BaseException] = queue.Queue(AHEAD)
    stop = threading.Event()
    thread = threading.Thread(
        target=_work, args=(draw, first, device, ready, stop), name="vivim-batches", daemon=True
    )
    thread.start()
    try:
        while True:
            item = ready.get()
            if isinstance(item, BaseException):
                raise item
            batch, drawn = item
            here = torch.cuda.current_stream(device)
            here.wait_event(drawn)
            for tensor in batch.tensors():
                tensor.record_stream(here)
            yield batch
    finally:
        stop.set()
        while not ready.empty():
            ready.get_nowait()
        thread.join()


def _work(
    draw: Callable[[int], Batch], first: int, device: torch.device, ready: queue.Queue, stop: threading.Event
) -> None:
    number = first
    try:
        with torch.cuda.device(device), torch.cuda.stream(torch.cuda.Stream(device)):
            while not stop.is_set():
                batch = draw(number)
                drawn = torch.cuda.Event()
                drawn.record()
                _put(ready, (batch, drawn), stop)
                number += 1
    except BaseException as error:  # handed to the training loop, which raises it
        _put(ready, error, stop)


def _put(ready: queue.Queue, item: object, stop: threading.Event) -> None:
    while not stop.is_set():
        try:
            ready.put(item, timeout=0.2)
        except queue.Full:
            continue
        return
