from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tifffile
from napari.utils.notifications import notification_manager
from PIL import Image
from qtpy.QtWidgets import QScrollArea
from vivim.errors import FinetuneError
from vivim.finetuning.events import Finished, HeldOut, Preparing, Scored, Step
from vivim.session import Session

from napari_vivim.widgets.finetune_widget import FinetuneResult, ReplayVideos


def panel(segment, name: str):
    return segment.viewer.window.add_plugin_dock_widget("napari-vivim", name)[1]


def correct(segment, *frames: int) -> None:
    for t in frames:
        segment.controller.go_to(t)
        segment.controller.masks.paint((t, 30, 30), 1)


def fake_finetune(promoted: bool):
    def run(sessions, model, *, device, scope, stop, standby):
        yield Preparing(1, 1)
        for step in range(1, 6):
            yield Step(step, 5, 1 / step, 0, 1)
            yield HeldOut(step, 5, 0.7, 1)
        yield Scored(0.5, 0.7, 2, ((0, 2, 0.5, 0.7),))
        yield Finished("tuned", "v1", "nowhere", promoted, 0.5, 0.7, 1.0)

    return run


@pytest.mark.parametrize("promoted", [True, False])
def test_one_click_learns_shows_the_score_and_renews_proposals(
    segment, qtbot, fake_model, monkeypatch: pytest.MonkeyPatch, promoted: bool
) -> None:
    monkeypatch.setattr("vivim.api.finetune", fake_finetune(promoted))
    widget = panel(segment, "Vivim Fine-tune")
    assert not widget.learn.isEnabled() and "first" in widget.material.text()
    correct(segment, 2, 8)
    qtbot.waitUntil(lambda: widget.learn.isEnabled())
    assert "2 frames" in widget.learn.text() and widget.material.text() == "2 corrected frames of this video."
    said: list[str] = []
    segment.controller.job_event.connect(lambda event: said.append(widget.progress._latest[2]))
    widget.learn.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    said = [text for text in said if "loss" in text]
    assert "0.500" in widget.card.scores.text() and "0.700" in widget.card.scores.text()
    assert widget.card.verdict.text() == (
        "Better: “tuned” is now in use." if promoted else "The gain may be chance: “starter” stays in use."
    )
    proposed = segment.controller.session.frames_with("proposed")
    assert len(proposed) == (10 if promoted else 0)
    assert segment.controller.session.frames_with("corrected") == [2, 8]
    assert said and "loss 0.2" in said[-1] and "Dice 0.700" in said[-1]
    assert widget.card.frames.text() == "2: 0.500 → 0.700".replace(" ", "\u00a0")
    assert widget.card.choose.text() == ("Go back to “starter”" if promoted else "Use it anyway")
    widget.card.choose.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    assert len(segment.controller.session.frames_with("proposed")) == 10


@pytest.mark.parametrize(
    ("promoted", "after", "verdict", "scores"),
    [
        (True, 0.9803, "A little better: “new” is now in use.", "Dice 0.9800 → 0.9803"),
        (False, 0.9803, "The gain may be chance: “old” stays in use.", "Dice 0.9800 → 0.9803"),
        (False, 0.97, "Not better: “old” stays in use.", "Dice 0.980 → 0.970"),
    ],
)
def test_the_verdict_agrees_with_the_scores(
    qtbot, promoted: bool, after: float, verdict: str, scores: str
) -> None:
    card = FinetuneResult()
    qtbot.addWidget(card)
    card.show_result(Finished("new", "v1", "nowhere", promoted, 0.98, after, 1.0), None, "old")
    assert (card.verdict.text(), card.scores.text()) == (verdict, scores)


def test_ignored_frames_are_not_counted_as_learned_from(segment, qtbot) -> None:
    correct(segment, 2, 8)
    qtbot.waitUntil(lambda: segment.learning.learn.text() == "Fine-tune on 2 frames", timeout=10000)
    segment.session.tag(8, "ignore")
    segment.learn.expand()
    assert segment.learning.learn.text() == "Fine-tune on 1 frame"
    assert segment.learning.material.text().startswith("1 corrected frame of this video.")


