"""Record a training step's forward and backward pass on the GPU, and replay it.

A b0 step is thousands of small kernels: launching them one by one from Python takes longer than running them.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vivim.training.training_model import Outputs, TrainingModel

Shape = tuple[int, int, int, int]
"""Clips, frames, height and width of a batch."""


class _OneShape(nn.Module):
    """A module of the same parameters for each shape, because recording replaces its `forward`."""

    def __init__(self, trainable: TrainingModel) -> None:
        super().__init__()
        self.trainable = trainable

    def forward(self, x: Tensor, guide: Tensor) -> tuple[Tensor, ...]:
        return tuple(v for v in self.trainable(x, guide) if v is not None)


class RecordedStep:
    """Recordings of ``trainable(x, guide)`` in bfloat16, one for each shape of batch. Other shapes run as usual.

    Make it before any other thread uses the GPU.
    """

    def __init__(self, trainable: TrainingModel, shapes: Iterable[Shape], device: torch.device) -> None:
        self._trainable = trainable
        self._recordings: dict[Shape, Callable[..., Any]] = {}
        config = trainable.model.config
        self._has = (True, trainable.predicts_edges, config.organ, config.presence)
        kept = copy.deepcopy({k: v for k, v in trainable.named_buffers()})
        for shape in shapes:
            clips, frames, height, width = shape
            x = torch.randn(clips, frames, 3, height, width, device=device)
            guide = torch.zeros(clips, frames, 2, height, width, device=device)
            with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
                self._recordings[shape] = torch.cuda.make_graphed_callables(
                    _OneShape(trainable), (x, guide), allow_unused_input=True
                )
            torch.cuda.empty_cache()
        for name, buffer in trainable.named_buffers():  # recording ran the network on noise
            buffer.copy_(kept[name])
        trainable.zero_grad(set_to_none=True)

    def __call__(self, x: Tensor, guide: Tensor | None) -> Outputs:
        """Return what ``trainable(x, guide)`` returns."""
        module = (
            self._recordings.get((x.shape[0], x.shape[1], x.shape[3], x.shape[4]))
            if guide is not None
            else None
        )
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            if module is None:
                return self._trainable(x, guide)
            found = iter(module(x, guide))
        logits, *others = (next(found) if has else None for has in self._has)
        assert logits is not None
        return Outputs(logits, *others)
