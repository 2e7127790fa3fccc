"""Record the network's pass over a batch as a CUDA graph, one for each shape of batch, and replay it.

One pass is thousands of small kernels; launching them one by one from Python takes longer than running them, unless the
batch is large. A shape is recorded when it comes for the third time, so that a short job pays nothing.
"""

import logging
from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

from vivim.utils.lru_cache import LRUCache

Forward = Callable[[Tensor, Tensor | None], Tensor]
RUNS_BEFORE = 2
"""Runs of a shape before it is recorded; they also compile what the recording must not."""

GRAPHS_KEPT = 3
"""Recordings kept, those used last. Each holds the memory of one pass."""

_log = logging.getLogger(__name__)


class _Graph:
    """One recorded pass, with inputs and outputs of its own in memory."""

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


class GraphedForward:
    """A pass on a CUDA device, recorded for the shapes of batch that come again and again.

    `forward` goes from ``(B, T, 3, H, W)`` and guide planes ``(B, T, 2, H, W)`` or None to a Tensor, without gradients.
    It runs the same kernels each time, whatever the weights.
    """

    def __init__(self, forward: Forward) -> None:
        self._forward = forward
        self._runs: Counter[Hashable] = Counter()
        self._graphs: LRUCache[Hashable, _Graph] = LRUCache(GRAPHS_KEPT)
        self._possible = True

    def __call__(self, x: Tensor, planes: Tensor | None) -> Tensor:
        """Return ``forward(x, planes)``, replayed where its shape is recorded."""
        shape = (tuple(x.shape), planes is not None)
        graph = self._graphs.get(shape)
        if graph is None and self._possible and self._runs[shape] >= RUNS_BEFORE:
            graph = self._record(shape, x, planes)
        if graph is not None:
            return graph(x, planes)
        self._runs[shape] += 1
        return self._forward(x, planes)

    def forget(self) -> None:
        """Free the recordings' memory, and record no more."""
        self._graphs.drop_to(0)
        self._possible = False

    def _record(self, shape: Hashable, x: Tensor, planes: Tensor | None) -> _Graph | None:
        self._graphs.drop_to(GRAPHS_KEPT - 1)  # before the memory of another one is taken
        try:
            graph = _Graph(self._forward, x, planes)
        except RuntimeError as error:  # too little memory, or a kernel that cannot be recorded: go on without
            _log.warning(
                "A pass over %s could not be recorded, and is launched kernel by kernel: %s", shape, error
            )
            self.forget()
            return None
        self._graphs.put(shape, graph)
        return graph
