"""What has changed since a video was done: the video in its middle, outputs, options; and what is kept of the old."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from vivim import Session
from vivim.batch.content import FOLDER, Content, content_of, files_in
from vivim.batch.inputs import find
from vivim.batch.jobs import DONE, FAILED, SKIPPED, Exporting, Job, Outcome, Segmenting, Working
from vivim.batch.run import run
from vivim.errors import BatchError
from vivim.session.folder_lock import FolderLock

FRAMES, SIZE = 6, (24, 32)


def bright(session: Session, *_: object) -> Iterator[Working]:
    """A model that takes what is bright for a lesion."""
    for t in set(range(len(session))) - set(session.frames_with("corrected", "accepted")):
        session.propose(t, (session.video.frame(t) > 128).astype(np.uint8), "bright")
        yield Working("a", "proposing", t + 1, len(session))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivim.batch.process_video._propose", bright)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    folder = tmp_path / "videos" / "a"
    folder.mkdir(parents=True)
    for t in range(FRAMES):
        draw(folder, t, 4)
    return folder


def draw(video: Path, t: int, left: int) -> None:
    """A picture with a square; uncompressed, so that all are of one size."""
    picture = np.zeros(SIZE, np.uint8)
    picture[4:12, left : left + 8] = 200
    Image.fromarray(picture).save(video / f"{t:02d}.bmp")


def job(video: Path, *formats: str, **options: object) -> Job:
    out = video.parents[1] / "out"
    return Job(str(video), "a", str(out), Segmenting("none", "1", formats=formats or ("png",), **options))


def outcome(job: Job) -> Outcome:
    (ended,) = [event for event in run([job]) if isinstance(event, Outcome)]
    return ended


def masks(folder: Path) -> list[np.ndarray]:
    return [np.asarray(Image.open(path)) for path in sorted((folder / "masks").iterdir())]


def correct(session: Path, t: int) -> None:
    with Session.open(session) as opened:
        opened.correct(t, np.ones(SIZE, np.uint8))


# -- the video ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kept", [False, True])
def test_pictures_replaced_in_the_middle_are_noticed(video: Path, kept: bool) -> None:
    one = job(video)
    assert [outcome(one).status for _ in range(2)] == [DONE, SKIPPED]
    correct(one.folder / "session.vivim", 1)
    assert outcome(one).status == DONE
    old = masks(one.folder)
    for t in (2, 3):
        times = (video / f"{t:02d}.bmp").stat()
        draw(video, t, 20)
        if kept:  # as `cp -p` and `rsync -t` leave them
            os.utime(video / f"{t:02d}.bmp", ns=(times.st_atime_ns, times.st_mtime_ns))
    again = outcome(one)
    assert again.status == DONE and "put-aside-1" in again.note
    assert masks(one.folder)[2][5, 21] and not masks(one.folder)[1].all()
    in_background = one.folder / "put-aside-1"
    assert all(map(np.array_equal, masks(in_background), old))
    with Session.open(in_background / "session.vivim", read_only=True) as session:
        assert session.frames_with("corrected") == [1]
    assert not (in_background / "session.vivim" / "lock.holder").exists()
    assert outcome(one).status == SKIPPED and outcome(one).note == ""
    assert [found.stem for found in find([video.parents[1] / "out"], video, sessions=True)] == ["a"]
    glob = video.parents[1] / "out" / "**" / "session.vivim"
    assert [found.stem for found in find([glob], video, sessions=True)] == ["a"]
    for t in (2, 3):
        draw(video, t, 4)
    back = outcome(one)
    assert back.status == DONE and "taken up again from" in back.note
    assert masks(one.folder)[1].all()
    with Session.open(one.folder / "session.vivim", read_only=True) as session:
        assert session.frames_with("corrected") == [1]


def test_what_a_killed_run_left_is_not_taken_for_the_new_video(video: Path) -> None:
    one = job(video)
    events = run([one])
    next(
        event
        for event in events
        if isinstance(event, Working) and event.stage == "proposing" and event.done == 4
    )
    events.close()
    correct(one.folder / "session.vivim", 0)
    draw(video, 3, 20)
    assert "put-aside-1" in outcome(one).note and not masks(one.folder)[0].all()


def test_another_video_of_the_same_name_is_done(video: Path) -> None:
    one = job(video, "png", "csv")
    outcome(one)
    (video / "05.bmp").unlink()
    again = outcome(job(video))
    assert (again.status, again.frames) == (DONE, 5)
    assert sorted(path.name for path in (one.folder / "put-aside-1").iterdir()) == [
        "masks", "measurements.csv", "session.vivim",
    ]  # fmt: skip
    assert sorted(path.name for path in one.folder.iterdir()) == ["masks", "put-aside-1", "session.vivim"]


def test_a_replaced_video_whose_session_is_open_fails_and_nothing_moves(video: Path) -> None:
    one = job(video)
    outcome(one)
    draw(video, 3, 20)
    with FolderLock(one.folder / "session.vivim"):
        failed = outcome(one)
    assert failed.status == FAILED and "open in another window" in failed.reason
    assert not (one.folder / "put-aside-1").exists() and outcome(one).status == DONE


def test_a_video_that_changes_while_it_is_worked_on_fails(video: Path) -> None:
    one, ended = job(video), []
    for event in run([one]):
        if isinstance(event, Working) and event.stage == "writing png" and event.done == 1:
            draw(video, 3, 20)
        if isinstance(event, Outcome):
            ended.append(event)
    assert [event.status for event in ended] == [FAILED]
    assert "was changed while it was worked on. Run the same command again." in ended[0].reason
    assert outcome(one).status == DONE and masks(one.folder)[3][5, 21]


def test_a_video_that_was_only_touched_is_done(video: Path) -> None:
    one = job(video)
    outcome(one)
    for seconds in (10**9, 2 * 10**9, 10**9 + 5):  # also backwards
        os.utime(video / "03.bmp", (seconds, seconds))
        assert outcome(one).status == SKIPPED
    link = video.with_name("link")
    link.symlink_to(video)
    assert outcome(Job(str(link), "a", one.out, one.options)).status == SKIPPED


def test_a_session_that_is_segmented_itself_is_not_moved(video: Path) -> None:
    session = video.with_name("mine.vivim")
    Session.open(video, folder=session).close()
    one = Job(str(session), "a", job(video).out, job(video).options)
    assert [outcome(one).status for _ in range(2)] == [DONE, SKIPPED]
    draw(video, 3, 20)
    assert outcome(one).status == DONE
    correct(session, 1)
    draw(video, 3, 10)
    failed = outcome(one)
    assert failed.status == FAILED and "name the video instead of the session" in failed.reason
    (video / "05.bmp").unlink()
    failed = outcome(one)
    assert failed.status == FAILED and "vivim segment VIDEO" in failed.reason and session.is_dir()


# -- outputs -----------------------------------------------------------------------------------------------------------


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9])


def zero(path: Path) -> None:
    size = path.stat().st_size
    path.write_bytes(path.read_bytes()[: size // 2] + bytes(size - size // 2))


@pytest.mark.parametrize("damage", [Path.unlink, lambda path: path.write_bytes(b""), cut, zero])
@pytest.mark.parametrize("name", ["masks/000003.png", "measurements.csv"])
@pytest.mark.parametrize("task", ["segment", "export"])
def test_a_damaged_output_is_written_again_and_nothing_else_is(
    video: Path, monkeypatch: pytest.MonkeyPatch, damage, name: str, task: str
) -> None:
    one = job(video, "png", "csv")
    first = outcome(one)
    if task == "export":
        one = Job(str(one.folder / "session.vivim"), "a", one.out + "2", Exporting(("png", "csv")))
        first = outcome(one)
    whole = {path: path.read_bytes() for path in files_in(one.folder) if "session.vivim" not in path.parts}
    times = {path: path.stat().st_mtime_ns for path in whole}
    damage(one.folder / name)
    monkeypatch.setattr("vivim.batch.process_video._propose", None)
    again = outcome(one)
    assert again.status == DONE and again.note == "" and again.files == first.files
    assert (
        (again.lesion_frames, again.mean_area_px)
        == (first.lesion_frames, first.mean_area_px)
        == (FRAMES, 64.0)
    )
    assert {path: path.read_bytes() for path in whole} == whole
    other = one.folder / ("measurements.csv" if "masks" in name else "masks/000003.png")
    assert other.stat().st_mtime_ns == times[other]
    assert not (one.folder / "put-aside-1").exists()
    assert outcome(one).status == SKIPPED


def test_a_mask_of_the_session_that_is_gone_is_told_and_not_proposed_over(video: Path) -> None:
    one = job(video)
    outcome(one)
    session = one.folder / "session.vivim"
    shutil.rmtree(session / "masks.zarr" / "c")
    again = outcome(one)
    assert again.status == FAILED and "frames are damaged" in again.reason and "move" in again.reason
    session.rename(one.folder / "away")
    assert outcome(one).status == DONE
    with Session.open(session, read_only=True) as made:
        assert made.verify() == [] and made.masks[0].any()


def test_an_output_that_a_person_edited_is_kept(video: Path) -> None:
    one = job(video, "png", "csv")
    outcome(one)
    edited = one.folder / "masks" / "000002.png"
    Image.fromarray(np.full(SIZE, 255, np.uint8)).save(edited)
    (one.folder / "masks" / ".DS_Store").write_bytes(b"what a file browser leaves")
    again = outcome(one)
    assert again.status == DONE and "kept in" in again.note and not masks(one.folder)[2].all()
    assert np.asarray(Image.open(one.folder / "put-aside-1" / "masks" / "000002.png")).all()
    assert not (one.folder / "put-aside-1" / "measurements.csv").exists()
    (one.folder / "masks" / "Thumbs.db").write_bytes(b"what a file browser leaves")
    assert outcome(one).status == SKIPPED


def test_what_is_there_without_a_word_in_the_manifest_is_kept(video: Path) -> None:
    one = job(video)
    mine = one.folder / "masks"
    mine.mkdir(parents=True)
    (mine / "drawn.png").write_bytes(b"by hand")
    assert "kept in" in outcome(one).note
    assert (one.folder / "put-aside-1" / "masks" / "drawn.png").read_bytes() == b"by hand"
    (Path(one.out) / "manifest.jsonl").unlink()
    assert outcome(one).note == "" and not (one.folder / "put-aside-2").exists()  # the same was written again


def test_a_format_that_is_asked_for_later_is_all_that_is_written(
    video: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outcome(job(video))
    folder = job(video).folder
    before = (folder / "masks" / "000000.png").stat().st_ino
    monkeypatch.setattr("vivim.batch.process_video._propose", None)
    added = outcome(job(video, "csv"))
    assert added.status == DONE and (folder / "measurements.csv").is_file()
    assert outcome(job(video, "png", "csv")).status == outcome(job(video)).status == SKIPPED
    assert (folder / "masks" / "000000.png").stat().st_ino == before


def test_outputs_are_put_back_where_writing_fails(video: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = job(video)
    outcome(one)
    edited = one.folder / "masks" / "000002.png"
    Image.fromarray(np.full(SIZE, 255, np.uint8)).save(edited)

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("vivim.io.export.flush", full)
        failed = outcome(one)
    assert failed.status == FAILED and "No space left" in failed.reason
    assert np.asarray(Image.open(edited)).all() and not (one.folder / "put-aside-1").exists()


def test_a_table_that_cannot_be_written_is_told(video: Path) -> None:
    one = job(video)
    (Path(one.out) / "summary.csv").mkdir(parents=True)
    with pytest.raises(BatchError, match=r"summary\.csv: .*run the same command again"):
        outcome(one)


# -- export ------------------------------------------------------------------------------------------------------------


def test_an_export_follows_the_video(video: Path) -> None:
    outcome(job(video))
    session = job(video).folder / "session.vivim"
    one = Job(str(session), "a", str(video.parents[1] / "exported"), Exporting(("mp4", "csv")))
    assert [outcome(one).status for _ in range(2)] == [DONE, SKIPPED]
    draw(video, 3, 20)
    assert outcome(one).status == DONE
    shutil.rmtree(video)
    assert outcome(one).status == SKIPPED
    (one.folder / "measurements.csv").unlink()
    failed = outcome(one)
    assert failed.status == FAILED and "no longer" in failed.reason
    assert (one.folder / "overlay.mp4").is_file()


# -- digests -----------------------------------------------------------------------------------------------------------


def content(root: Path) -> tuple[Content, int]:
    """What a file or folder holds, and how many blocks were read for it."""
    reading, blocks = content_of(root, files_in(root)), 0
    while True:
        try:
            next(reading)
            blocks += 1
        except StopIteration as end:
            return end.value, blocks


@pytest.fixture
def large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file of ten blocks that was written a while ago."""
    monkeypatch.setattr("vivim.batch.content.BLOCK", 100)
    monkeypatch.setattr("vivim.batch.content.FRESH_SECONDS", -1.0)
    path = tmp_path / "a.bin"
    path.write_bytes(bytes(1000))
    return path


