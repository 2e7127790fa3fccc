"""The orders in which Vivim's three branches visit the tokens of a clip, as index vectors.

Tokens lie in (t, y, x) order: frame after frame. An order is an int64 tensor (L,): the tokens' places in memory, in the
order visited. Reading by index spares the flips and transposed copies of a clip that changing the order would take.
"""

import functools

import torch
from torch import Tensor


@functools.lru_cache(maxsize=64)
def backward_order(length: int, device: torch.device) -> Tensor:
    """Order from the last token to the first."""
    with torch.inference_mode(False):
        return torch.arange(length - 1, -1, -1, device=device)


@functools.lru_cache(maxsize=64)
def temporal_order(frames: int, places: int, device: torch.device) -> Tensor:
    """Order (y, x, t): all frames of one place, then all frames of the next place."""
    with torch.inference_mode(False):
        return torch.arange(frames * places, device=device).view(frames, places).t().reshape(-1)


def inverse_order(order: Tensor) -> Tensor:
    """Order that undoes another: ``x[order][inverse_order(order)]`` is ``x``."""
    inverse = torch.empty_like(order)
    inverse[order] = torch.arange(len(order), device=order.device)
    return inverse


def check_order(order: Tensor, u: Tensor) -> None:
    """Raise `ValueError` unless `order` (L,) fits the sequences ``u`` (batch, L, E).

    That every token occurs exactly once is checked on the CPU alone, where the check costs nothing beside the scan.
    """
    length = u.shape[1]
    if order.dtype != torch.int64 or tuple(order.shape) != (length,) or order.device != u.device:
        raise ValueError(
            f"order must be int64 of shape (L,) = ({length},) on {u.device}, "
            f"but it is {order.dtype} {tuple(order.shape)} on {order.device}."
        )
    if order.device.type == "cpu" and not _is_permutation(order):
        raise ValueError("order must name every token exactly once.")


def _is_permutation(order: Tensor) -> bool:
    seen = torch.zeros(len(order), dtype=torch.bool)
    if len(order) and (int(order.min()) < 0 or int(order.max()) >= len(order)):
        return False
    seen[order] = True
    return bool(seen.all())
