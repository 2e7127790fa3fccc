"""Make the next batches while the network trains: a thread, and on a GPU a stream, of their own."""

from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from itertools import count

import torch

from vivim.training.batch import Batch

IN_ADVANCE = 3
"""Batches that are ready or being made."""


def prefetched(
    draw: Callable[[int], Batch], first: int, device: torch.device
) -> Generator[Batch, None, None]:
    """Yield ``draw(first)``, ``draw(first + 1)``, ... until closed.

    On the CPU, where the network needs all cores, batches are drawn in turn instead.
    """
    if device.type != "cuda":
        yield from map(draw, count(first))
        return
    stream = torch.cuda.Stream(device)

    def draw_on_stream(number: int) -> tuple[Batch, torch.cuda.Event]:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            batch, drawn = draw(number), torch.cuda.Event()
            drawn.record()
        return batch, drawn

    numbers = count(first)
    with ThreadPoolExecutor(1, thread_name_prefix="vivim-batches") as thread:
        ready = deque(thread.submit(draw_on_stream, next(numbers)) for _ in range(IN_ADVANCE))
        try:
            while True:
                batch, drawn = ready.popleft().result()
                ready.append(thread.submit(draw_on_stream, next(numbers)))
                here = torch.cuda.current_stream(device)
                here.wait_event(drawn)
                for tensor in batch.tensors():
                    tensor.record_stream(here)
                yield batch
        finally:
            thread.shutdown(wait=False, cancel_futures=True)
