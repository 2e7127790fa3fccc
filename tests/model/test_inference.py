"""Proposing: every frame once, nearest first, a person's frames untouched, stopped at any moment."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from vivim import Session, Vivim, VivimConfig, propose
from vivim.errors import DeviceError
from vivim.inference import blocks_of, boundary_uncertainty, segment_frames, window_around


def test_every_frame_is_proposed_once_nearest_first(session: Session, tiny_model: Vivim) -> None:
    events = list(propose(session, tiny_model, start=7, clip_length=4))
    assert sorted(e.frame for e in events) == list(range(len(session)))
    assert events[0].frame == 7
    assert [e.done for e in events] == list(range(1, len(session) + 1))
    assert events[-1].seconds_left == 0
    assert all(session.status(t) == "proposed" for t in range(len(session)))
    assert np.isfinite(session.uncertainty).all()


def test_a_persons_frames_are_never_overwritten(session: Session, tiny_model: Vivim, sample) -> None:
    session.correct(3, sample.masks[3])
    list(propose(session, tiny_model))
    session.accept(5)
    kept = {t: np.array(session.masks[t]) for t in (3, 5)}
    events = list(propose(session, tiny_model, guided=False))
    assert {e.frame for e in events} == set(range(len(session))) - {3, 5}
    for t, mask in kept.items():
        np.testing.assert_array_equal(session.masks[t], mask)
    assert session.status(3) == "corrected"
    assert session.status(5) == "accepted"


def test_a_correction_made_while_proposing_stays(session: Session, tiny_model: Vivim, sample) -> None:
    events = propose(session, tiny_model, start=0, clip_length=4)
    next(events)
    session.correct(2, sample.masks[2])
    written = {e.frame: e.written for e in events}
    assert written[2] is False
    np.testing.assert_array_equal(session.masks[2], sample.masks[2])


def test_closing_stops_and_keeps_what_is_done(session: Session, tiny_model: Vivim) -> None:
    events = propose(session, tiny_model, clip_length=2)
    done = [next(events).frame for _ in range(2)]
    events.close()
    assert {t for t in range(len(session)) if session.status(t) == "proposed"} == set(done)


def test_the_same_twice(session: Session, tiny_model: Vivim) -> None:
    list(propose(session, tiny_model))
    first = np.array(session.masks[:])
    list(propose(session, tiny_model))
    np.testing.assert_array_equal(session.masks[:], first)


def test_masks_equal_those_of_the_network_itself(session: Session, sample) -> None:
    torch.manual_seed(5)
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64))).eval()
    list(propose(session, model, clip_length=6))
    np.testing.assert_array_equal(session.masks[:], segment_frames(model, sample.frames, clip_length=6))
    assert 0 < np.mean(session.masks[:]) < 1


def test_corrections_guide_the_frames_around_them(session: Session, tiny_model: Vivim, sample) -> None:
    session.correct(6, sample.masks[6])
    list(propose(session, tiny_model, guided=False))
    alone = np.array(session.masks[:])
    list(propose(session, tiny_model))
    changed = [t for t in range(len(session)) if (np.asarray(session.masks[t]) != alone[t]).any()]
    assert 5 in changed
    assert 6 not in changed


def test_only_the_frames_asked_for(session: Session, tiny_model: Vivim) -> None:
    events = list(propose(session, tiny_model, frames=[1, 2, 9]))
    assert sorted(e.frame for e in events) == [1, 2, 9]
    assert session.status(5) == "empty"


def test_an_absent_device_is_one_clear_sentence(session: Session, tiny_model: Vivim) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(DeviceError, match="not available"):
        next(propose(session, tiny_model, device="cuda"))
    assert session.status(0) == "empty"


def test_blocks_stop_at_corrected_frames_and_start_near() -> None:
    blocks = blocks_of([0, 1, 2, 4, 5, 6, 7, 8], [3], 3, start=6)
    assert sorted(t for block in blocks for t in block) == [0, 1, 2, 4, 5, 6, 7, 8]
    assert blocks[0] == [4, 5, 6]
    assert all(len(block) <= 3 and block[-1] - block[0] == len(block) - 1 for block in blocks)


def test_windows_take_in_the_corrected_frames_on_either_side() -> None:
    class Guide:
        def neighbours(self, t: int) -> tuple[int | None, int | None]:
            return (2, 20)

    assert window_around([8, 9, 10], Guide()) == [2, 8, 9, 10, 20]
    assert window_around([8, 9, 10], None) == [8, 9, 10]


def test_a_soft_outline_is_less_certain_than_a_sharp_one() -> None:
    ramp = torch.linspace(-1, 1, 64).expand(64, 64)
    logits = torch.stack((ramp * 40, ramp * 2))[:, None]
    sharp, soft = boundary_uncertainty(logits)
    assert 0 <= sharp < soft <= 1
    unsure_nothing, sure_nothing = boundary_uncertainty(torch.stack((ramp - 1.1, ramp - 20))[:, None])
    assert unsure_nothing > sure_nothing
