"""One training batch, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One training batch; `guide` is all zeros for clips without guidance, `known` marks frames given as masks."""

    x: Tensor
    """``(B, T, 3, H, W)`` float, normalised."""
    masks: Tensor
    """``(B, T, H, W)`` float of 0 and 1."""
    guide: Tensor
    """``(B, T, 2, H, W)`` float."""
    known: Tensor
    """``(B, T)`` bool."""
    prior: Tensor
    """``(B, T, H, W)`` float: the propagated signed distance by itself, for comparison."""
    embedding: Tensor
    """``(B, T, 256, H/4, W/4)`` float: what the teacher sees; 0 channels without one."""

    def tensors(self) -> list[Tensor]:
        """All of them."""
        return [getattr(self, item.name) for item in fields(self)]

    def clips(self, first: int, end: int) -> Batch:
        """Some of its clips."""
        return Batch(*(tensor[first:end] for tensor in self.tensors()))
