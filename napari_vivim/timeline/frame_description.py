"""What the timeline says of a frame in words: how sure the model was, of what, and how the shape changed. No Qt."""

import math


def uncertainties(total: float, windows: float) -> list[str]:
    """How unsure the model was of a frame, in bits, part by part, in lines of rich text.

    `total` is NaN where nothing was proposed, and there is nothing to say. `windows` is what of it comes from windows
    that disagree: 0 where none overlapped, NaN where older versions did not say.
    """
    if not math.isfinite(total):
        return []
    if not math.isfinite(windows):
        return [f"model unsure: {total:.2f} bits in all"]
    outline = f"outline unclear: {total - windows:.2f} bits"
    if windows < 0.005:  # it would read 0.00
        return [outline]
    return [outline, f"windows disagree: {windows:.2f} more"]


def shape_change(change: float, jumps: bool) -> str:
    """How the shape differs from that in the frame before.

    `change` is 1 - Dice of the two masks, NaN where one is missing.
    """
    if not math.isfinite(change):
        return ""
    return f"{'shape jumps' if jumps else 'shape'}: {change:.0%} unlike the frame before"
