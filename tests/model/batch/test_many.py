"""`vivim segment` and `vivim export` of many videos: what is skipped, what is done again, and what people see."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vivim import Session, cli
from vivim.batch.jobs import DONE, FAILED, SKIPPED, Exporting, Job, Outcome, Working
from vivim.batch.run import run
from vivim.batch.scheduler import _outcome
from vivim.cli.batch_progress import Board, Tally


def call(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict, str]:
    capsys.readouterr()
    code = cli.main([*map(str, words), "--json"])
    out, err = capsys.readouterr()
    return code, json.loads(out), err  # nothing else is on stdout


def statuses(result: dict) -> list[str]:
    return [video["status"] for video in result["videos"]]


@pytest.fixture
def done(study, tmp_path: Path) -> Path:
    """An output folder in which all is done, as far from the videos as the first."""
    return Path(shutil.copytree(study.plain, study.plain.with_name(tmp_path.name)))


def test_a_study_resumes_only_what_is_missing_or_has_changed_is_done(study, done: Path, capsys) -> None:
    words = ["segment", study.videos, "-o", done, "--model", study.options.model, "--device", "cpu"]
    words += ["--clip-length", 4]
    code, result, _ = call(capsys, *words)
    assert code == 0 and statuses(result) == [SKIPPED] * 4
    assert [video["frames"] for video in result["videos"]] == list(study.frames)
    with Session.open(done / "scan0" / "session.vivim") as session:
        session.correct(1, np.ones((64, 64), np.uint8))
    shutil.rmtree(done / "scan2" / "masks")
    code, result, _ = call(capsys, *words)
    assert code == 0 and statuses(result) == [DONE, SKIPPED, DONE, SKIPPED]
    assert statuses(call(capsys, *words, "--min-area", 5)[1]) == [DONE] * 4
    assert (done / "summary.csv").read_text().count("\n") == 5


def test_another_video_of_the_same_name_is_not_taken_for_done(
    study, done: Path, tmp_path: Path, capsys
) -> None:
    videos = tmp_path / "videos"
    shutil.copytree(study.videos, videos)
    shutil.copyfile(videos / "scan1.mp4", videos / "scan0.mp4")
    (videos / "scan3.mp4").write_bytes(b"damaged")
    words = ["segment", videos, "-o", done, "--model", study.options.model, "--clip-length", 4]
    code, result, err = call(capsys, *words)
    assert code == 1 and "scan3.mp4" in result["error"]
    assert statuses(result) == [DONE] + [SKIPPED] * 2
    assert [Path(video["video"]).name for video in result["failed"]] == ["scan3.mp4"]
    assert "kept in" in result["videos"][0]["note"] and result["videos"][0]["note"] in err
    assert (done / "scan0" / "put-aside-1" / "session.vivim").is_dir() and "scan3.mp4: " in err
    assert statuses(call(capsys, *words)[1]) == [SKIPPED] * 3


def test_sessions_are_exported_into_a_folder_each(study, done: Path, tmp_path: Path, capsys) -> None:
    words = ["export", done, "-o", tmp_path / "csv", "--format", "csv,tiff"]
    code, result, _ = call(capsys, *words)
    assert code == 0 and statuses(result) == [DONE] * 4
    assert sorted(path.name for path in (tmp_path / "csv").iterdir() if path.is_dir()) == [
        f"scan{i}" for i in range(4)
    ]
    assert (tmp_path / "csv" / "scan3" / "measurements.csv").is_file()
    with Session.open(done / "scan3" / "session.vivim") as session:
        session.accept(0)
    with Session.open(done / "scan2" / "session.vivim") as session:
        session.set_area((8, 8, 48, 48))
    assert statuses(call(capsys, *words)[1]) == [SKIPPED] * 2 + [DONE] * 2


def test_what_is_corrected_while_it_is_exported_is_exported_by_the_next_run(study, done: Path) -> None:
    folder = done / "scan0" / "session.vivim"
    job = Job(str(folder), "scan0", str(done / "exported"), Exporting(("png",)))

    def again() -> str:
        return next(event.status for event in run([job]) if isinstance(event, Outcome))

    events = run([job])
    written = next(event for event in events if isinstance(event, Working) and event.done >= 3)
    assert written.stage == "writing png"
    with Session.open(folder) as session:
        session.correct(0, np.ones(session.shape[1:], np.uint8))
    assert [event.status for event in events if isinstance(event, Outcome)] == [DONE]
    first = done / "exported" / "scan0" / "masks" / "000000.png"
    assert not (np.asarray(Image.open(first)) == 255).all()
    assert (again(), again()) == (DONE, SKIPPED)
    assert (np.asarray(Image.open(first)) == 255).all()


def test_a_cluster_is_named_rightly(capsys) -> None:
    with pytest.raises(SystemExit):
        cli.main(["segment", "a.mp4", "-o", "out", "--cluster", "nearby"])
    assert "neither local, local:N nor an address" in capsys.readouterr().err


def test_a_worker_gets_whole_paths(monkeypatch, tmp_path: Path, capsys) -> None:
    """It may have been started in another folder."""
    from vivim.cli import batch_commands

    given = []
    monkeypatch.setattr(
        batch_commands,
        "_on_workers",
        lambda jobs, *_: given.extend(jobs) or {job.stem: Outcome(job.stem, DONE) for job in jobs},
    )
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.vivim").mkdir()
    assert call(capsys, "export", "a.vivim", "-o", "out", "--cluster", "tcp://host:1")[0] == 0
    assert [(job.path, job.out) for job in given] == [(str(tmp_path / "a.vivim"), str(tmp_path / "out"))]


def test_the_time_that_is_left() -> None:
    now = [0.0]
    tally = Tally(10, lambda: now[0])
    assert tally.seconds_left() is None and tally.line() == "0/10 videos"
    tally(Outcome("a", SKIPPED))
    tally(Outcome("b", FAILED))
    tally(Working("c", "proposing", 5, 10, worker="1"))
    now[0] = 15.0
    assert tally.seconds_left() == pytest.approx(15 / 1.5 * 7.5)
    assert tally.line() == "2/10 videos, 1 done before, 1 failed, 1:15 left"
    now[0] = 100.0
    assert tally.workers() == []


def test_a_log_gets_failures_and_the_end_a_terminal_a_line_a_worker() -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for stream in (io.StringIO(), Terminal()):
        with Board(2, stream) as board:
            board(Working("a", "proposing", 5, 10, worker="gpu-1"))
            board(Outcome("b", FAILED, reason="it is [empty]"))
            if stream.isatty():
                board._live.refresh()
        said = stream.getvalue()
        assert "b: it is [empty]" in said and "1/2 videos, 1 failed" in said
        assert ("worker gpu-1" in said) == stream.isatty()


def test_a_video_that_killed_its_workers_is_reported() -> None:
    distributed = pytest.importorskip("distributed")

    class Gone:
        status = "error"

        def exception(self) -> Exception:
            return distributed.KilledWorker("segment-0", None, 2)

    class Client:
        status = "running"

    class OneJob:
        stem = "a"

    outcome = _outcome(Gone(), OneJob(), Client())
    assert (outcome.stem, outcome.status) == ("a", FAILED) and outcome.reason.startswith(
        "3 workers died over it"
    )
