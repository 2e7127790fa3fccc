"""Run-length encoding of masks as COCO has it: down the columns, first the zeros, as numbers or packed into text.

Source: the format of the COCO API (``maskApi``), of which this is an independent account: the text holds, for each
number from the third on its difference to the one two before, in groups of five bits from the lowest, each with a
sixth bit that says whether more follow, each as the character of code 48 and up.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

BITS, MORE, FIRST = 5, 32, 48
NEGATIVE = 16
"""Sign bit of the last group of a number."""
MOST_GROUPS = 7
"""Groups of a number below 2**32."""


def runs(mask: NDArray) -> list[int]:
    """Lengths of the runs of zeros and ones, in turn, of a mask ``(H, W)`` read down its columns."""
    flat = np.asarray(mask, bool).ravel(order="F")
    edges = np.flatnonzero(flat[1:] != flat[:-1]) + 1
    lengths = np.diff(np.concatenate([[0], edges, [flat.size]])).tolist()
    return [0, *lengths] if flat.size and flat[0] else lengths


def from_runs(lengths: Sequence[int], size: tuple[int, int]) -> NDArray[np.bool_]:
    """Mask ``(H, W)`` of some runs. Raises `ValueError` if they do not fill a mask of this size."""
    numbers = np.asarray(lengths, np.int64)
    if numbers.ndim != 1 or numbers.min(initial=0) < 0 or int(numbers.sum()) != size[0] * size[1]:
        raise ValueError(f"the runs of a mask do not fill {size[0]} x {size[1]} pixels")
    return np.repeat(np.arange(len(numbers)) % 2 == 1, numbers).reshape(size, order="F")


def to_text(lengths: Sequence[int]) -> str:
    """Runs packed into text."""
    text = []
    for i, length in enumerate(lengths):
        value = length - lengths[i - 2] if i > 2 else length
        more = True
        while more:
            group, value = value & (MORE - 1), value >> BITS
            more = value != (-1 if group & NEGATIVE else 0)
            text.append(chr((group | MORE if more else group) + FIRST))
    return "".join(text)


def from_text(text: str) -> list[int]:
    """Runs that were packed into text. Raises `ValueError` if it holds no runs."""
    lengths: list[int] = []
    value = groups = 0
    for character in text:
        group = ord(character) - FIRST
        if not 0 <= group < 2 * MORE or groups == MOST_GROUPS:
            raise ValueError("the packed runs of a mask are damaged")
        value |= (group & (MORE - 1)) << (BITS * groups)
        groups += 1
        if group & MORE:
            continue
        if group & NEGATIVE:
            value -= 1 << (BITS * groups)
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = groups = 0
    if groups:
        raise ValueError("the packed runs of a mask end in the middle")
    return lengths
