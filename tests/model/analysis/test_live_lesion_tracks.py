"""Numbers of lesions while a session is worked on: the same as if all were linked anew."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from vivim.analysis.live_lesion_tracks import LesionTrack
from vivim.errors import SessionError
from vivim.imaging.lesion_tracking import Lesions

SHAPE = (30, 24, 32)


def session_of(masks: np.ndarray) -> SimpleNamespace:
    class Session(SimpleNamespace):
        def __len__(self) -> int:
            return len(masks)

    return Session(masks=masks, shape=masks.shape)


def box(rng: np.random.Generator) -> np.ndarray:
    mask = np.zeros(SHAPE[1:], np.uint8)
    for _ in range(rng.integers(0, 3)):
        y, x = rng.integers(0, 18), rng.integers(0, 26)
        mask[y : y + 6, x : x + 6] = rng.integers(1, 3)
    return mask


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**31), changes=st.lists(st.lists(st.integers(0, 29), max_size=4), max_size=5))
def test_numbers_are_those_of_linking_everything_anew(seed: int, changes: list[list[int]]) -> None:
    rng = np.random.default_rng(seed)
    masks = np.stack([box(rng) for _ in range(SHAPE[0])])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vivim.analysis.live_lesion_tracks.STRETCH", 4)
        track = LesionTrack(session_of(masks))
        shown = np.zeros(SHAPE, np.uint16)
        for frames in [list(range(30)), *changes]:
            for t in frames:
                masks[t] = box(rng)
            assert list(track.measure(frames)) == sorted(set(frames))
            for t in track.link():
                shown[t] = track.frame(t)
            lesions = Lesions(masks.copy())
            for t in range(30):
                np.testing.assert_array_equal(track.frame(t), lesions.picture(t))
                np.testing.assert_array_equal(shown[t], track.frame(t))  # every change was told


def test_only_what_is_concerned_is_numbered_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vivim.analysis.live_lesion_tracks.STRETCH", 4)
    masks = np.zeros(SHAPE, np.uint8)
    masks[:, 5:10, 5:10] = 1
    track = LesionTrack(session_of(masks))
    list(track.measure(range(30)))
    assert track.link() == list(range(30))
    masks[9, 5:10, 5:12] = 1
    list(track.measure([9]))
    numbered: list[int] = []
    monkeypatch.setattr(
        track, "_number", lambda t, linker: numbered.append(t) or LesionTrack._number(track, t, linker)
    )
    assert track.link() == [9]
    assert numbered == [8, 9, 10, 11]


def test_a_stopped_numbering_goes_on_where_it_was() -> None:
    masks = np.zeros(SHAPE, np.uint8)
    masks[:, 5:10, 5:10] = 1
    track = LesionTrack(session_of(masks))
    stop = threading.Event()
    list(track.measure(range(30)))
    stop.set()
    assert track.link(stop) == [] and list(track.measure([3], stop)) == []
    assert track.link() == list(range(30)) and (track.frame(29)[5:10, 5:10] == 1).all()


def test_a_damaged_mask_shows_nothing() -> None:
    class Masks:
        def __getitem__(self, t: int) -> np.ndarray:
            if t == 2:
                raise SessionError("damaged")
            return np.ones(SHAPE[1:], np.uint8)

    session = session_of(np.ones(SHAPE, np.uint8))
    session.masks = Masks()
    track = LesionTrack(session)
    list(track.measure(range(30)))
    track.link()
    assert not track.frame(2).any() and (track.frame(3) == 1).all()
