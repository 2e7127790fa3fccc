"""The timeline: nothing disappears in a long video, the mouse does what it says, the window never waits for it."""

from __future__ import annotations

import numpy as np
import pytest
from qtpy.QtCore import QPoint, QPointF, Qt
from qtpy.QtGui import QWheelEvent
from vivim.session.ledger import STATUS_CODES
from vivim.video.base import Video

from napari_vivim.timeline.thumbnails import HEIGHT, WIDTH, HoverCard, Thumbnails, small
from napari_vivim.timeline.timeline_view import (
    LANES,
    TimelineView,
    columns,
    filled_curve,
    runs,
    status_bars,
)
from napari_vivim.timeline.timeline_widget import Legend, show_timeline

LONG = 20_000


@pytest.fixture
def view(qtbot) -> TimelineView:
    view = TimelineView()
    qtbot.addWidget(view)
    view.resize(1000, view.height())
    rng = np.random.default_rng(0)
    view.set_frames(rng.integers(0, 4, LONG).astype(np.uint8), rng.random(LONG, np.float32))
    view.set_shapes(1000 * rng.random(LONG, np.float32), rng.integers(0, LONG, 500))
    view.set_suggested([50, 9_000])
    return view


def wheel(view: TimelineView, x: float, turn: int, shift: bool = False) -> None:
    keys = Qt.KeyboardModifier.ShiftModifier if shift else Qt.KeyboardModifier.NoModifier
    at, none = QPointF(x, 30), Qt.ScrollPhase.NoScrollPhase
    view.wheelEvent(
        QWheelEvent(at, at, QPoint(), QPoint(0, turn), Qt.MouseButton.NoButton, keys, none, False)
    )


def test_no_corrected_frame_and_no_doubt_disappears() -> None:
    codes = np.full(LONG, STATUS_CODES["proposed"], np.uint8)
    uncertain = np.full(LONG, 0.1, np.float32)
    codes[12_345], uncertain[7_777], uncertain[:100] = STATUS_CODES["corrected"], 0.9, np.nan
    shown, doubt = columns(codes, 0, LONG, 250), columns(uncertain, 0, LONG, 250)
    assert np.flatnonzero(shown == STATUS_CODES["corrected"]).tolist() == [12_345 // 80]
    assert np.argmax(np.nan_to_num(doubt)) == 7_777 // 80 and np.isnan(doubt[0])
    assert len(shown) == len(doubt) == 250
    assert STATUS_CODES["corrected"] in columns(codes, 12_000.5, 12_400.5, 100)


def test_a_range_shows_its_frames_and_no_others() -> None:
    values = np.arange(100, dtype=np.float32)
    assert columns(values, 10, 15, 10).tolist() == [10, 10, 11, 11, 12, 12, 13, 13, 14, 14]
    assert columns(values, 10, 20, 5).tolist() == [11, 13, 15, 17, 19]
    assert columns(values, 99, 100, 3).tolist() == [99] * 3
    assert not len(columns(values[:0], 0, 0, 5))


def test_a_status_is_told_by_height_too(qtbot) -> None:
    bars = status_bars(np.arange(4, dtype=np.uint8))
    filled = [sum(bars.pixelColor(x, y).alpha() > 0 for y in range(4)) for x in range(4)]
    assert sorted(filled) == [1, 2, 3, 4]


def test_gaps_stay_gaps(qtbot) -> None:
    values = np.array([np.nan, 0.5, 1.0, np.nan, 0.0])
    assert [run.tolist() for run in runs(values)] == [[1, 2], [4]]
    from qtpy.QtGui import QColor

    area = filled_curve(values, 10, QColor("#ff0000"))
    assert [sum(area.pixelColor(x, y).alpha() > 0 for y in range(10)) for x in range(5)] == [0, 5, 10, 0, 0]


def test_the_wheel_zooms_at_the_mouse_and_a_double_click_shows_all(view, qtbot) -> None:
    frame = view.frame_at(250)
    for _ in range(12):
        wheel(view, 250, 120)
    assert view.zoomed and abs(view.frame_at(250) - frame) <= 1 and view.last - view.first < 2000
    before = view.first
    wheel(view, 250, -120, shift=True)
    assert view.first > before
    for _ in range(60):
        wheel(view, 250, 120)
    assert view.last - view.first == 20
    qtbot.mouseDClick(view, Qt.MouseButton.LeftButton, pos=QPoint(250, 30))
    assert (view.first, view.last) == (0, LONG)


def test_a_click_goes_there_and_a_drag_of_the_axis_pans(view, qtbot) -> None:
    went: list[int] = []
    view.clicked.connect(went.append)
    view.show_range(5_000, 6_000)
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(500, 30))
    assert went == [5_500]
    axis = LANES + 5
    qtbot.mousePress(view, Qt.MouseButton.LeftButton, pos=QPoint(500, axis))
    qtbot.mouseMove(view, QPoint(400, axis))
    qtbot.mouseRelease(view, Qt.MouseButton.LeftButton, pos=QPoint(400, axis))
    assert went == [5_500] and view.first == pytest.approx(5_100, abs=2)
    view.set_current(15_000)
    assert view.first <= 15_000 < view.last and view.last - view.first == pytest.approx(1_000)


