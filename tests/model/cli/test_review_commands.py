"""``vivim agree``, ``report`` and ``release`` as people and scripts meet them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from vivim import Session, cli


@pytest.fixture
def study(sample, tmp_path: Path) -> Path:
    """A study with one video of two readers, and one video of a single reader."""
    folder = tmp_path / "study"
    for name, readers in (("one", "ab"), ("two", "a")):
        shutil.copytree(sample.video, folder / name)
        for k, reader in enumerate(readers):
            with Session.open(folder / name, reader=reader) as session:
                for t in range(4):
                    session.correct(t, np.roll(sample.masks[t], k, axis=0))
    return folder


def test_a_table_is_for_people_and_json_alone_for_programs(
    study: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["agree", str(study), "--readers", "a,b"]) == 0
    out, err = capsys.readouterr()
    assert "Dice" in out and "a, b" in out and "two: passed over" in err
    assert cli.main(["agree", str(study), "--readers", "a,b", "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert out.count("\n") == 1 and found["passed_over"] == ["two"]
    assert found["overall"]["frames"] == 4 and len(found["clips"][0]["frames"]) == 4


def test_a_video_alone_is_compared(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["agree", str(study / "one"), "--readers", "a,b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["clips"][0]["clip"] == "one"


def test_the_consensus_is_proposed_to_a_new_reader(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["agree", str(study), "--readers", "a,b", "--consensus", "senior", "--method", "majority"]
    assert cli.main(words) == 0
    assert "look first at" in capsys.readouterr().out
    with Session.open(study / "one", reader="senior", read_only=True) as senior:
        assert senior.frames_with("proposed") == [0, 1, 2, 3] and not senior.vouched_frames()
    assert cli.main(["agree", str(study), "--readers", "a,b", "--consensus", "a"]) == 1
    assert "one of the readers" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["agree", "STUDY", "--readers", "a"], "two of the readers"),
        (["agree", "STUDY", "--readers", "a,b,nobody"], "no session of reader nobody"),
        (["report", "STUDY", "--readers", "nobody"], "Readers are"),
        (["agree", "STUDY/two"], "two of the readers"),
        (["report", "STUDY", "-o", "report.pdf"], "report.html"),
        (["release", "STUDY", "-o", "OUT"], "Approve one"),
        (["release", "-o", "OUT"], "Name the folder"),
        (["release", "STUDY", "-o", "OUT", "--patients", "STUDY/absent.csv"], "absent.csv"),
        (["release", "-o", "STUDY", "--check"], "cannot be checked"),
    ],
)
def test_what_is_wrong_is_one_line(
    study: Path, tmp_path: Path, words: list[str], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [word.replace("STUDY", str(study)).replace("OUT", str(tmp_path / "out")) for word in words]
    assert cli.main(given) == 1
    err = capsys.readouterr().err
    assert says in err and err.splitlines()[-1].startswith("vivim: ")
    assert not (tmp_path / "out").exists()


def test_a_report_of_one_session_is_of_that_reader(study: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Session.open(study / "one", reader="b", read_only=True) as session:
        folder = session.folder
    assert cli.main(["report", str(folder), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["reader"] for row in found["readers"]] == ["b"] and found["agreement"] is None
    assert cli.main(["report", str(study)]) == 0
    out = capsys.readouterr().out
    assert all(title in out for title in ("Progress", "Effort", "Videos", "Agreement"))
