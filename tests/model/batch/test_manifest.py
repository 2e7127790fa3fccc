"""The manifest: whole lines, the last one counts, and nobody's name in it."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
from vivim.batch.jobs import DONE, FAILED, Exporting, Job, Outcome
from vivim.batch.manifest import Manifest, nameless, outcome_of, record_of
from vivim.batch.summary import COLUMNS, write_summary
from vivim.errors import BatchError


def job(out: Path, path: str = "study/a.mp4") -> Job:
    return Job(path, "p1/a", str(out), Exporting(("png",), frames=(1, None)))


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    manifest, outcome = (
        Manifest(tmp_path),
        Outcome("p1/a", DONE, "abc", "def", 12, 3.5, files={"png": "p1/a/masks"}),
    )
    assert manifest.read() == {}
    manifest.append(record_of(job(tmp_path), Outcome("p1/a", FAILED, reason="no")))
    manifest.append(record_of(job(tmp_path), outcome))
    record = manifest.read()["export", "p1/a"]
    assert record["options"] == job(tmp_path).options.decisive()
    assert outcome_of(record, DONE) == outcome


def test_a_line_cut_short_is_passed_over_and_the_next_one_stands_alone(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    whole = record_of(job(tmp_path), Outcome("p1/a", DONE, "abc"))
    manifest.append(whole)
    size = manifest.path.stat().st_size
    for length in range(1, size, 7):
        with manifest.path.open("r+b") as file:
            file.truncate(size)
        with manifest.path.open("ab") as file:
            file.write(json.dumps({**whole, "stem": "half"}).encode()[:length])
        assert set(manifest.read()) == {("export", "p1/a")}
        manifest.append({**whole, "stem": "next"})
        assert set(manifest.read()) == {("export", "p1/a"), ("export", "next")}


def test_a_newer_manifest_is_left_alone(tmp_path: Path) -> None:
    manifest = Manifest(tmp_path)
    manifest.append({**record_of(job(tmp_path), Outcome("a", DONE)), "schema": 99})
    with pytest.raises(BatchError, match="newer version"):
        manifest.read()


def test_reasons_name_no_place(tmp_path: Path) -> None:
    video = tmp_path / "Doe^Jane 1970" / "a.mp4"
    reason = f"{video} cannot be read. {video.name} is empty; look into {video.parent}. No space in {tmp_path}/out/p1."
    said = nameless(reason, job(tmp_path / "out", str(video)))
    assert said == "p1/a cannot be read. p1/a is empty; look into .... No space in .../p1."


def test_the_table(tmp_path: Path) -> None:
    good = Outcome("a", DONE, frames=30, seconds=2.0, lesion_frames=10, mean_area_px=5.5, largest_area_px=9)
    with write_summary([good, Outcome("b", FAILED, reason="it, is empty")], tmp_path).open(
        newline=""
    ) as file:
        rows = list(csv.reader(file))
    assert rows[0] == list(COLUMNS)
    assert rows[1] == ["a", "done", "30", "2.0", "15.0", "10", "5.5", "9", "", ""]
    assert rows[2] == ["b", "failed", *[""] * 7, "it, is empty"]
    assert [path.name for path in tmp_path.iterdir()] == ["summary.csv"]