def test_a_file_is_read_once_until_it_changes(large: Path, vivim_home: Path) -> None:
    first = content(large)
    assert first[1] == 10 and content(large) == (first[0], 0)
    times = large.stat()
    large.write_bytes(large.read_bytes()[:500] + b"x" + large.read_bytes()[501:])
    time.sleep(0.02)  # one tick of the disk's clock
    os.utime(large, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = content(large)
    assert second[1] == 10 and second[0].digest != first[0].digest
    os.utime(large, (1, 1))
    touched = content(large)
    assert touched[1] == 10 and touched[0].digest == second[0].digest and content(large)[1] == 0
    assert all("a.bin" not in path.read_text() for path in (vivim_home / FOLDER).iterdir())


def test_what_was_just_written_is_not_cached(large: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivim.batch.content.FRESH_SECONDS", 1000.0)
    assert [content(large)[1] for _ in range(2)] == [10, 10]


@pytest.mark.parametrize("damage", [b"", b"\0" * 50, b"[1]", b'{"a": 3}', b"[" * 100_000, b"x" * (2**20 + 1)])
def test_a_damaged_cache_costs_one_more_reading(large: Path, vivim_home: Path, damage: bytes) -> None:
    first, _ = content(large)
    (note,) = (vivim_home / FOLDER).iterdir()
    note.write_bytes(damage)
    assert content(large) == (first, 10) and content(large) == (first, 0)


def test_a_cache_that_cannot_be_written_is_done_without(large: Path, vivim_home: Path) -> None:
    (vivim_home / FOLDER).write_bytes(b"in the way")
    assert [content(large)[1] for _ in range(2)] == [10, 10]


def test_the_cache_is_bounded(large: Path, vivim_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivim.batch.content.ENTRIES", 3)
    monkeypatch.setattr("vivim.batch.content._file", lambda key: vivim_home / FOLDER / "00.json")
    for i in range(6):
        content(Path(shutil.copy(large, large.with_name(f"b{i}.bin"))))
    assert len(json.loads((vivim_home / FOLDER / "00.json").read_bytes())) == 3
    assert [content(large.with_name(f"b{i}.bin"))[1] for i in (5, 4, 3)] == [0, 0, 0]