class Slow(Video):
    """Key frames at every tenth; others take as long as `stop` lets them."""

    def __init__(self, path) -> None:
        super().__init__(path, (100, 40, 80, 3))
        self.decoded: list[int] = []

    def _decode(self, i: int) -> np.ndarray:
        self.decoded.append(i)
        return np.full((40, 80, 3), i, np.uint8)

    def preview(self, i: int) -> tuple[int, np.ndarray]:
        return i // 10 * 10, np.full((40, 80, 3), i // 10 * 10, np.uint8)


def test_a_thumbnail_comes_at_once_and_the_exact_one_after_it(qtbot, tmp_path) -> None:
    from types import SimpleNamespace

    mask = np.zeros((100, 40, 80), np.uint8)
    video = Slow(tmp_path / "v.mp4")
    thumbnails = Thumbnails(video, SimpleNamespace(shown=lambda t: mask[t]))  # type: ignore[arg-type]
    got: list[tuple[int, int]] = []
    thumbnails.ready.connect(lambda asked, shown, picture: got.append((asked, shown)))
    try:
        thumbnails.ask(47, (0, 255))
        qtbot.waitUntil(lambda: len(got) == 2, timeout=5000)
        assert got == [(47, 40), (47, 47)] and video.decoded == [47]
        thumbnails.ask(30, (0, 255))
        qtbot.waitUntil(lambda: len(got) == 3, timeout=5000)
        thumbnails.ask(47, (0, 255))
        qtbot.waitUntil(lambda: len(got) == 4, timeout=5000)
        assert got[2:] == [(30, 30), (47, 47)] and video.decoded == [47]
    finally:
        thumbnails.requests.close()


def test_any_picture_makes_a_thumbnail() -> None:
    assert small(np.zeros((1080, 1920, 3), np.uint8), (WIDTH, HEIGHT), (0, 255)).shape == (
        round(1080 * WIDTH / 1920),
        WIDTH,
        3,
    )
    deep = small(np.full((400, 100), 3000, np.uint16), (WIDTH, HEIGHT), (1000, 5000))
    assert deep.shape[0] == HEIGHT and deep.dtype == np.uint8 and abs(int(deep.mean()) - 127) <= 1


def test_card_and_timeline_never_take_the_keys(qtbot, view) -> None:
    card = HoverCard(view)
    assert card.focusPolicy() == view.focusPolicy() == Qt.FocusPolicy.NoFocus
    assert card.windowFlags() & Qt.WindowType.WindowTransparentForInput


def test_the_legend_leaves_out_what_there_is_no_room_for(qtbot) -> None:
    legend = Legend()
    qtbot.addWidget(legend)
    legend.show()
    legend.show_parts({f"<b>{i}</b>&nbsp;of&nbsp;something": f"meaning {i}" for i in range(8)})
    legend.resize(1400, 20)
    whole = legend.text()
    assert whole.count("something") == 8
    legend.resize(320, 20)
    assert whole.startswith(legend.text()) and 1 < legend.text().count("something") < 8
    assert legend.sizeHint().width() <= 320
    assert all(f"something: meaning {i}" in legend.toolTip() for i in range(8))


