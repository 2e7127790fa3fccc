"""What the timeline says of a frame in words: how sure the model was, of what, and how the shape changed. No Qt."""

import math


def uncertainties(total: float, windows: float) -> list[str]:
    """How unsure the model was of a frame, part by part, in lines of rich text.

    Parameters
    ----------
    total : float
        The uncertainty in bits; NaN where nothing was proposed, and there is nothing to say.
    windows : float
        What of it comes from windows that disagree: 0 where none overlapped, NaN where older versions did not say.
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
    """How the shape differs from that in the frame before. Nothing where there is none to compare with.

    Parameters
    ----------
    change : float
        1 - Dice of the two masks; NaN where one is missing.
    jumps : bool
        Whether that is far more than usual in this video.
    """
    if not math.isfinite(change):
        return ""
    share = f"{change:.0%}"
    return (
        f"shape jumps: {share} unlike the frame before"
        if jumps
        else f"shape: {share} unlike the frame before"
    )
