"""The manifest: whole lines, the last one counts, and nobody's name in it."""

from __future__ import annotations

import csv
import json
import logging
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
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


WHOLE = {**record_of(job(Path("out")), Outcome("p1/a", DONE, "abc", frames=3)), "stem": "whole"}
VALUES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=3)
    | st.lists(st.integers(), max_size=2)
    | st.dictionaries(st.text(max_size=3), st.integers() | st.lists(st.none(), max_size=2), max_size=2)
)
"""Values of any kind, in place of any value of a line."""
CHANGED = st.builds(
    lambda name, value: json.dumps({**WHOLE, "stem": "changed", name: value}).encode(),
    st.sampled_from(sorted(WHOLE)),
    VALUES,
)
CUT = st.integers(0, len(json.dumps(WHOLE))).map(lambda end: json.dumps(WHOLE).encode()[:end])
OTHERS = VALUES.map(lambda value: json.dumps(value).encode())
BYTES = st.binary(max_size=60) | st.integers(1, 50).map(bytes) | CUT | CHANGED | OTHERS


@settings(max_examples=150, deadline=None)
@given(lines=st.lists(BYTES, max_size=4), ending=st.sampled_from([b"", b"\n", b"\0" * 9]))
def test_any_bytes_are_passed_over(lines: list[bytes], ending: bytes) -> None:
    with tempfile.TemporaryDirectory() as name:
        manifest = Manifest(Path(name))
        manifest.append(WHOLE)
        with manifest.path.open("ab") as file:
            file.write(b"\n".join(lines) + ending)
        manifest.append({**WHOLE, "stem": "next"})
        read = manifest.read()
        assert read["export", "next"]["frames"] == read["export", "whole"]["frames"] == 3
        for record in read.values():
            outcome = outcome_of(record, DONE)
            assert outcome.frames_per_second is None or outcome.frames_per_second >= 0
            json.dumps({**record, "files": sorted(outcome.files.items())}, allow_nan=False)


@pytest.mark.parametrize(
    "line",
    [
        b"\0" * 100,
        b"\xff\xfe{}",
        b"[" * 100_000,
        b"x" * (2**21 + 5),
        json.dumps({**WHOLE, "options": {"a": [[1]]}}).encode(),
        json.dumps({**WHOLE, "schema": 99}).encode(),
        json.dumps({**WHOLE, "files": {"png": 3}}).encode(),
        json.dumps({**WHOLE, "mean_area_px": float("nan")}).encode(),
        json.dumps({**WHOLE, "frames": 10**300}).encode(),
        json.dumps({key: value for key, value in WHOLE.items() if key != "options"}).encode(),
    ],
)
def test_a_damaged_line_is_told_once(tmp_path: Path, caplog: pytest.LogCaptureFixture, line: bytes) -> None:
    manifest = Manifest(tmp_path)
    manifest.append({**WHOLE, "stem": "first"})
    with manifest.path.open("ab") as file:
        file.write(line + b"\n")
    manifest.append({**WHOLE, "stem": "last"})
    with caplog.at_level(logging.WARNING):
        assert set(manifest.read()) == {("export", "first"), ("export", "last")}
    assert len(caplog.messages) == 1 and "1 line is passed over" in caplog.text and "line 2" in caplog.text


def test_what_an_older_version_did_not_say_has_its_default(tmp_path: Path) -> None:
    old: dict[str, Any] = {
        key: value for key, value in WHOLE.items() if key not in ("content", "digests", "note")
    }
    Manifest(tmp_path).append(old)
    record = Manifest(tmp_path).read()["export", "whole"]
    assert (record["content"], record["digests"], record["note"]) == ("", {}, "")


@pytest.mark.parametrize("kind", ["folder", "link"])
def test_a_manifest_that_is_no_file_is_moved_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    manifest = Manifest(tmp_path)
    if kind == "folder":
        (manifest.path / "kept").mkdir(parents=True)
    else:
        manifest.path.symlink_to(tmp_path / "nowhere")
    assert manifest.read() == {} and "moved to manifest.jsonl.damaged-1" in caplog.text
    manifest.append(WHOLE)
    assert set(manifest.read()) == {("export", "whole")}
    assert (tmp_path / "manifest.jsonl.damaged-1" / "kept").is_dir() == (kind == "folder")


def test_a_name_that_is_no_utf8_is_kept(tmp_path: Path) -> None:
    stem = "a\udcff"
    Manifest(tmp_path).append({**WHOLE, "stem": stem})
    assert ("export", stem) in Manifest(tmp_path).read()
    assert "a\\udcff" in write_summary([Outcome(stem, DONE, frames=1)], tmp_path).read_text()


def test_a_full_disk_is_told_with_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("vivim.batch.manifest.os.fsync", full)
    with pytest.raises(BatchError, match=r"No space left on device\. Free some space"):
        Manifest(tmp_path).append(WHOLE)
