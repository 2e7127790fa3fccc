"""Replay the network's pass over a batch as recorded on the GPU: one recording a shape of batch.

One pass is thousands of small kernels; launching them one by one from Python takes longer than running them, unless the
batch is large. A shape is recorded when it comes for the third time, so that a short job pays nothing.
"""

from __future__ import annotations

import logging
from collections import Counter, OrderedDict
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

Forward = Callable[[Tensor, Tensor | None], Tensor]
RUNS_BEFORE = 2
"""Runs of a shape before it is recorded; they also compile what the recording must not."""

KEPT = 3
"""Recordings kept, the latest used; each holds the memory of one pass."""

_log = logging.getLogger(__name__)


class _Recording:
    """One pass with its own inputs and outputs in memory."""

    def __init__(self, forward: Forward, x: Tensor, planes: Tensor | None) -> None:
        self._x, self._planes = x.clone(), None if planes is None else planes.clone()
        self._graph = torch.cuda.CUDAGraph()
        torch.cuda.synchronize(x.device)
        # Another thread prepares the next batch meanwhile; what it does on the GPU is not to be recorded.
        with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):
            self._y = forward(self._x, self._planes)

    def __call__(self, x: Tensor, planes: Tensor | None) -> Tensor:
        self._x.copy_(x)
        if self._planes is not None and planes is not None:
            self._planes.copy_(planes)
        self._graph.replay()
        return self._y.clone()


class Recorded:
    """`forward` on a CUDA device, recorded for the shapes that come again and again.

    Parameters
    ----------
    forward : callable
        From ``(B, T, 3, H, W)`` and guide planes ``(B, T, 2, H, W)`` or None to a Tensor, without gradients; does the
        same each time, its weights aside.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._runs: Counter[Hashable] = Counter()
        self._recordings: OrderedDict[Hashable, _Recording] = OrderedDict()
        self._possible = True

    def __call__(self, x: Tensor, planes: Tensor | None) -> Tensor:
        """What ``forward(x, planes)`` returns."""
        shape = (tuple(x.shape), planes is not None)
        if self._possible and shape not in self._recordings and self._runs[shape] >= RUNS_BEFORE:
            self._record(shape, x, planes)
        if shape in self._recordings:
            self._recordings.move_to_end(shape)
            return self._recordings[shape](x, planes)
        self._runs[shape] += 1
        return self._forward(x, planes)

    def forget(self) -> None:
        """Give the recordings' memory back, and record no more."""
        self._recordings.clear()
        self._possible = False

    def _record(self, shape: Hashable, x: Tensor, planes: Tensor | None) -> None:
        while len(self._recordings) >= KEPT:
            self._recordings.popitem(last=False)
        try:
            self._recordings[shape] = _Recording(self._forward, x, planes)
        except RuntimeError as error:  # too little memory, or a kernel that cannot be recorded: go on without
            _log.warning(
                "A pass over %s could not be recorded, and is launched kernel by kernel: %s", shape, error
            )
            self.forget()
