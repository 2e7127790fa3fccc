"""Tables of agreement, progress and effort, as text, HTML or Markdown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from textwrap import wrap
from typing import TYPE_CHECKING, Any

from vivim.review.agreement import Agreement, AgreementScores
from vivim.session import STATUS_NAMES

if TYPE_CHECKING:
    from vivim.review.report import StudyReport

COUNTED = (
    "A frame counts where both readers corrected or accepted it and neither ignored it. Where both drew nothing it "
    "counts for presence alone. Where one drew nothing, Dice is 0 and the distance is the picture's diagonal."
)


@dataclass(frozen=True)
class Table:
    """Rows of a table, its first column to the left. Numbers are rounded, and those that are not defined a dash."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Any]]
    note: str = ""

    def cells(self) -> list[list[str]]:
        """All rows as texts."""
        return [[_cell(value) for value in row] for row in self.rows]

    def text(self) -> str:
        """Aligned columns."""
        lines = [list(self.head), *self.cells()]
        widths = [max(len(line[k]) for line in lines) for k in range(len(self.head))]
        shown = [
            "  ".join(cell.rjust(width) if k else cell.ljust(width) for k, (cell, width) in enumerate(pairs))
            for pairs in (list(zip(line, widths, strict=True)) for line in lines)
        ]
        return "\n".join([self.title, *shown, *wrap(self.note, 100)])

    def markdown(self) -> str:
        """A table of a Markdown page."""
        rule = ["---", *["---:"] * (len(self.head) - 1)]
        lines = [list(self.head), rule, *self.cells()]
        return "\n".join(
            "| " + " | ".join(cell.replace("|", r"\|") for cell in line) + " |" for line in lines
        )

    def html(self) -> str:
        """A ``<table>``, and its note."""
        head = "".join(f'<th scope="col">{escape(cell)}</th>' for cell in self.head)
        rows = "".join(
            "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in line) + "</tr>\n" for line in self.cells()
        )
        note = f'<p class="note">{escape(self.note)}</p>\n' if self.note else ""
        return f"<table><caption>{escape(self.title)}</caption>\n<tr>{head}</tr>\n{rows}</table>\n{note}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return "-" if value != value else f"{value:.3f}" if abs(value) <= 1 else f"{value:.2f}"
    return str(value)


SCORES = {
    "frames": "frames",
    "both_empty": "both empty",
    "one_empty": "one empty",
    "dice": "Dice",
    "jaccard": "Jaccard",
    "hd95_px": "HD95 px",
    "hd95_mm": "HD95 mm",
    "presence_agreement": "presence",
    "kappa": "kappa",
}
"""Scores in the order of the table, with its headings."""


def agreement_table(found: Agreement, title: str = "Agreement") -> Table:
    """Scores of each pair of readers and of all, and of each class where there are several."""
    rows = [_row(scores) for scores in found.pairs]
    if len(found.readers) > 2:
        rows.append(_row(found.overall))
    if len(found.classes) > 1:
        for label, name in enumerate(found.classes, start=1):
            rows.append(_row(found.scores(found.readers, label), f" ({name})"))
    return Table(title, ["readers", *SCORES.values()], rows, COUNTED)


def _row(scores: AgreementScores, suffix: str = "") -> list[Any]:
    return [", ".join(scores.readers) + suffix, *(getattr(scores, name) for name in SCORES)]


def clip_table(clips: dict[str, Agreement]) -> Table:
    """Agreement of all readers on each video, by name."""
    rows = [[name, *_row(clip.overall)[1:]] for name, clip in clips.items()]
    return Table("Agreement of each video", ["video", *SCORES.values()], rows)


PROGRESS = {
    "reader": "reader",
    "clips": "videos",
    **{name: name for name in STATUS_NAMES},
    "ignored": "ignored",
}
EFFORT = {
    "reader": "reader",
    "edited_frames": "edited frames",
    "edits": "edits",
    "minutes": "minutes",
    "seconds_per_edited_frame": "seconds a frame",
    "consensus_dice": "Dice with consensus",
}
VIDEOS = {
    "clip": "video",
    "reader": "reader",
    "state": "state",
    "open_comments": "open comments",
    **{name: name for name in STATUS_NAMES},
    "edits": "edits",
    "minutes": "minutes",
    "consensus_dice": "Dice with consensus",
}
"""Columns of the tables, with their headings."""


def report_tables(report: StudyReport) -> list[Table]:
    """All tables of a report."""
    sums = [report.of_reader(reader) for reader in report.readers]
    videos = [{**row, **row["frames"]} for row in (one.as_dict() for one in report.sessions)]
    found = [
        Table("Progress", [*PROGRESS.values()], [[row[name] for name in PROGRESS] for row in sums]),
        Table(
            "Effort",
            [*EFFORT.values()],
            [[row[name] for name in EFFORT] for row in sums],
            f"The time between two edits counts if it is at most {report.idle_seconds:g} s. The consensus is the "
            "majority of all readers, each one included.",
        ),
        Table("Videos", [*VIDEOS.values()], [[row[name] for name in VIDEOS] for row in videos]),
    ]
    if report.agreement is not None:
        found += [agreement_table(report.agreement), clip_table(report.agreements)]
    return found
