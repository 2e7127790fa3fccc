"""Proposing: every frame once, nearest first, a person's frames untouched, stopped at any moment."""

from __future__ import annotations

import threading
from collections import Counter
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import pytest
import torch
from vivim import Session, Vivim, VivimConfig, propose
from vivim.errors import DeviceError
from vivim.inference.batch_runner import Runner
from vivim.inference.fusion import equal_weights, fuse_windows
from vivim.inference.proposals import segment_frames
from vivim.inference.sliding_windows import blocks_of, plan, window_around
from vivim.network.mix_transformer import MiTBlock


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


def test_where_all_is_done_the_network_is_not_asked(
    session: Session, tiny_model: Vivim, sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    for t in range(len(session)):
        session.correct(t, sample.masks[t])
    monkeypatch.setattr(
        Runner, "run", lambda self, windows, *rest: iter([pytest.fail("asked")] if windows else [])
    )
    assert list(propose(session, tiny_model, device="cpu")) == []


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


def test_windows_may_overlap_or_keep_only_their_centres(session: Session, sample) -> None:
    torch.manual_seed(5)
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64))).eval()
    for mode in ("overlap", "centre"):
        events = list(propose(session, model, clip_length=4, windows=mode, start=5))
        assert sorted(e.frame for e in events) == list(range(len(session)))
        np.testing.assert_array_equal(
            session.masks[:], segment_frames(model, sample.frames, clip_length=4, windows=mode)
        )


def test_the_next_batch_may_begin_late(monkeypatch: pytest.MonkeyPatch) -> None:
    class Late(ThreadPoolExecutor):
        """One that begins nothing by itself until the result is asked for."""

        def submit(self, *call):
            future = Future()
            ask = future.result

            def result():
                if future.set_running_or_notify_cancel():
                    future.set_result(call[0](*call[1:]))
                return ask()

            future.result = result
            return future

    monkeypatch.setattr("vivim.inference.batch_runner.ThreadPoolExecutor", Late)
    model = Vivim(VivimConfig(size="b0", input_size=(32, 32))).eval()
    assert segment_frames(model, np.zeros((9, 32, 32), np.uint8), clip_length=4).shape == (9, 32, 32)


def test_overlapping_windows_are_averaged() -> None:
    windows = plan(range(10), (), 10, 4, start=0, mode="overlap")
    assert Counter(t for w in windows for t in w.kept) == {t: 2 for t in range(10)}
    assert all(w.frames == tuple(range(w.frames[0], w.frames[-1] + 1)) for w in windows)
    assert max(len(w.frames) for w in windows) == 4

    class Fake(Runner):
        def __call__(self, x, planes):
            return x[:, :, :1] * 0 + x.amin()  # each window answers with its first frame's number

    runner = Fake(Vivim(VivimConfig(size="b0", input_size=(32, 32))), torch.device("cpu"))
    found = {}
    for block, logits, _ in fuse_windows(
        runner,
        windows,
        lambda w: (
            torch.tensor(w.frames, dtype=torch.float32).view(1, -1, 1, 1, 1).expand(1, -1, 3, 2, 2),
            None,
        ),
        equal_weights,
    ):
        found.update({t: float(one.mean()) for t, one in zip(block, logits, strict=True)})
    wanted = {t: np.mean([w.frames[0] for w in windows if t in w.kept]) for t in range(10)}
    assert found == pytest.approx(wanted)


def test_centre_windows_have_the_frame_in_the_middle() -> None:
    windows = plan([0, 5, 9], (), 10, 5, start=5, mode="centre")
    assert [w.kept for w in windows] == [(5,), (9,), (0,)]
    assert windows[0].frames == (3, 4, 5, 6, 7)
    assert windows[1].frames == (5, 6, 7, 8, 9)
    assert plan([0], (), 2, 5, start=0, mode="centre")[0].frames == (0, 1)


