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

PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<title>Report of a study</title>
<style>{style}</style>
</head>
<body>
<h1>Report of a study</h1>
{body}<p class="note">Made by vivim {version}. For research, not for diagnosis.</p>
</body>
</html>
"""


def as_html(report: StudyReport) -> str:
    """The whole page. Raises a `VivimError` if matplotlib is not installed."""
    figures = [
        _figure(progress_plot([report.of_reader(name) for name in report.readers]), "Frames by status.")
    ]
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
    body = "".join([*(table.html() for table in report_tables(report)), *figures])
    return PAGE.format(policy=NO_NETWORK, style=STYLE, body=body, version=vivim.__version__)


def _figure(svg: str, caption: str) -> str:
    label = escape(caption)
    return f'<figure role="img" aria-label="{label}">\n{svg}<figcaption>{label}</figcaption></figure>\n'
