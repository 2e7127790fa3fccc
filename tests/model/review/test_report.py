"""The report says what the ledger records, holds nothing of the patient, and asks for nothing from a network."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from phantom_readers import drawn_by, open_reader, write_dicom
from vivim import Session, VivimError, cli
from vivim.review.effort import effort
from vivim.review.report import study_report
from vivim.session.ledger import LEDGER


def line(frame: int, second: int, kind: str = "person", status: str = "corrected") -> str:
    time = f"2026-01-01T10:{second // 60:02d}:{second % 60:02d}Z"
    return json.dumps({"frame": frame, "status": status, "author": "a", "kind": kind, "time": time})


def test_effort_is_the_time_between_edits_without_breaks(truth: np.ndarray, tmp_path: Path) -> None:
    with open_reader(tmp_path / "scan.nii.gz", "a") as session:
        folder = session.folder
    lines = [
        line(0, 0),
        line(0, 20),
        line(3, 50),
        line(2, 60, "model", "proposed"),
        line(3, 1000),
        line(5, 1119),
    ]
    (folder / LEDGER).write_text("\n".join(lines) + "\n")
    with Session.open(folder, read_only=True) as session:
        found = {t: (one.edits, one.seconds) for t, one in effort(session, 120).items()}
        assert found == {0: (2, 20.0), 3: (2, 30.0), 5: (1, 119.0)}
        assert effort(session, 60)[5].seconds == 0.0


def test_the_report_adds_up(readers: dict[str, Session], truth: np.ndarray, tmp_path: Path) -> None:
    readers["a"].tag(4, "ignore")
    readers["a"].comment("Is this one lesion?", 3)
    found = study_report(tmp_path).as_dict()
    row = next(row for row in found["readers"] if row["reader"] == "a")
    assert (row["clips"], row["corrected"], row["proposed"], row["ignored"]) == (1, len(truth) - 1, 1, 1)
    assert row["edited_frames"] == row["edits"] == len(truth) - 1
    session = found["sessions"][0]
    assert session["open_comments"] == 1 and session["state"] == "draft"
    assert session["clip"] == "scan.nii" and sum(session["frames"].values()) == len(truth)
    masks = {name: list(drawn) for name, drawn in drawn_by(truth).items()}
    scores = []
    for t in range(len(truth) - 1):
        counting = [name for name in masks if (name, t) != ("a", 4)]
        together = sum(masks[name][t] for name in counting) * 2 > len(counting)
        size = masks["b"][t].sum() + together.sum()
        if size:
            scores.append(2 * np.count_nonzero(masks["b"][t] & together) / size)
    row = next(row for row in found["readers"] if row["reader"] == "b")
    assert row["consensus_dice"] == pytest.approx(np.mean(scores), abs=1e-4)
    assert found["agreement"]["overall"]["frames"] == len(truth) - 2
    assert len(found["areas"]) == 3 and found["areas"][0]["unit"] == "mm2"
    json.dumps(found, allow_nan=False)


class Page(HTMLParser):
    """Which elements a page has, and every address in it."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [
            value or "" for name, value in attrs if name.split(":")[-1] in ("href", "src", "data")
        ]


def test_the_page_stands_by_itself(
    readers: dict[str, Session], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("matplotlib")
    page = tmp_path / "report.html"
    assert cli.main(["report", str(tmp_path), "-o", str(page)]) == 0
    text = page.read_text("utf-8")
    found = Page(text)
    assert found.tags.count("table") == 5
    assert found.tags.count("svg") == 5, "progress, three pairs of readers, effort"
    assert not {"script", "link", "iframe"} & set(found.tags)
    assert all(address.startswith(("#", "data:")) for address in found.addresses)
    assert "default-src 'none'" in text and "@import" not in text
    assert str(tmp_path) not in text and ".gz" not in text and "scan" in text
    assert cli.main(["report", str(tmp_path), "-o", str(page)]) == 0
    assert page.read_text("utf-8") == text, "the same study, the same page"


def test_videos_can_be_numbered(
    readers: dict[str, Session], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["report", str(tmp_path), "--number-videos", "--json"]) == 0
    out = capsys.readouterr().out
    assert "scan" not in out and {one["clip"] for one in json.loads(out)["sessions"]} == {"video 1"}


def test_a_report_says_nothing_of_the_patient(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A DICOM's header names the patient, and so does the folder it lies in."""
    pytest.importorskip("matplotlib")
    folder = tmp_path / "study" / "Doe Jane"
    folder.mkdir(parents=True)
    frames = np.random.default_rng(0).integers(0, 255, (3, 32, 40), np.uint8)
    write_dicom(folder / "cine.dcm", frames, "Doe^Jane", "PID-4711")
    for name in "ab":
        with open_reader(folder / "cine.dcm", name) as session:
            for t in range(len(session)):
                session.correct(t, np.full(session.shape[1:], t % 2, np.uint8))
    page = tmp_path / "report.html"
    assert cli.main(["report", str(tmp_path / "study"), "-o", str(page), "--json"]) == 0
    text = capsys.readouterr().out + page.read_text("utf-8")
    assert "cine" in text and not re.search("Doe|Jane|4711", text)


def test_without_matplotlib_the_page_names_the_extra(
    readers: dict[str, Session], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from vivim.review.report_html import as_html

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(VivimError, match=r"napari-vivim\[review\]"):
        as_html(study_report(tmp_path))
