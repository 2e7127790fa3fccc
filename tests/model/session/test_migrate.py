"""Sessions that earlier versions wrote are brought up to date, never at the price of what was there."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from vivim import Session
from vivim.errors import SessionError
from vivim.session.migrations import SCHEMA, back_up, upgraded


@pytest.fixture
def old(sample) -> Path:
    """A session folder as schema 1 had it."""
    with Session.open(sample.video, author="ann") as session:
        session.correct(3, sample.masks[3])
        session.propose(4, sample.masks[4], "v1", uncertainty=0.25)
        session.propose(5, sample.masks[5], "v1")
        session.accept(5)
    description = json.loads((session.folder / "session.json").read_text())
    kept = ("video", "identity", "shape", "fps", "pixel_spacing_mm", "classes", "created")
    (session.folder / "session.json").write_text(
        json.dumps({"schema": 1, **{k: description[k] for k in kept}})
    )
    lines = [json.loads(line) for line in (session.folder / "ledger.jsonl").read_text().splitlines()]
    for line in lines:
        del line["mask"]
    (session.folder / "ledger.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return session.folder


def check(session: Session, sample) -> None:
    assert [session.status(t) for t in range(3, 7)] == ["corrected", "proposed", "accepted", "empty"]
    for t in (3, 4, 5):
        np.testing.assert_array_equal(session.masks[t], sample.masks[t])
    assert session.uncertainty[4] == 0.25 and np.isnan(session.disagreement[4])
    assert session.verify() == []


def test_an_old_session_is_migrated_and_its_files_are_kept(old: Path, sample) -> None:
    before = {name: (old / name).read_bytes() for name in ("session.json", "ledger.jsonl")}
    with Session.open(sample.video, author="ann") as session:
        check(session, sample)
        session.correct(6, sample.masks[6])
    backup = old / "backup-schema-1"
    assert {path.name: path.read_bytes() for path in backup.iterdir()} == before
    stored = json.loads((old / "session.json").read_text())
    assert stored["schema"] == SCHEMA == 5 and stored["size_bytes"] > 0 and stored["earlier"] == []
    with Session.open(old) as again:
        check(again, sample) if again.status(6) == "empty" else None
        assert again.status(6) == "corrected"
    assert {path.name: path.read_bytes() for path in backup.iterdir()} == before


def test_a_backup_is_the_old_session(old: Path, sample) -> None:
    Session.open(old).close()
    for name in ("session.json", "ledger.jsonl"):
        shutil.copy(old / "backup-schema-1" / name, old / name)
    with Session.open(old) as session:
        check(session, sample)


def test_reading_migrates_nothing(old: Path, sample) -> None:
    before = (old / "session.json").read_bytes()
    with Session.open(old, read_only=True) as session:
        check(session, sample)
    assert (old / "session.json").read_bytes() == before and not (old / "backup-schema-1").exists()


def test_without_a_backup_nothing_is_migrated(old: Path, sample, monkeypatch) -> None:
    before = (old / "session.json").read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(shutil, "copy2", full)
        with pytest.raises(SessionError, match=r"backup cannot be written: No space left .* Free some space"):
            Session.open(old)
    assert (old / "session.json").read_bytes() == before
    assert not [path for path in old.iterdir() if "backup" in path.name]
    with Session.open(old) as session:
        check(session, sample)


def test_a_crash_between_backup_and_migration_keeps_the_first_backup(old: Path, sample) -> None:
    back_up(old, 1, ("session.json", "ledger.jsonl"))
    (old / ".backup-schema-1.part").mkdir()
    with Session.open(old) as session:
        check(session, sample)
    assert json.loads((old / "backup-schema-1" / "session.json").read_text())["schema"] == 1


@pytest.mark.parametrize("schema", [0, -1, None, "1", True, 1.5, [1]])
def test_a_schema_that_never_was_is_damage(old: Path, schema) -> None:
    values = {**json.loads((old / "session.json").read_text()), "schema": schema}
    (old / "session.json").write_text(json.dumps(values))
    with pytest.raises(SessionError, match="damaged"):
        Session.open(old)


def test_upgrading_knows_every_older_schema() -> None:
    for schema in range(1, SCHEMA):
        assert upgraded({"schema": schema})["schema"] == SCHEMA
