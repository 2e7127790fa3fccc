"""Areas and jumps in shape: right after the first pass, right after any single change, and quick."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
import pytest
from vivim.analysis.shape_changes import ShapeTrack, change, jumps_of
from vivim.session import Session
from vivim.session.ledger import STATUS_CODES, FrameTable


def square(side: int, at: int = 5) -> np.ndarray:
    mask = np.zeros((72, 88), np.uint8)
    mask[at : at + side, at : at + side] = 1
    return mask


def drained(track: ShapeTrack, frames) -> list[int]:
    return list(track.measure(frames))


def test_areas_and_changes_follow_every_single_write(session: Session) -> None:
    for t in (0, 1, 2, 4):
        session.propose(t, square(20), "m")
    track = ShapeTrack(session)
    drained(track, range(len(session)))
    assert track.areas[:5].tolist()[:3] == [400, 400, 400] and np.isnan(track.areas[3])
    assert track.changes[1:3].tolist() == [0, 0] and np.isnan(track.changes[[0, 3, 4]]).all()
    session.correct(1, square(10))
    drained(track, [1])
    assert track.areas[1] == 100
    np.testing.assert_allclose(track.changes[1:3], 1 - 2 * 100 / 500)
    once = track.areas.copy(), track.changes.copy()
    drained(track, range(len(session)))
    np.testing.assert_array_equal(track.areas, once[0])
    np.testing.assert_array_equal(track.changes, once[1])
    session.reset(1)
    drained(track, [1])
    assert np.isnan(track.areas[1]) and np.isnan(track.changes[[1, 2]]).all()


def test_all_classes_count_and_a_vanishing_lesion_jumps(session: Session) -> None:
    session.propose(0, 2 * square(8), "m")
    session.propose(1, square(0), "m")
    session.propose(2, square(0), "m")
    track = ShapeTrack(session)
    drained(track, range(3))
    assert track.areas[:3].tolist() == [64, 0, 0]
    assert track.changes[1:3].tolist() == [1, 0]
    assert track.jumps().tolist() == [1]


def test_a_damaged_mask_is_unknown_and_stops_nothing(session: Session) -> None:
    for t in range(3):
        session.propose(t, square(9), "m")
    session.flush()
    (session.folder / "masks.zarr" / "c" / "1" / "0" / "0").write_bytes(b"damaged")
    track = ShapeTrack(session)
    assert drained(track, range(3)) == [0, 1, 2]
    assert np.isnan(track.areas[1]) and track.areas[2] == 81


def test_it_stops_when_told_to(session: Session) -> None:
    stop = threading.Event()
    stop.set()
    assert list(ShapeTrack(session).measure(range(3), stop)) == []


def test_jumps_stand_out_from_what_is_usual() -> None:
    still, fast = np.full(100, 0.02, np.float32), np.tile([0.4, 0.5, 0.6], 34)[:100]
    still[40] = 0.5
    assert jumps_of(still).tolist() == [40]
    assert not len(jumps_of(fast))
    fast[7] = 1.0
    assert jumps_of(fast).tolist() == [7]
    assert not len(jumps_of(np.full(5, np.nan)))


def test_change_is_one_minus_dice() -> None:
    one, other = square(10) > 0, square(10, 10) > 0
    assert change(one, other) == pytest.approx(1 - 2 * 25 / 200)
    assert np.isnan(change(None, one)) and change(one & ~one, one & ~one) == 0


def test_twenty_thousand_frames_take_seconds(tmp_path: Path) -> None:
    from types import SimpleNamespace

    from vivim.session.mask_store import MaskStore

    count = 500
    masks = MaskStore(tmp_path / "masks.zarr", (count, 256, 256))
    masks.create()
    mask = np.zeros((256, 256), np.uint8)
    mask[80:140, 60:200] = 1
    for t in range(count):
        masks[t] = mask
    table = FrameTable(count)
    table.codes[:] = STATUS_CODES["proposed"]

    class Fake(SimpleNamespace):
        def __len__(self) -> int:
            return count

    track = ShapeTrack(Fake(masks=masks, statuses=table.codes, video=None, pixel_spacing_mm=None))  # type: ignore[arg-type]
    began = time.process_time()
    drained(track, range(count))
    assert (time.process_time() - began) / count * 20_000 < 15
