"""Launch Triton kernels with little Python in between.

Triton looks at every argument of every launch to find out which compiled form of a kernel it needs; with twenty
arguments that takes longer than a short scan. Here the compiled form is kept, by all that it can depend on.
"""

from __future__ import annotations

from typing import Any

import torch

_ALIGNMENT = 16  # bytes; pointers that are multiples of it are compiled to wider loads
_MOST_KEPT = 512
_compiled: dict[tuple[Any, ...], Any] = {}


def launch(
    kernel: Any,
    programs: int,
    tensors: tuple[torch.Tensor, ...],
    numbers: tuple[int, ...],
    constants: tuple[int | bool, ...],
    warps: int,
) -> None:
    """Run `programs` programs of a kernel on the current device.

    Parameters
    ----------
    kernel : triton.JITFunction
        Its parameters are, in this order, the tensors, the numbers, and the constants (``tl.constexpr``).
    programs : int
        Size of the one-dimensional grid.
    tensors, numbers, constants : tuple
        Arguments by position.
    warps : int
        Warps of a program.
    """
    grid = (programs, 1, 1)
    key = (
        kernel,
        tensors[0].device,
        *((t.dtype, t.data_ptr() % _ALIGNMENT == 0) for t in tensors),
        numbers,
        constants,
        warps,
    )
    known = _compiled.get(key)
    if known is not None:
        known[grid](*tensors, *numbers, *constants)
        return
    made = kernel[grid](*tensors, *numbers, *constants, num_warps=warps)
    if made is not None and len(_compiled) < _MOST_KEPT:  # None where it was interpreted
        _compiled[key] = made
