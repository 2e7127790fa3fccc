"""A report as one page of HTML: tables and plots inside it, nothing from a network."""

from __future__ import annotations

from html import escape

import vivim
from vivim.review.plots import UNITS, area_plot, effort_plot, progress_plot
from vivim.review.report import StudyReport
from vivim.review.tables import report_tables

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 64rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; margin: 1.5rem 0 .5rem; } caption { text-align: left; font-weight: 600; }
th, td { padding: .25rem .75rem; border-bottom: 1px solid #ddd; text-align: right; }
th:first-child, td:first-child { text-align: left; }
figure { margin: 1.5rem 0; } svg { max-width: 100%; height: auto; } figcaption, .note { color: #555; }
"""
NO_NETWORK = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def as_html(report: StudyReport) -> str:
    """The whole page. Raises a `VivimError` if matplotlib is not installed."""
    figures = [_figure(progress_plot([report.of_reader(name) for name in report.readers]), "Frames by status.")]
    for one in report.area_differences():
        low, high = one.limits
        figures.append(
            _figure(
                area_plot(one),
                f"Bland-Altman plot of {len(one.means)} frames. Mean difference {one.bias:.4g} {UNITS[one.unit]}, "
                f"95 % limits of agreement {low:.4g} to {high:.4g}.",
            )
        )
    if report.agreements:
        figures.append(_figure(effort_plot(report), "What time buys: each point is a video of a reader."))
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta http-equiv="Content-Security-Policy" '
        f'content="{NO_NETWORK}">\n<title>Report of a study</title>\n<style>{STYLE}</style>\n</head>\n<body>\n'
        f"<h1>Report of a study</h1>\n"
        + "".join(table.html() for table in report_tables(report))
        + "".join(figures)
        + f'<p class="note">Made by vivim {vivim.__version__}. For research, not for diagnosis.</p>\n</body>\n</html>\n'
    )


def _figure(svg: str, caption: str) -> str:
    return f'<figure role="img" aria-label="{escape(caption)}">\n{svg}<figcaption>{escape(caption)}</figcaption></figure>\n'
