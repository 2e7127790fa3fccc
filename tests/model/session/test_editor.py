"""The array a Labels layer paints on, against NumPy, with the ways napari indexes it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from vivim import Session

T, H, W = 12, 72, 88
ints = st.integers(-T, T - 1)
keys = st.one_of(
    ints,
    st.tuples(ints, st.slices(H), st.slices(W)),
    st.tuples(st.slices(T), st.slices(H), st.slices(W)),
    st.tuples(ints, st.integers(0, H - 1), st.integers(0, W - 1)),
    st.lists(
        st.tuples(st.integers(0, T - 1), st.integers(0, H - 1), st.integers(0, W - 1)),
        min_size=1,
        max_size=20,
    ).map(lambda points: tuple(np.array(axis) for axis in zip(*points, strict=True))),
    st.just(Ellipsis),
)


@pytest.fixture(scope="module")
def painted(tmp_path_factory):
    from PIL import Image

    folder = tmp_path_factory.mktemp("editor") / "frames"
    folder.mkdir()
    for t in range(T):
        Image.fromarray(np.full((H, W), t, np.uint8)).save(folder / f"{t}.png")
    with Session.open(folder) as session:
        yield session, session.editable(), np.zeros((T, H, W), np.uint8), set()


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(key=keys, value=st.integers(0, 6))
def test_reading_and_writing_follow_numpy(painted, key, value: int) -> None:
    session, editor, model, touched = painted
    np.testing.assert_array_equal(editor[key], model[key])
    changed = model.copy()
    changed[key] = value
    editor[key] = value
    session.end_step()
    touched.update(np.flatnonzero((changed != model).any(axis=(1, 2))).tolist())
    model[...] = changed
    np.testing.assert_array_equal(np.asarray(editor), model)
    assert session.frames_with("corrected") == sorted(touched)


def test_a_write_that_changes_nothing_marks_nothing(session: Session) -> None:
    editor = session.editable()
    editor[2, 3:5, 3:5] = 0
    editor[:, 0, 0] = 0
    assert session.frames_with("corrected") == []


def test_a_fill_over_several_frames_corrects_them_all(session: Session) -> None:
    session.editable()[2:5, 10:20, 10:20] = 1
    assert session.frames_with("corrected") == [2, 3, 4]


def test_a_stroke_that_was_broken_off_is_no_correction(session: Session, sample) -> None:
    session.propose(1, sample.masks[1], "v1", uncertainty=0.5)
    editor = session.editable()
    for t, status in ((0, "empty"), (1, "proposed")):
        before = editor[t]
        editor[t, 3:9, 3:9] = 2
        editor[t, 20:29, 3:9] = 1
        assert session.status(t) == "corrected"
        editor[t, 20:29, 3:9] = before[20:29, 3:9]
        assert session.status(t) == "corrected"
        editor[t, 3:9, 3:9] = before[3:9, 3:9]
        assert session.status(t) == status
        np.testing.assert_array_equal(session.masks[t], before)
    assert session.propose(1, sample.masks[2], "v2")
    session.close()
    with Session.open(session.folder) as again:
        assert [again.status(t) for t in (0, 1)] == ["empty", "proposed"]


def test_what_a_model_writes_is_seen_at_once(session: Session) -> None:
    editor = session.editable()
    assert not editor[4].any()
    session.propose(4, np.ones(session.shape[1:], np.uint8), "v")
    assert editor[4].all()


def test_what_is_read_is_a_copy(session: Session) -> None:
    editor = session.editable()
    frame = editor[0]
    frame[:] = 1
    assert not editor[0].any()
    with pytest.raises(IndexError):
        _ = editor[len(session)]


def test_a_frame_named_from_both_ends_gets_every_pixel(session: Session) -> None:
    editor, last = session.editable(), len(session) - 1
    editor[np.array([-1, last]), np.array([1, 2]), np.array([3, 4])] = np.array([5, 6])
    assert editor[last, 1, 3] == 5 and editor[last, 2, 4] == 6
    with pytest.raises(IndexError):
        editor[np.array([0, len(session)]), np.array([1, 2]), np.array([3, 4])] = 1
    assert session.frames_with("corrected") == [last]
