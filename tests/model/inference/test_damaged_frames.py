"""Proposing, fine-tuning and exporting pass over damaged frames, do the others, and say which they passed over."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tifffile
from vivim import Session, propose
from vivim.api import finetune
from vivim.cli import main
from vivim.errors import ExportError, FinetuneError
from vivim.finetuning.events import PassedOver, from_line, to_line
from vivim.io.export import export


@pytest.fixture
def damaged(session: Session, sample) -> Iterator[Session]:
    """Corrected frames 2, 5 and 8, the others proposed; the masks of 5 and of 6 cannot be read."""
    for t in range(len(session)):
        session.propose(t, sample.masks[t], "v1", uncertainty=0.5)
    for t in (2, 5, 8):
        session.correct(t, sample.masks[t])
    session.close()
    for t in (5, 6):
        path = session.folder / "masks.zarr" / "c" / str(t) / "0" / "0"
        path.write_bytes(path.read_bytes()[:10])
    with Session.open(session.folder) as again:
        yield again


def test_proposing_goes_on_without_them(damaged: Session, swift_model) -> None:
    events = list(propose(damaged, swift_model, device="cpu"))
    assert events[0].damaged == (5,) and "1 frame is damaged: 5; left as they are" in events[0].note
    assert {event.frame: event.damaged for event in events if event.damaged} == {5: (5,), 6: (6,)}
    assert [event.frame for event in events if not event.written] == [5, 6]
    assert list(damaged.damage) == [5, 6] and damaged.frames_with("corrected") == [2, 5, 6, 8]
    events = list(propose(damaged, swift_model, device="cpu"))
    assert events[0].damaged == (5, 6) and len(events) == 1 + 8


def test_a_fine_tune_learns_from_the_others(damaged: Session, swift_model) -> None:
    events = finetune([damaged], swift_model, device="cpu", in_process=True)
    first = next(events)
    assert first == PassedOver(((0, 5),)) and from_line(to_line(first)) == first
    assert next(events).total == 2
    events.close()


def test_nothing_sound_to_learn_from_is_said(damaged: Session, swift_model) -> None:
    for t in (2, 8):
        damaged.reset(t)
    with pytest.raises(FinetuneError, match="No corrected frame"):
        next(finetune([damaged], swift_model, device="cpu", in_process=True))


def test_pictures_of_damaged_frames_are_left_out_and_stacks_keep_their_places(
    damaged: Session, sample, tmp_path: Path
) -> None:
    events = list(export(damaged, tmp_path, ("png", "tiff", "csv", "coco")))
    assert all(event.damaged == (5, 6) for event in events if event.done)
    names = {path.stem for path in (tmp_path / "masks").iterdir()}
    assert names == {f"{t:06d}" for t in range(12) if t not in (5, 6)}
    stack = tifffile.imread(tmp_path / "masks.tif")
    assert stack.shape[0] == 12 and not stack[5:7].any()
    np.testing.assert_array_equal(stack[7] > 0, sample.masks[7] > 0)
    rows = (tmp_path / "measurements.csv").read_text().splitlines()
    assert not [row for row in rows if row.startswith(("5,", "6,"))]


def test_an_export_of_damaged_frames_alone_says_so(damaged: Session, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="2 frames are damaged: 5, 6"):
        list(export(damaged, tmp_path, frames=(5, 7)))


@pytest.mark.parametrize("several", [False, True])
def test_the_command_names_them_and_succeeds_only_if_that_is_allowed(
    damaged: Session, tmp_path: Path, capsys: pytest.CaptureFixture[str], several: bool
) -> None:
    damaged.close()
    source = str(damaged.folder.parent / "*.vivim") if several else str(damaged.folder)
    for allowed, code in (([], 1), (["--allow-damaged"], 0)):
        assert main(["export", source, "-o", str(tmp_path / "out"), "--json", *allowed]) == code
        shown = capsys.readouterr()
        found = json.loads(shown.out.splitlines()[-1])
        assert (found["videos"][0] if several else found)["damaged"] == [5, 6]
        assert "2 frames are damaged: 5, 6" in shown.err
