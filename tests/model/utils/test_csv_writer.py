"""Tables: no text is a formula in a spreadsheet, every number stays one, and all tables are written in one way."""

from __future__ import annotations

import ast
import csv
import io
from pathlib import Path

import numpy as np
import pytest
import vivim
from hypothesis import given
from hypothesis import strategies as st
from vivim import Session
from vivim.batch.jobs import Outcome
from vivim.batch.summary import write_summary
from vivim.io.export import export
from vivim.utils.csv_writer import CsvWriter, cell

FORMULAS = ["=1+1", "+cmd", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "=", "-", "＝1+1", "-1;=2"]


@pytest.mark.parametrize("text", FORMULAS)
def test_what_a_spreadsheet_would_work_out_is_quoted(text: str) -> None:
    assert cell(text) == f"'{text}"


@pytest.mark.parametrize(
    "value",
    [-1, -0.5, 1e-9, np.float32(-2.5), True, None, "-3.25", "+7", "-1e-05", "-inf", "scan", "", "a=b"],
)
def test_numbers_and_plain_texts_stay(value: object) -> None:
    assert cell(value) is value


@given(st.lists(st.one_of(st.text(), st.integers(), st.floats(allow_nan=False)), min_size=1))
def test_every_table_reads_back(row: list) -> None:
    file = io.StringIO(newline="")
    CsvWriter(file).writerow(row)
    (found,) = csv.reader(io.StringIO(file.getvalue(), newline=""))
    assert [text.removeprefix("'") for text in found] == [str(value).removeprefix("'") for value in row]
    assert [float(text) for text, value in zip(found, row, strict=True) if not isinstance(value, str)] == [
        float(value) for value in row if not isinstance(value, str)
    ]


def test_names_of_classes_and_videos_are_quoted_in_the_tables(session: Session, tmp_path: Path) -> None:
    session.take_classes(("=HYPERLINK(1)", "tool"))
    session.correct(0, np.ones(session.shape[1:], np.uint8))
    list(export(session, tmp_path / "out", ("csv",)))
    (table,) = (tmp_path / "out").rglob("measurements.csv")
    with table.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["class_name"] == "'=HYPERLINK(1)" and float(rows[0]["area_px"]) > 0

    failed = Outcome(stem="@scan", status="failed", reason="=1+1")
    with write_summary([failed], tmp_path).open(newline="", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert (row["video"], row["reason"]) == ("'@scan", "'=1+1")


def test_all_tables_are_written_by_the_one_writer() -> None:
    packages = [Path(vivim.__file__).parent, Path(vivim.__file__).parents[2] / "napari_vivim"]
    writers = [
        path.name
        for package in packages
        for path in package.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Attribute)
        and node.attr in ("writer", "DictWriter")
        and isinstance(node.value, ast.Name)
        and node.value.id == "csv"
    ]
    assert writers == ["csv_writer.py"]
