"""One training batch, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields

from torch import Tensor


@dataclass(frozen=True)
class Batch:
    """One training batch."""

    x: Tensor
    """``(B, T, 3, H, W)`` float, normalised."""
    masks: Tensor
    """``(B, T, H, W)`` float of 0 and 1."""
    guide: Tensor
    """``(B, T, 2, H, W)`` float, all zeros for clips without guidance."""
    known: Tensor
    """``(B, T)`` bool: frames whose masks are given as guidance."""
    prior: Tensor
    """``(B, T, H, W)`` float: the propagated signed distance by itself, for comparison."""

    def tensors(self) -> list[Tensor]:
        """All tensors of the batch."""
        return [getattr(self, item.name) for item in fields(self)]

    def clips(self, first: int, end: int) -> Batch:
        """The clips from number `first` to before `end`."""
        return Batch(*(tensor[first:end] for tensor in self.tensors()))