def test_it_follows_the_work(segment, qtbot, fake_model) -> None:
    timeline = show_timeline(segment.viewer)
    assert show_timeline(segment.viewer) is timeline and timeline.controller is segment.controller
    segment.propose.click()
    view = timeline.view
    qtbot.waitUntil(lambda: not segment.controller.busy and len(view.suggested) == 5, timeout=10000)
    qtbot.waitUntil(lambda: bool((view.areas == 100).all()), timeout=5000)
    assert not len(view.jumps) and "12&nbsp;proposed" in timeline.legend.text()
    segment.controller.session.correct(6, np.ones((64, 64), np.uint8))
    qtbot.waitUntil(lambda: view.jumps.tolist() == [6, 7], timeout=5000)
    assert "shape jumps: 95% unlike" in timeline.describe(6) and "corrected" in timeline.describe(6)
    assert "shape: 0% unlike" in timeline.describe(5) and "unsure" not in timeline.describe(5)
    mask = np.asarray(segment.controller.session.masks[3])
    segment.controller.session.propose(3, mask, "v1", uncertainty=0.5, windows=0.25)
    qtbot.waitUntil(lambda: bool(np.isfinite(view.uncertain[3])), timeout=5000)
    assert "model&nbsp;unsure" in timeline.legend.text() and "low to high" in timeline.legend.toolTip()
    assert "bits" not in timeline.legend.toolTip() and "model unsure: high" in timeline.describe(3)
    view.resize(1200, view.height())
    qtbot.mouseClick(view, Qt.MouseButton.LeftButton, pos=QPoint(1050, 30))
    assert segment.controller.current_frame == 10 == view.current
    timeline._hover(3)
    view.under_mouse = 3
    qtbot.waitUntil(lambda: not timeline.card.picture.pixmap().isNull(), timeout=5000)
    assert "Frame 3" in timeline.card.text.text()
    assert "next: " in timeline.describe(view.suggested[0])
    segment.controller.session.accept(3)
    qtbot.waitUntil(lambda: not np.isfinite(view.uncertain).any(), timeout=5000)  # a person is sure of it
    assert "unsure" not in timeline.describe(3)
    segment.viewer.layers.remove(segment.controller.layer)
    assert not len(view.codes) and timeline.watch is None


def test_opening_a_video_gets_the_model_ready(segment, qtbot, fake_model, cold) -> None:
    segment.controller.warm_up()
    qtbot.waitUntil(lambda: segment.controller.warming is None and "starter" in cold, timeout=10000)
    assert not segment.controller.busy and segment.propose.isEnabled()


def test_another_dab_on_the_same_frame_draws_no_lane_anew(segment, qtbot) -> None:
    timeline, masks = show_timeline(segment.viewer), segment.controller.masks
    qtbot.waitUntil(lambda: len(timeline.view.codes) == 12)
    masks.paint((3, 30, 30), 1)
    qtbot.waitUntil(lambda: timeline.view.codes[3] == STATUS_CODES["corrected"])
    shown = timeline.view.codes
    masks.paint((3, 40, 40), 1)
    qtbot.waitUntil(lambda: not timeline._redraw.isActive())
    assert timeline.view.codes is shown
    masks.paint((4, 40, 40), 1)
    qtbot.waitUntil(lambda: timeline.view.codes[4] == STATUS_CODES["corrected"])


def test_where_the_last_run_changed_masks_is_marked(segment, qtbot, fake_model) -> None:
    timeline, session = show_timeline(segment.viewer), segment.controller.session
    small = np.zeros((64, 64), np.uint8)
    small[10:20, 10:15] = 1
    for t in (2, 5):
        session.propose(t, small, "before")
    qtbot.waitUntil(lambda: timeline.view.areas[5] == 50)
    segment.propose.click()
    qtbot.waitUntil(lambda: timeline.view.renewed.tolist() == [2, 5])  # the others had no mask before
    qtbot.waitUntil(lambda: "2&nbsp;renewed" in timeline.legend.toolTip())
    segment.controller.undo()  # one step
    qtbot.waitUntil(lambda: session.masks[2].sum() == 50 == session.masks[5].sum())
    assert not session.masks[3].any() and session.status(3) == "empty"
