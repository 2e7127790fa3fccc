"""One training batch, as tensors."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import IntEnum

from torch import Tensor


class Marks(IntEnum):
    """What the masks of a clip mark."""

    LESION = 0
    ORGAN = 1
    """An organ, where no lesion is."""
    ORGAN_WITH_LESIONS = 2
    """An organ that may hold lesions, which are not marked."""


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
    marks: Tensor
    """``(B,)`` int64: what the masks mark, as in `Marks`."""

    @property
    def guided(self) -> Tensor:
        """``(B, 1)`` bool: clips in which any mask is given."""
        return self.known.any(dim=1, keepdim=True)

    @property
    def lesion_known(self) -> Tensor:
        """``(B, 1)`` bool: clips in which it is known what the network is to call lesion, see `lesions`."""
        return self.guided | (self.marks != Marks.ORGAN_WITH_LESIONS)[:, None]

    @property
    def lesions(self) -> Tensor:
        """``(B, T, H, W)``: what the network is to call lesion: what was given as guidance, and else no organ."""
        return self.masks * (self.guided | (self.marks == Marks.LESION)[:, None])[..., None, None]

    def tensors(self) -> list[Tensor]:
        """All tensors of the batch."""
        return [getattr(self, item.name) for item in fields(self)]

    def clips(self, first: int, end: int) -> Batch:
        """The clips from number `first` to before `end`."""
        return Batch(*(tensor[first:end] for tensor in self.tensors()))