@pytest.mark.parametrize(
    "wrong", [{"windows": "all"}, {"clip_length": 0}, {"batch_size": 0}, {"precision": "half"}]
)
def test_a_wrong_option_is_named(session: Session, tiny_model: Vivim, wrong) -> None:
    with pytest.raises(ValueError, match="|".join(str(v) for v in wrong.values())):
        list(propose(session, tiny_model, **wrong))


@pytest.mark.parametrize("batch_size", [2, 5])
def test_batches_give_the_same_masks(sample, batch_size) -> None:
    torch.manual_seed(5)
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64))).eval()
    alone = segment_frames(model, sample.frames, clip_length=3)
    together = segment_frames(model, sample.frames, clip_length=3, batch_size=batch_size)
    assert np.mean(alone != together) < 1e-3


def test_the_batch_is_halved_when_memory_runs_out(sample, monkeypatch) -> None:
    torch.manual_seed(5)
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64))).eval()
    wanted = segment_frames(model, sample.frames, clip_length=3)
    tried, forward = [], Vivim.forward

    def small_memory(self, x, guide=None, return_edges=False):
        tried.append(len(x))
        if len(x) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
        return forward(self, x, guide, return_edges)

    monkeypatch.setattr(Vivim, "forward", small_memory)
    np.testing.assert_array_equal(segment_frames(model, sample.frames, clip_length=3, batch_size=4), wanted)
    assert tried[:3] == [4, 2, 1]
    assert tried.count(4) <= 1  # it does not go back to what failed

    runner = Runner(model, torch.device("cpu"), batch_size=4)
    windows = plan(range(24), (), 24, 2, start=0)
    prepared = iter(runner.run(windows, lambda w: (torch.zeros(1, len(w.frames), 3, 64, 64), None)))
    assert len(list(prepared)) == len(windows)
    assert runner.batch_size == 1

    def no_memory(self, x, guide=None, return_edges=False):
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(Vivim, "forward", no_memory)
    with pytest.raises(DeviceError, match="shorter clip length"):
        segment_frames(model, sample.frames)


def test_an_error_of_the_network_is_not_taken_for_full_memory(sample, monkeypatch) -> None:
    def broken(self, x, guide=None, return_edges=False):
        raise RuntimeError("weights of the wrong shape")

    monkeypatch.setattr(Vivim, "forward", broken)
    with pytest.raises(RuntimeError, match="wrong shape"):
        segment_frames(Vivim(VivimConfig(size="b0", input_size=(32, 32))), sample.frames, batch_size=4)


def test_stopping_interrupts_the_network_itself(session: Session) -> None:
    model = Vivim(VivimConfig(size="b0", input_size=(64, 64)))
    stop, passed = threading.Event(), []
    for number, block in enumerate(m for m in model.modules() if isinstance(m, MiTBlock)):
        block.register_forward_hook(lambda *_, number=number: (passed.append(number), stop.set()))
    assert list(propose(session, model, stop=stop)) == []
    assert passed == [0]  # told so in the first block, it never ran the second
    assert session.frames_with("proposed") == []
    hooks = [m._forward_pre_hooks for m in model.modules()]
    assert not any(hooks)  # nothing is left on the network


def test_memory_does_not_grow_with_the_video(sample) -> None:
    model = Vivim(VivimConfig(size="b0", input_size=(32, 32)))
    prepared, most = 0, 0

    def prepare(window):
        nonlocal prepared
        prepared += 1
        return torch.zeros(1, len(window.frames), 3, 32, 32), None

    runner = Runner(model, torch.device("cpu"), batch_size=2)
    windows = plan(range(60), (), 60, 2, start=0)
    for done, _ in enumerate(runner.run(windows, prepare)):
        most = max(most, prepared - done)
    assert most <= 4  # the batch at work and the one prepared meanwhile


def test_without_a_guide_a_correction_leaves_the_windows_of_the_others_as_they_were():
    before = plan(range(20), (), 20, 8, 0)
    after = plan([t for t in range(20) if t != 5], [5], 20, 8, 0)
    assert after == before
