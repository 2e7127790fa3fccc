"""Working ahead: the click then encodes nothing, the masks are the same, and nothing is written meanwhile."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from vivim import Session, Vivim, finetune, propose
from vivim.errors import DeviceError
from vivim.finetuning.precompute import precompute
from vivim.network.vivim import Encoder

CORRECTED = (2, 6, 10)


@pytest.fixture
def encoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Frames of each window that was encoded in this process."""
    lengths: list[int] = []
    forward = Encoder.forward

    def counted(self, x, frames, added=None):
        lengths.append(frames)
        return forward(self, x, frames, added)

    monkeypatch.setattr(Encoder, "forward", counted)
    return lengths


@pytest.fixture
def corrected(session: Session, sample) -> Session:
    for t in CORRECTED:
        session.correct(t, sample.masks[t])
    return session


def masks(session: Session) -> np.ndarray:
    return np.stack([np.asarray(session.masks[t]) for t in range(len(session))])


def test_afterwards_nothing_is_encoded_and_the_masks_are_the_same(
    corrected: Session, sample, tiny_model: Vivim, encoded: list[int], tmp_path
) -> None:
    before, statuses, classes = masks(corrected), corrected.statuses.copy(), corrected.classes
    pieces = list(precompute(corrected, tiny_model, device="cpu"))
    assert pieces == list(range(1, len(pieces) + 1)) and encoded
    np.testing.assert_array_equal(masks(corrected), before)
    np.testing.assert_array_equal(corrected.statuses, statuses)
    assert corrected.classes == classes
    encoded.clear()
    for _ in finetune([corrected], tiny_model, device="cpu", in_process=True):
        pass
    for _ in propose(corrected, tiny_model, device="cpu"):
        pass
    assert not encoded
    with Session.open(sample.video, folder=tmp_path / "other") as fresh:
        for t in CORRECTED:
            fresh.correct(t, sample.masks[t])
        for _ in propose(fresh, tiny_model, device="cpu"):
            pass
        np.testing.assert_array_equal(masks(fresh), masks(corrected))


def test_it_stops_when_told_to_and_goes_on_where_it_was(
    corrected: Session, tiny_model: Vivim, encoded: list[int]
) -> None:
    stop = threading.Event()
    for piece in precompute(corrected, tiny_model, device="cpu", stop=stop):
        assert piece < 4
        if piece == 3:
            stop.set()
    first = len(encoded)
    assert first
    assert not tiny_model.encoder.mit[0][0]._forward_pre_hooks  # the model is left as it was
    for _ in precompute(corrected, tiny_model, device="cpu"):
        pass
    everything = len(encoded)
    for _ in precompute(corrected, tiny_model, device="cpu"):
        pass
    assert len(encoded) == everything > first


def test_of_a_long_video_only_what_is_on_screen(
    corrected: Session, tiny_model: Vivim, encoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in precompute(corrected, tiny_model, device="cpu"):
        pass
    everything = len(encoded)
    corrected.correct(4, np.asarray(corrected.masks[6]))
    encoded.clear()
    monkeypatch.setattr("vivim.finetuning.precompute.MOST_FRAMES", 5)
    for _ in precompute(corrected, tiny_model, device="cpu"):
        pass
    assert 0 < len(encoded) < everything


def test_a_device_that_is_not_there_is_said(corrected: Session, tiny_model: Vivim) -> None:
    with pytest.raises(DeviceError):
        next(precompute(corrected, tiny_model, device="quantum"))
