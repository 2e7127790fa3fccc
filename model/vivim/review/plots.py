"""Plots of a report, as SVG that stands inside a page of HTML and asks for nothing outside it."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vivim.errors import VivimError
from vivim.review.agreement import AreaDifference
from vivim.session import STATUS_NAMES

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from vivim.review.report import StudyReport

UNITS = {"mm2": "mm²", "px": "pixels"}
STATUS_COLORS = dict(zip(STATUS_NAMES, ("#d0d0d0", "#e69f00", "#0072b2", "#009e73"), strict=True))
"""Okabe and Ito (2008), safe for the colour-blind."""


def _figure(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise VivimError(
            "A report in HTML needs matplotlib. Install it: pip install 'napari-vivim[review]'. Text and --json work "
            "without it."
        ) from error
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    axes.set(title=title, xlabel=x, ylabel=y)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _svg(figure: Figure) -> str:
    """The figure as an ``<svg>`` element, with the same bytes each time."""
    import matplotlib

    buffer = io.StringIO()
    nothing: Any = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    with matplotlib.rc_context({"svg.hashsalt": "vivim", "svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    return text[text.index("<svg") :]


def progress_plot(rows: Sequence[dict[str, Any]]) -> str:
    """Frames of each reader by status."""
    figure, axes = _figure("Progress", "frames", "")
    names = [row["reader"] for row in rows]
    left = [0] * len(rows)
    for status in STATUS_NAMES:
        counts = [row[status] for row in rows]
        axes.barh(names, counts, left=left, label=status, color=STATUS_COLORS[status])
        left = [a + b for a, b in zip(left, counts, strict=True)]
    axes.invert_yaxis()
    axes.legend(ncols=len(STATUS_NAMES), loc="upper center", bbox_to_anchor=(0.5, -0.2), frameon=False)
    return _svg(figure)


def area_plot(one: AreaDifference) -> str:
    """Bland-Altman plot of the areas of two readers."""
    unit = UNITS[one.unit]
    figure, axes = _figure(
        f"Areas: {one.readers[0]} minus {one.readers[1]}",
        f"mean of both areas, {unit}",
        f"difference, {unit}",
    )
    axes.scatter(one.means, one.differences, s=12, color="#0072b2", alpha=0.6, linewidths=0, rasterized=True)
    for value, style in ((one.bias, "-"), (one.limits[0], "--"), (one.limits[1], "--")):
        axes.axhline(value, color="#333333", linestyle=style, linewidth=1)
        axes.annotate(f"{value:.4g}", (1, value), xycoords=("axes fraction", "data"), ha="right", va="bottom")
    return _svg(figure)


def effort_plot(report: StudyReport) -> str:
    """What a minute buys: seconds a frame against Dice with the consensus, a point for each video and reader."""
    figure, axes = _figure("Effort and agreement", "seconds for an edited frame", "Dice with the consensus")
    for reader in report.readers:
        own = [
            one
            for one in report.sessions
            if one.reader == reader and one.consensus_dice == one.consensus_dice
        ]
        if not own:
            continue
        seconds = [one.seconds / max(1, len(one.edited)) for one in own]
        axes.scatter(seconds, [one.consensus_dice for one in own], s=24, label=reader)
    axes.legend(frameon=False)
    return _svg(figure)
