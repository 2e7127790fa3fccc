"""What is cached between proposals: only what changed is encoded again, and the masks are the same."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image
from vivim import Session, Vivim, VivimConfig, propose
from vivim.inference import feature_cache
from vivim.inference.feature_cache import EncodedFrames, SessionCache, cache_of
from vivim.network.vivim import Encoder
from vivim.video.phantom import make_phantom

FRAMES, SIZE = 16, (32, 32)


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    made = make_phantom(frames=FRAMES, size=SIZE, seed=1)
    folder = tmp_path_factory.mktemp("cache")
    for t, frame in enumerate(made.frames):
        Image.fromarray(frame).save(folder / f"{t:02}.png")
    return made, folder


@pytest.fixture(scope="module")
def model() -> Vivim:
    torch.manual_seed(0)
    made = Vivim(VivimConfig(size="b0", input_size=SIZE, guided=True)).eval()
    assert made.guide_embed is not None
    torch.nn.init.normal_(made.guide_embed.weight, std=0.1)
    return made


@pytest.fixture
def encoded(monkeypatch) -> list[int]:
    """Frames of each window that was encoded."""
    lengths: list[int] = []
    forward = Encoder.forward

    def counted(self, x, frames, added=None):
        lengths.append(frames)
        return forward(self, x, frames, added)

    monkeypatch.setattr(Encoder, "forward", counted)
    return lengths


def masks_after(session: Session, model: Vivim) -> np.ndarray:
    for _ in propose(session, model, device="cpu", clip_length=2):
        pass
    return np.stack([np.asarray(session.masks[t]) for t in range(FRAMES)])


def test_one_more_correction_encodes_only_what_it_guides(phantom, model, encoded, tmp_path) -> None:
    made, path = phantom
    masks = np.asarray(made.masks)
    with Session.open(path, folder=tmp_path / "one after the other") as session:
        for t in (2, 8):
            session.correct(t, masks[t])
        masks_after(session, model)
        first = len(encoded)
        masks_after(session, model)
        assert len(encoded) == first  # nothing changed: nothing encoded
        session.correct(14, masks[14])
        found = masks_after(session, model)
        again = len(encoded) - first
    with Session.open(path, folder=tmp_path / "at once") as session:
        for t in (2, 8, 14):
            session.correct(t, masks[t])
        before = len(encoded)
        fresh = masks_after(session, model)
        assert again < len(encoded) - before  # the windows up to frame 8 were known
    np.testing.assert_array_equal(found, fresh)


def test_a_corrected_mask_drawn_otherwise_is_another(phantom, model, encoded, tmp_path) -> None:
    made, path = phantom
    masks = np.asarray(made.masks)
    with Session.open(path, folder=tmp_path / "session") as session:
        session.correct(2, masks[2])
        session.correct(8, masks[8])
        masks_after(session, model)
        first = len(encoded)
        session.correct(8, np.roll(masks[8], 4, axis=0))
        masks_after(session, model)
        assert len(encoded) > first


def test_the_latest_is_kept_and_no_more_than_there_is_room_for(monkeypatch, phantom, tmp_path) -> None:
    one = EncodedFrames([torch.zeros(1, 1, 5, 5)], None)
    monkeypatch.setattr(feature_cache, "LIMIT_BYTES", 2 * one.nbytes)
    cache = SessionCache("").encoded
    for key in "ab":
        cache.put(key, one)
    assert cache.get("a") is one
    cache.put("c", one)
    assert cache.get("b") is None and cache.get("a") is one and cache.get("c") is one
    with Session.open(phantom[1], folder=tmp_path / "session") as session:
        assert cache_of(session, 1) is cache_of(session, 1)
        assert cache_of(session, 2) is not cache_of(session, 1)
