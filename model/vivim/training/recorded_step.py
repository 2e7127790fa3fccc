"""Replay a training step's forward and backward pass as recorded on the GPU, one recording a shape.

A b0 step is thousands of small kernels: launching them one by one from Python takes longer than running them.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from vivim.training.distillation import Trainable

Shape = tuple[int, int, int, int]
"""Clips, frames, height and width of a batch."""


class _OneShape(nn.Module):
    """Holds the same parameters as the pupil; what is recorded is this module's `forward`."""

    def __init__(self, trainable: Trainable) -> None:
        super().__init__()
        self.trainable = trainable

    def forward(self, x: Tensor, guide: Tensor) -> tuple[Tensor, ...]:
        return self.trainable(x, guide)


class Recorded:
    """Recordings of ``pupil(x, guide)`` in training, bfloat16; other shapes run as usual.

    To be made before any other thread uses the GPU.
    """

    def __init__(self, trainable: Trainable, shapes: Iterable[Shape], device: torch.device) -> None:
        self._trainable = trainable
        self._recordings: dict[Shape, Callable[..., Any]] = {}
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

    def __call__(self, x: Tensor, guide: Tensor | None) -> tuple[Tensor, ...]:
        """What ``pupil(x, guide)`` returns."""
        module = (
            self._recordings.get((x.shape[0], x.shape[1], x.shape[3], x.shape[4]))
            if guide is not None
            else None
        )
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            return self._trainable(x, guide) if module is None else module(x, guide)
