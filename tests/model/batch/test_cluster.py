"""Workers make what one process makes, to the byte, also when they are killed, stopped, or share a long video."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import vivim
from vivim import cli
from vivim.batch.dask_cluster import Newcomers, connected, is_cluster, worker_command
from vivim.batch.inputs import find
from vivim.batch.jobs import WAITING, Exporting, Job, Outcome, Working
from vivim.batch.run import run
from vivim.batch.scheduler import PER_WORKER, run_on
from vivim.cli.batch_progress import Tally
from vivim.errors import BatchError
from vivim.io.export import FORMATS
from vivim.session import Session
from vivim.utils.atomic_files import own_name
from vivim.utils.system import ONE_HEAP
from vivim.video import make_phantom, write_video

pytest.importorskip("distributed")


@pytest.fixture(scope="module")
def here() -> Iterator[str]:
    """The address of a scheduler with two workers, all in this process: there at once."""
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address


def test_files_of_dask_go_with_the_workers_also_after_a_kill(tmp_path: Path, monkeypatch) -> None:
    folders = []

    def no_workers(count: int | None, device: str, *, folder: str) -> nullcontext[None]:
        folders.append(Path(folder))
        (Path(folder) / "dask-scratch-space").mkdir()
        return nullcontext()

    monkeypatch.setattr("vivim.batch.dask_cluster.local_cluster", no_workers)
    monkeypatch.setattr("distributed.Client", nullcontext)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    left = tmp_path / own_name("vivim-dask", "left").replace(f"-{os.getpid()}-", f"-{dead.pid}-")
    (left / "dask-scratch-space").mkdir(parents=True)
    with connected("local", "cpu"):
        assert list(tmp_path.iterdir()) == folders and not left.exists()
    assert list(tmp_path.iterdir()) == []


def test_a_replaced_video_is_done_again_by_workers_also_in_ranges(study, here: str, tmp_path: Path) -> None:
    video = Path(shutil.copytree(study.videos, tmp_path / "videos")) / "scan0.mp4"
    out = tmp_path / "out"
    jobs = [replace(study.jobs(out, split=4)[0], path=str(video))]
    assert [study.outcomes(jobs, here)["scan0"].status for _ in range(2)] == ["done", "skipped"]
    with Session.open(out / "scan0" / "session.vivim") as session:
        session.correct(2, session.masks[3])
    shutil.copyfile(study.videos / "scan3.mp4", video)
    again = study.outcomes(jobs, here)["scan0"]
    assert (again.status, again.frames) == ("done", study.frames[3]) and "put-aside-1" in again.note
    written = {Path(name).name: mask for name, mask in study.pictures(out).items() if "put-aside" not in name}
    wanted = {Path(name).name: mask for name, mask in study.pictures(study.plain).items() if "scan3" in name}
    assert written == wanted != {}
    with Session.open(out / "scan0/put-aside-1/session.vivim", read_only=True) as session:
        assert session.frames_with("corrected") == [2]
    assert study.outcomes(jobs, here)["scan0"].status == "skipped"


@pytest.mark.parametrize("windows", ["every", "overlap", "centre"])
def test_ranges_of_a_long_video_are_as_the_whole(study, tmp_path: Path, windows: str) -> None:
    for place, split in (("whole", None), ("cut", 3)):
        jobs = study.jobs(tmp_path / place, windows=windows, clip_length=3, split=split)
        assert study.outcomes(jobs[:1])["scan0"].frames == study.frames[0]
    assert study.pictures(tmp_path / "cut") == study.pictures(tmp_path / "whole") != {}
    assert {path.name for path in (tmp_path / "cut" / "scan0").iterdir()} == {"masks", "session.vivim"}
    with (
        Session.open(tmp_path / "cut/scan0/session.vivim", read_only=True) as cut,
        Session.open(tmp_path / "whole/scan0/session.vivim", read_only=True) as whole,
    ):
        assert cut.verify() == []
        np.testing.assert_allclose(cut.uncertainty, whole.uncertainty, atol=1e-6)
        np.testing.assert_allclose(cut.disagreement, whole.disagreement, atol=1e-6)
        assert (whole.disagreement.max() > 0) == (windows == "overlap")


def test_a_cut_video_keeps_the_area_it_was_segmented_in(study, tmp_path: Path) -> None:
    area = (8, 4, 56, 60)
    for place, split in (("whole", None), ("cut", 3)):
        jobs = study.jobs(tmp_path / place, area=area, clip_length=3, split=split)
        assert study.outcomes(jobs[:1])["scan0"].status == "done"
        with Session.open(tmp_path / place / "scan0/session.vivim", read_only=True) as session:
            assert session.area == area
    assert study.pictures(tmp_path / "cut") == study.pictures(tmp_path / "whole") != {}


def test_a_video_that_a_person_corrected_is_never_cut(study, here: str, tmp_path: Path) -> None:
    jobs = study.jobs(tmp_path, split=8)
    assert study.outcomes(jobs)["scan1"].status == "done"
    with Session.open(tmp_path / "scan1" / "session.vivim") as session:
        session.correct(3, session.masks[5])
        drawn = session.masks[3].tolist()
    ended = study.outcomes(jobs, here)
    assert {stem: ended[stem].status for stem in ("scan0", "scan1")} == {"scan0": "skipped", "scan1": "done"}
    with Session.open(tmp_path / "scan1" / "session.vivim") as session:
        assert session.status(3) == "corrected" and session.masks[3].tolist() == drawn


def test_a_video_that_fails_is_told_and_the_others_are_done(study, here: str, tmp_path: Path) -> None:
    jobs = study.jobs(tmp_path, split=8)
    jobs[1:1] = [replace(jobs[0], path=str(tmp_path / "absent.mp4"), stem="absent")]
    ended = study.outcomes(jobs, here)
    assert ended["absent"].status == "failed" and "no file or folder" in ended["absent"].reason
    assert study.pictures(tmp_path) == study.pictures(study.plain)
    assert str(tmp_path) not in (tmp_path / "manifest.jsonl").read_text()
    assert "failed" in (tmp_path / "summary.csv").read_text()
    other = study.outcomes(study.jobs(tmp_path, version="another"), here)
    assert all("is of version" in outcome.reason for outcome in other.values())


def test_stopping_leaves_what_the_next_run_can_go_on_with(study, here: str, tmp_path: Path) -> None:
    with closing(run(study.jobs(tmp_path), here)) as events:
        next(event for event in events if isinstance(event, Outcome))
    before = study.outcomes(study.jobs(tmp_path), here)
    assert sum(outcome.status == "skipped" for outcome in before.values()) >= 1
    assert {outcome.status for outcome in before.values()} <= {"skipped", "done"}
    assert study.pictures(tmp_path) == study.pictures(study.plain)


def test_jobs_are_taken_up_only_as_fast_as_they_are_done(here: str, study, tmp_path: Path) -> None:
    job, given, most = study.jobs(tmp_path)[0], 0, 0

    def jobs() -> Iterator[Job]:
        nonlocal given
        for number in range(60):
            given += 1
            yield replace(job, stem=f"video{number}")

    with connected(here, "cpu") as client:
        for ended, outcome in enumerate(run_on(client, jobs(), work=nothing)):
            assert outcome.stem.startswith("video")
            most = max(most, given - ended)
        assert ended == 59 and most <= 2 * PER_WORKER + 2
        assert len(client.futures) <= 2


def test_a_job_that_nobody_waits_for_ends_at_its_next_frame(
    here: str, study, tmp_path: Path, monkeypatch
) -> None:
    ended = threading.Event()

    def endless(job: Job) -> Iterator[Working]:
        try:
            while not ended.wait(0.01):
                yield Working(job.stem, "proposing", 1, 2)
        finally:
            ended.set()

    monkeypatch.setattr("vivim.batch.dask_worker.do", endless)
    with connected(here, "cpu") as client:
        with closing(run_on(client, study.jobs(tmp_path)[:1])) as events:
            assert next(events).stem == "scan0" and not ended.is_set()
        assert ended.wait(60)


def nothing(job: Job, topic: str) -> Outcome:
    return Outcome(job.stem, "done")


def files(out: Path) -> dict[str, bytes]:
    """Every file of every video, by its place."""
    found = (path for path in sorted(out.rglob("*/*")) if path.is_file())
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in found}


def test_exports_of_workers_are_those_of_one_process_to_the_byte(study, here: str, tmp_path: Path) -> None:
    # of DICOM files, and of corrected frames
    formats = tuple(sorted({*FORMATS} - {"dicom-seg", "dataset"}))
    options = Exporting(formats, fill_holes=True)
    found = find([study.plain], tmp_path, sessions=True)[:2]
    for place, cluster in (("one", None), ("workers", here)):
        jobs = [Job(str(one.path), one.stem, str(tmp_path / place), options) for one in found]
        assert [one.reason for one in study.outcomes(jobs, cluster).values()] == ["", ""]
    assert files(tmp_path / "workers") == files(tmp_path / "one")
    assert len({name.split("/")[1] for name in files(tmp_path / "one")}) == len(formats)


def test_a_folder_of_sessions_is_exported_by_workers_from_the_command_line(
    study, here: str, tmp_path: Path, capsys
) -> None:
    def exported(place: str, *more: str) -> dict[str, object]:
        words = ["export", study.plain, "-o", tmp_path / place, "--format", "tiff,csv", "--json", *more]
        assert cli.main([*map(str, words)]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    exported("one")
    first, again = (exported("workers", "--cluster", here)["videos"] for _ in range(2))
    assert files(tmp_path / "workers") == files(tmp_path / "one") != {}
    assert [video["status"] for video in first] == ["done"] * len(study.frames)
    assert [video["status"] for video in again] == ["skipped"] * len(study.frames)


def test_videos_of_workers_with_homes_of_their_own_are_found_again(
    study, here: str, tmp_path: Path, monkeypatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("vivim.session.session.remember_place", lambda *_: None)  # on another machine
        outcomes = study.outcomes(study.jobs(tmp_path / "out")[:1], here)
    assert [one.status for one in outcomes.values()] == ["done"]
    with Session.open(tmp_path / "out" / "scan0" / "session.vivim", read_only=True) as session:
        assert session.video.frame(0).any()


def test_the_scheduler_sees_no_pixels(study, here: str, tmp_path: Path, monkeypatch) -> None:
    """All that workers, scheduler and client say to each other, in bytes: as much for large videos as for small."""
    from distributed.comm.tcp import TCP

    said, write = [], TCP.write

    async def counted(comm, message, *given, **named) -> int:
        size = await write(comm, message, *given, **named)
        if "heartbeat" not in repr(message):  # of those there are as many as it takes seconds
            said.append(size)
        return size

    small, height, width = study.jobs(tmp_path / "out")[:2], 256, 320
    large = [replace(job, path=f"{job.stem}.mp4", out=str(tmp_path / "more")) for job in small]
    monkeypatch.chdir(tmp_path)
    for job, frames in zip(large, study.frames, strict=False):
        phantom = make_phantom(frames=frames, size=(height, width))
        write_video(Path(job.path), phantom.frames, phantom.fps)
    monkeypatch.setattr(TCP, "write", counted)
    total = []
    for jobs in (small, large):
        said.clear()
        assert {one.status for one in study.outcomes(jobs, here).values()} == {"done"}
        total.append(sum(said))
    assert max(total) < 2 * min(total) and max(total) < 0.02 * sum(study.frames[:2]) * height * width


def test_a_worker_with_several_threads_holds_one_video_at_a_time(study, tmp_path: Path, monkeypatch) -> None:
    from distributed import LocalCluster

    at_work, most = 0, 0

    def watched(job: Job) -> Iterator[Working]:
        nonlocal at_work, most
        at_work += 1
        most = max(most, at_work)
        yield Working(job.stem, "proposing", 1, 1)
        at_work -= 1
        return Outcome(job.stem, "done")

    monkeypatch.setattr("vivim.batch.dask_worker.do", watched)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=3, processes=False, protocol="tcp", dashboard_address=None
        ) as cluster,
        connected(cluster.scheduler_address, "cpu") as client,
    ):
        assert len([e for e in run_on(client, study.jobs(tmp_path)) if isinstance(e, Outcome)]) == 4
    assert most == 1


def test_the_command_that_starts_a_worker_is_printed(study, here: str, tmp_path: Path, capsys) -> None:
    words = ["segment", study.videos / "scan2.mp4", "-o", tmp_path, "--model", study.options.model]
    assert cli.main([*map(str, words), "--cluster", here]) == 0
    assert f"on its machine: {worker_command(here)}" in capsys.readouterr().err


def test_a_worker_killed_amid_eight_videos_changes_no_mask(study, tmp_path: Path) -> None:
    """A worker in a process of its own, started as on another machine, dies over the fourth."""
    from distributed import LocalCluster

    eight, out = replace(study, videos=tmp_path / "videos"), tmp_path / "out"
    eight.videos.mkdir()
    for i in range(8):
        phantom = make_phantom(frames=4, size=(64, 64), seed=i)
        write_video(eight.videos / f"scan{i:02d}.mp4", phantom.frames, phantom.fps)
    eight.outcomes(eight.jobs(tmp_path / "plain"))
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        words = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0", "--name", "victim"]
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address, *words]
        worker = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        ended: list[str] = []
        try:
            for event in run(eight.jobs(out), cluster.scheduler_address):
                if isinstance(event, Outcome):
                    assert event.status == "done", event.reason
                    ended.append(event.stem)
                elif len(ended) >= 3 and event.stem not in ended and worker.poll() is None:
                    assert event.worker == "victim"
                    worker.kill()
                    worker.wait()
                    cluster.scale(1)
        finally:
            worker.kill()
            worker.wait()
    assert worker.returncode == -signal.SIGKILL and len(set(ended)) == len(ended) == 8
    assert eight.pictures(out) == eight.pictures(tmp_path / "plain")
    assert len(eight.pictures(out)) == 8 * 4


@pytest.mark.parametrize(
    ("who", "found", "told"),
    [
        ("scheduler", ModuleNotFoundError("No module named 'vivim'"), "cannot load napari-vivim (No module"),
        ("scheduler", "0.0.1", "has version 0.0.1: install"),
        ("worker", ModuleNotFoundError("No module named 'vivim'"), "cannot load napari-vivim (No module"),
        ("worker", "0.0.1", "has version 0.0.1: install"),
        ("worker", OSError("it is gone"), None),
    ],
)
def test_who_lacks_this_program_is_named_before_any_work(here: str, monkeypatch, who, found, told) -> None:
    def looked_up(name: str) -> str:
        if isinstance(found, Exception):
            raise found
        return found

    from distributed import Client

    place = {"scheduler": "run_on_scheduler", "worker": "run"}[who]
    asked = getattr(Client, place)
    monkeypatch.setattr(
        Client, place, lambda client, _, *given, **named: asked(client, looked_up, *given, **named)
    )
    expected = nullcontext() if told is None else pytest.raises(BatchError, match=re.escape(told))
    with expected as error, connected(here, "cpu"):
        pass
    assert told is None or str(error.value).startswith(f"The {who} at tcp://")


def test_a_worker_that_comes_later_without_this_program_is_named(
    study, tmp_path: Path, caplog, monkeypatch
) -> None:
    """As on a machine where it is not installed: a process of its own that cannot import it."""
    from distributed import LocalCluster

    monkeypatch.setattr("vivim.batch.scheduler.RECOUNT_SECONDS", 0.05)
    lacking = "import sys; sys.modules['vivim'] = None; from distributed.cli.dask_worker import main; main()"
    words = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--memory-limit", "0"]
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        command, worker = [sys.executable, "-c", lacking, cluster.scheduler_address, *words], None
        ended = []
        try:
            for event in run(study.jobs(tmp_path), cluster.scheduler_address):
                if isinstance(event, Outcome):
                    ended.append(event.status)
                elif isinstance(event, Working) and event.stage == WAITING:
                    if worker is None:
                        worker = subprocess.Popen(command, stderr=subprocess.DEVNULL)
                    elif "worker at" in caplog.text:
                        cluster.scale(1)
        finally:
            if worker is not None:
                worker.kill()
                worker.wait()
    assert ended == ["done"] * 4
    assert "The worker at tcp://" in caplog.text and "install napari-vivim[cluster]" in caplog.text
    assert study.pictures(tmp_path) == study.pictures(study.plain)


def test_a_worker_of_another_version_that_comes_later_is_named_once(caplog) -> None:
    asked = []

    class Answering:
        def run(self, *_, workers, on_error):
            asked.append(workers)
            return {"tcp://b": "0.0.1", "tcp://c": vivim.__version__}

    newcomers = Newcomers(Answering())  # type: ignore[arg-type]
    for address in ("tcp://b", "tcp://c", "tcp://d"):
        newcomers._on_event((0.0, {"action": "add-worker", "worker": address}))
    newcomers._on_event((0.0, {"action": "remove-worker", "worker": "tcp://d", "expected": True}))
    for _ in range(2):
        newcomers.ask(["tcp://a", "tcp://b", "tcp://c"])
    assert asked == [["tcp://b", "tcp://c"]]
    (said,) = caplog.messages
    assert said.startswith("The worker at tcp://b has version 0.0.1: install napari-vivim[cluster]")


def test_a_cluster_without_workers_is_waited_for(study, tmp_path: Path, monkeypatch) -> None:
    from distributed import LocalCluster

    monkeypatch.setattr("vivim.batch.scheduler.RECOUNT_SECONDS", 0.05)
    tally, lines = Tally(1), []
    with LocalCluster(
        n_workers=0, threads_per_worker=1, processes=False, protocol="tcp", dashboard_address=None
    ) as cluster:
        for event in run(study.jobs(tmp_path)[:1], cluster.scheduler_address):
            if isinstance(event, Working | Outcome):
                tally(event)
                lines.append(tally.line())
            if isinstance(event, Working) and event.stage == WAITING:
                cluster.scale(1)
    assert lines[0] == "0/1 videos, waiting for a worker" and lines[-1] == "1/1 videos"


def test_what_a_cluster_is_called() -> None:
    assert all(is_cluster(text) for text in ("local", "local:2", "tcp://host:8786", "tls://host:8786"))
    assert not any(is_cluster(text) for text in ("", "local:0", "local:", "host", "tcp://"))
    command = worker_command("tcp://host:8786")
    assert "dask worker tcp://host:8786" in command and "=".join(ONE_HEAP) in command


def test_a_scheduler_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivim.batch.dask_cluster.CONNECT_SECONDS", 0.2)
    with pytest.raises(BatchError, match="No scheduler answers"), connected("tcp://127.0.0.1:9", "cpu"):
        pass