def test_sessions_of_other_videos_are_learned_from_too(
    segment, qtbot, fake_model, monkeypatch: pytest.MonkeyPatch, phantom_file: Path, tmp_path: Path
) -> None:
    learned = []

    def record(sessions, model, **options):
        learned.extend(session.folder.name for session in sessions)
        yield Scored(0.5, 0.7, 2, ((0, 2, 0.6, 0.8), (1, 3, 0.4, 0.6)))
        yield Finished("tuned", "v1", "nowhere", False, 0.5, 0.7, 1.0)

    monkeypatch.setattr("vivim.api.finetune", record)
    with Session.open(phantom_file, folder=tmp_path / "earlier.vivim") as earlier:
        earlier.correct(3, np.ones(earlier.shape[1:], np.uint8))
    widget = panel(segment, "Vivim Fine-tune")
    correct(segment, 2)
    widget.replay.add_folder(tmp_path / "earlier.vivim")
    widget.replay.add_folder(segment.controller.session.folder)
    qtbot.waitUntil(lambda: widget.learn.isEnabled())
    widget.learn.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    assert learned == [segment.controller.session.folder.name, "earlier.vivim"]
    assert widget.card.choose.text() == "Use it anyway"
    assert (
        widget.card.frames.text()
        == "earlier\u00a03:\u00a00.400\u00a0→\u00a00.600, 2:\u00a00.600\u00a0→\u00a00.800"
    )


def test_open_videos_are_offered_and_none_is_learned_from_unasked(qtbot, tmp_path: Path) -> None:
    replay = ReplayVideos()
    qtbot.addWidget(replay)
    replay.offer([tmp_path / "a.vivim"], without=tmp_path / "b.vivim")
    replay.offer([tmp_path / "b.vivim", tmp_path / "a.vivim"], without=tmp_path / "b.vivim")
    assert [item.text() for item in replay._items() if not item.isHidden()] == ["a"]
    assert replay.folders() == []
    replay.add_folder(tmp_path / "a.vivim")
    assert replay.folders() == [tmp_path / "a.vivim"]
    replay.offer([], without=tmp_path / "a.vivim")
    assert [item.text() for item in replay._items() if not item.isHidden()] == ["b"]


def test_a_failed_finetune_is_said(segment, qtbot, fake_model, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*args, **kwargs):
        raise FinetuneError("Fine-tuning stopped unexpectedly. Try again.")
        yield

    monkeypatch.setattr("vivim.api.finetune", fail)
    notification_manager.records.clear()
    widget = panel(segment, "Vivim Fine-tune")
    correct(segment, 2)
    qtbot.waitUntil(lambda: widget.learn.isEnabled())
    widget.learn.click()
    qtbot.waitUntil(lambda: any("unexpectedly" in r.message for r in notification_manager.records))
    qtbot.waitUntil(lambda: widget.learn.isEnabled())


def test_export_writes_what_is_ticked(segment, qtbot, tmp_path: Path) -> None:
    correct(segment, 4)
    widget = panel(segment, "Vivim Export")
    widget.target.setText(str(tmp_path / "out"))
    widget.formats["csv"].setChecked(True)
    qtbot.waitUntil(lambda: widget.write.isEnabled())
    widget.write.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == ["masks", "measurements.csv"]
    written = np.asarray(Image.open(tmp_path / "out" / "masks" / "000004.png"))
    assert np.array_equal(written > 0, np.asarray(segment.controller.session.masks[4]) > 0)


def test_an_export_into_a_file_is_refused_in_words(segment, qtbot, tmp_path: Path) -> None:
    correct(segment, 4)
    (tmp_path / "taken").write_text("a file")
    notification_manager.records.clear()
    widget = panel(segment, "Vivim Export")
    widget.target.setText(str(tmp_path / "taken"))
    qtbot.waitUntil(lambda: widget.write.isEnabled())
    widget.write.click()
    qtbot.waitUntil(lambda: any("Cannot write" in r.message for r in notification_manager.records))


def test_export_of_a_range_with_cleaning(segment, qtbot, tmp_path: Path) -> None:
    mask = np.zeros(segment.controller.session.shape[1:], np.uint8)
    mask[10:30, 10:30], mask[15:18, 15:18], mask[50, 50] = 1, 0, 1
    for t in range(6):
        segment.controller.session.correct(t, mask)
    widget = panel(segment, "Vivim Export")
    widget.target.setText(str(tmp_path / "out"))
    qtbot.waitUntil(lambda: widget.write.isEnabled())
    widget.range.setText("2")
    assert not widget.write.isEnabled()
    widget.range.setText("2:4")
    assert widget.min_area.value() == 0 and not widget.fill_holes.isChecked()
    widget.min_area.setValue(5)
    widget.fill_holes.setChecked(True)
    widget.write.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    files = sorted((tmp_path / "out" / "masks").iterdir())
    assert [path.name for path in files] == ["000002.png", "000003.png"]
    assert (np.asarray(Image.open(files[0])) > 0).sum() == 400


def test_every_format_of_the_library_is_offered() -> None:
    from vivim.io.export import FORMATS

    from napari_vivim.widgets.export_widget import FORMATS as OFFERED

    assert set(OFFERED) == set(FORMATS)


def test_masks_from_elsewhere_come_in(segment, qtbot, tmp_path: Path) -> None:
    session = segment.controller.session
    (tmp_path / "in").mkdir()
    for t in range(len(session)):
        picture = np.zeros(session.shape[1:], np.uint8)
        picture[5 + t : 30, 5:30] = 255
        Image.fromarray(picture).save(tmp_path / "in" / f"{t}.png")
    correct(segment, 4)
    drawn = np.asarray(session.masks[4])
    widget = panel(segment, "Vivim Export")
    qtbot.waitUntil(lambda: widget.take_folder.isEnabled())
    widget.status.setCurrentText("as proposed")
    widget.take(str(tmp_path / "in"))
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    assert len(session.frames_with("proposed")) == len(session) - 1
    assert np.array_equal(session.masks[4], drawn)
    assert int(np.asarray(segment.controller.masks.data[7]).sum()) == 18 * 25


def test_masks_that_may_be_one_class_are_offered_as_one(segment, qtbot, tmp_path: Path) -> None:
    """The message advises it, and so a button under it does it; other refusals offer nothing."""
    session = segment.controller.session
    labels = np.zeros(session.shape, np.uint16)
    labels[3:, 10:20, 10:20], labels[3, 30:40, 30:40] = 1, 400
    tifffile.imwrite(tmp_path / "in.tif", labels)
    widget = panel(segment, "Vivim Export")
    qtbot.waitUntil(lambda: widget.take_file.isEnabled())
    assert widget.one_class.isHidden()
    widget.take(str(tmp_path / "in.tif"))
    qtbot.waitUntil(lambda: not widget.one_class.isHidden() and widget.one_class.isEnabled(), timeout=10000)
    assert "as one class" in widget.problem.text.text() and session.frames_with("corrected") == []
    (tmp_path / "in.json").write_text("{}")
    widget.take(str(tmp_path / "in.json"))
    qtbot.waitUntil(lambda: "neither COCO nor labelme" in widget.problem.text.text(), timeout=10000)
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    assert widget.one_class.isHidden()
    widget.status.setCurrentText("as proposed")
    widget.take(str(tmp_path / "in.tif"))
    qtbot.waitUntil(lambda: not widget.one_class.isHidden() and widget.one_class.isEnabled(), timeout=10000)
    widget.one_class.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    assert widget.one_class.isHidden() and len(session.frames_with("proposed")) == len(session)
    np.testing.assert_array_equal(np.asarray(session.masks), labels > 0)


def test_the_result_is_scrolled_into_sight(
    segment, qtbot, fake_model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("vivim.api.finetune", fake_finetune(True))
    segment.viewer.window._qt_window.resize(1000, 500)
    segment.viewer.window._qt_window.show()
    correct(segment, 2, 8)
    qtbot.waitUntil(lambda: not segment.learn.isHidden())
    segment.learn.expand()
    segment.learning.learn.click()
    qtbot.waitUntil(lambda: not segment.controller.busy, timeout=10000)
    area, card = segment.findChild(QScrollArea), segment.learning.card

    def top() -> int:
        return card.mapTo(area.viewport(), card.rect().topLeft()).y()

    qtbot.waitUntil(lambda: card.isVisible() and top() < area.viewport().height() - 30)
    assert segment.learning.learn.isVisible()  # at the foot, wherever the rest is scrolled to
